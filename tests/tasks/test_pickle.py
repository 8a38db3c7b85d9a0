"""What users pass between processes, and copy: by content, by path, or one clear error with the way out."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pytest

import nextword
import tokenizer_helpers as helpers
from byte_vocabulary import byte_tokenizer
from nextword import PrefixCache, Sampling, Tokenizer, _core, reference
from nextword.files.weights import MissingTensorError
from nextword.models.gpt2 import GPT2Config
from nextword.tasks.language_model import LanguageModel
from nextword.text.added_tokens import AddedToken
from strategies import random_model, tiny_config

TEXT = "Once upon a time <|endoftext|> the naïve 😀 king's  two\n\n12345 Zzqx   \ttabs"


def again(x, protocol=pickle.HIGHEST_PROTOCOL):
    return pickle.loads(pickle.dumps(x, protocol))


def same(a, b):
    """Whether two tokenizers do the same."""
    assert (len(a), a.pattern, a.added_tokens, a.special_tokens, a.whole_pieces) == (
        len(b), b.pattern, b.added_tokens, b.special_tokens, b.whole_pieces)  # fmt: skip
    assert (a.beginning, a.ending, a.prefix_space) == (b.beginning, b.ending, b.prefix_space)
    ids = [id for id in range(len(a)) if a.has(id)]
    assert ids == [id for id in range(len(b)) if b.has(id)]
    assert all(a.token_bytes(id) == b.token_bytes(id) for id in ids)
    assert a._merges() == b._merges()
    words = [a.token_bytes(id).decode("utf-8", "replace") for id in ids[:: max(1, len(ids) // 500)]]
    for text in (TEXT, " ".join(words), "".join(words)):
        for allowed in ((), "all"):
            assert a.encode(text, allowed_special=allowed) == b.encode(text, allowed_special=allowed)
        assert a.pieces(text) == b.pieces(text)
        assert a.encode_with_offsets(text) == b.encode_with_offsets(text)
    return True


def tokenizers(folder):
    """Tokenizers of every kind, by name."""
    yield "demo", helpers.demo()
    yield "bytes", byte_tokenizer(folder)
    texts = [TEXT * 3, "low lower lowest"]
    yield "trained", Tokenizer.train(texts, 300, special_tokens=["<a>", "<b>"], pattern="cl100k")
    source = nextword._core.read_vocab_and_merges(str(nextword.DEMO / "vocab.json"), str(nextword.DEMO / "merges.txt"))
    source.added_tokens = [AddedToken("<|endoftext|>", 0), AddedToken(" time", 670, special=False),
                           AddedToken("<m>", 4096, lstrip=True, rstrip=True), AddedToken("Zzqx", 5000, special=False),
                           AddedToken("king", 4097, special=False, single_word=True)]  # fmt: skip
    yield "added", Tokenizer(source, "gpt2", prefix_space=True, normalizer=[("NFC",), ("Lowercase",)], beginning=[0],
                             ending=[0, 4096])  # fmt: skip


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_tokenizer_is_pickled_by_its_content(tmp_path, protocol):
    for name, tokenizer in tokenizers(tmp_path):
        assert same(again(tokenizer, protocol), tokenizer), name
        assert same(again(again(tokenizer, protocol)), tokenizer), name
        assert copy.copy(tokenizer) is copy.deepcopy(tokenizer) is tokenizer


@pytest.mark.parametrize("name", ["gpt2", "cl100k_base", "o200k_base"])
def test_a_published_encoding_is_pickled_by_its_content(name):
    folder = Path(__file__).resolve().parents[3] / "shared" / "data" / "tiktoken_ranks"
    if not folder.is_dir():
        pytest.skip("the rank files are not here")
    tokenizer = Tokenizer.from_encoding(name, path=folder)
    assert same(again(tokenizer), tokenizer)


class Mine(Tokenizer):
    """A class of a user's, whose own __init__ takes something else."""


def test_a_class_of_ones_own_is_pickled_too():
    made = again(Mine.load(nextword.DEMO))
    assert type(made) is Mine
    assert made.encode(TEXT) == helpers.demo().encode(TEXT)


def test_a_decoder_in_the_middle_of_a_character_goes_on():
    tokenizer = helpers.demo()
    decoder, ids = tokenizer.decoder(), tokenizer.encode("ï")
    assert decoder.push(ids[0]) == ""
    assert again(decoder).push(ids[1]) == copy.deepcopy(decoder).push(ids[1]) == "ï"


@pytest.mark.parametrize("damage", [
    lambda s: (s[0][:10], *s[1:]), lambda s: (s[0], s[1][:-1], *s[2:]), lambda s: (*s[:2], b"\xff" * 16, *s[3:]),
])  # fmt: skip
def test_a_damaged_pickle_is_an_error(damage):
    make, (state,) = helpers.demo()._source().__reduce__()
    with pytest.raises(ValueError, match="VocabularySource: the pickle is damaged"):
        make(damage(state))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_holds_memory_of_the_core_is_an_error_by_every_protocol(protocol):
    model = nextword.load().model
    for x in (model.embed.tokens, model.program(), _core.PieceCounts("gpt2")):
        with pytest.raises(TypeError, match=f"pickle: {type(x).__name__} holds memory of its process"):
            pickle.dumps(x, protocol)


def test_a_language_model_is_loaded_anew_from_where_it_came(tmp_path, monkeypatch):
    lm = nextword.load(dtype="int8", kv_dtype="bfloat16", context=100)
    made = again(lm)
    assert (made.model.dtype, made.model.kv_dtype, made.source) == ("int8", "bfloat16", lm.source)
    assert made.model.window == 100
    np.testing.assert_array_equal(made.logits("Once upon"), lm.logits("Once upon"))
    folder = nextword.quantize(nextword.DEMO, "int4", tmp_path / "small")
    monkeypatch.chdir(tmp_path)
    data = pickle.dumps(nextword.load("small"))
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(pickle.loads(data).logits("Once"), nextword.load(folder).logits("Once"))


@pytest.mark.parametrize(("make", "words"), [
    (lambda lm: lm, "this LanguageModel was put together by hand, .* nextword.load"),
    (lambda lm: lm.model, "a GPT2 holds memory of its process; pickle what nextword.load"),
    (lambda lm: lm.session([1, 2]), r"a Session belongs to its model; write it with save\(path\)"),
    (lambda lm: PrefixCache(lm.model), r"a PrefixCache belongs to its model .*; make another with"),
], ids=["model by hand", "GPT2", "session", "prefix cache"])  # fmt: skip
def test_what_belongs_to_its_process_says_the_way_out(make, words):
    with pytest.raises(TypeError, match=f"pickle: {words}"):
        pickle.dumps(make(LanguageModel(random_model(tiny_config()))))


@pytest.mark.parametrize("arithmetic", [nextword.ops, reference], ids=["ops", "reference"])
def test_a_deep_copy_of_a_model_is_its_own(arithmetic):
    lm = LanguageModel(random_model(tiny_config(), ops=arithmetic))
    lm.no_tokenizer, lm.note = "no files", "int8 of Q4_K"
    assert (copy.deepcopy(lm).no_tokenizer, copy.deepcopy(lm).note) == ("no files", "int8 of Q4_K")
    before = lm.logits([1, 2, 3])
    with nextword.trace(lm, names="ln_f") as t:
        other = copy.deepcopy(lm)
        np.testing.assert_array_equal(other.logits([1, 2, 3]), before)
    assert len(t) == 0
    other.model.blocks[0].fc.bias[:] += 1
    other.model.blocks[0].ln_1.weight[:] *= 2
    assert (copy.deepcopy(other).logits([1, 2, 3]) != before).any()
    np.testing.assert_array_equal(lm.logits([1, 2, 3]), before)
    assert other.model.blocks is not lm.model.blocks


SETTINGS = [{}, {"temperature": 0.8, "top_p": 0.9, "logprobs": 3}, {"num_beams": 3, "max_new_tokens": 5},
            {"temperature": 1.0, "repetition_penalty": 1.2, "logit_bias": {" the": -2.0}, "stop": "king"}]  # fmt: skip


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_generation_holds_plain_data(settings):
    lm = nextword.load()
    explain = {} if "num_beams" in settings else {"explain": True}
    result = lm.generate("Once upon a time", **{"max_new_tokens": 8, **settings}, **explain)
    data = pickle.dumps(result)
    assert len(data) < 10**5  # no model, no vocabulary, no logits of it
    for made in (pickle.loads(data), copy.deepcopy(result), copy.copy(result)):
        assert (made.text, made.tokens, made.seed) == (result.text, result.tokens, result.seed)
        assert made.logprobs == result.logprobs
        if explain:
            assert [step.candidates for step in made.steps] == [step.candidates for step in result.steps]
            assert made.steps[0].candidates[0].text is not None


def test_a_step_keeps_no_function_of_the_caller():
    lm = nextword.load()
    result = lm.generate("Once", max_new_tokens=2, explain=5, processors=[lambda logits: logits])
    assert [s.candidates for s in again(result).steps] == [s.candidates for s in result.steps]


@pytest.mark.parametrize("x", [
    Sampling(temperature=0.5, top_k=3, stop=("a", 4), logit_bias={"x": 1.0, 5: -2.0}, bad_words=("y",)), Sampling(),
    AddedToken("<x>", 7, lstrip=True), GPT2Config(n_layer=1, n_head=1, n_embd=8, n_positions=8, vocab_size=8),
], ids=lambda x: type(x).__name__)  # fmt: skip
def test_settings_are_plain_data(x):
    for made in (again(x), copy.copy(x), copy.deepcopy(x)):
        assert made == x
        assert type(made) is type(x)


def test_errors_keep_their_type_and_words():
    error = MissingTensorError("weights: there is no tensor 'x'")
    for made in (again(error), copy.copy(error), copy.deepcopy(error)):
        assert (type(made), str(made)) == (MissingTensorError, str(error))


def encoded(tokenizer, lm, text):
    """What a child process gives back."""
    return tokenizer.encode(text), lm.generate(text, max_new_tokens=3, explain=2), nextword.cpu.isa()


def test_a_spawned_child_takes_a_tokenizer_and_a_model_and_gives_a_generation_back():
    tokenizer, lm = helpers.demo(), nextword.load()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        ids, result, isa = pool.apply(encoded, (tokenizer, lm, "Once upon a time"))
    assert ids == tokenizer.encode("Once upon a time")
    expected = lm.generate("Once upon a time", max_new_tokens=3, explain=2)
    assert isa == nextword.cpu.isa()
    assert (result.text, result.tokens) == (expected.text, expected.tokens)
    assert [step.candidates for step in result.steps] == [step.candidates for step in expected.steps]
