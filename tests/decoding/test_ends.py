"""What ends a text and what an empty prompt starts from: the model's files, eos=, tokens that strings name."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nextword
from model_files import write_model
from nextword.decoding.calls import Call
from nextword.decoding.defaults import Defaults
from nextword.decoding.grammar import Grammar
from nextword.decoding.row import Row
from nextword.decoding.rules import Rules
from nextword.tasks.language_model import LanguageModel
from strategies import random_model, random_tensors, tiny_config


@pytest.fixture(scope="module")
def two():
    """A model that ends by 0 and by 7."""
    return LanguageModel(random_model(tiny_config(eos_token_id=[0, 7], n_positions=64), seed=5))


# The model's files


@pytest.mark.parametrize(("config", "generation", "expected"), [
    (7, None, {7}), ([0, 7], None, {0, 7}), ([], None, set()), (None, None, set()), (-1, None, set()),
    ([7, 99], None, {7}), (99, None, set()), (7, {}, set()), (7, {"eos_token_id": 3}, {3}),
    (7, {"eos_token_id": [3, 4]}, {3, 4}), (7, {"eos_token_id": None}, set()), (7, {"eos_token_id": []}, set()),
])  # fmt: skip
def test_generation_config_wins_over_the_configuration(config, generation, expected):
    model = random_model(tiny_config(eos_token_id=config))
    assert Defaults.read(model, generation).ends == expected


@pytest.mark.parametrize("wrong", ["7", 7.0, True, [7, "a"], {"a": 1}])
def test_an_end_token_of_generation_config_that_is_none_is_an_error(wrong):
    with pytest.raises(ValueError, match=r"load: generation_config\.json: eos_token_id must be token ids"):
        Defaults.read(random_model(tiny_config()), {"eos_token_id": wrong})


def folder(tmp_path, generation=None, **config):
    changed = tiny_config(n_positions=64, **config)
    made = write_model(tmp_path / "model", changed, random_tensors(changed))
    if generation is not None:
        (made / "generation_config.json").write_text(json.dumps(generation))
    return made


def test_load_reads_generation_config_and_quantize_keeps_it(tmp_path):
    made = folder(tmp_path, {"eos_token_id": [3, 5], "bos_token_id": 2, "temperature": 0.5}, eos_token_id=0)
    lm = nextword.load(made)
    assert lm.ends == {3, 5}
    assert lm.generation_config["temperature"] == 0.5
    assert nextword.load(nextword.quantize(made, "int8", tmp_path / "int8")).ends == {3, 5}


def test_what_generation_config_forbids_never_comes(tmp_path):
    lm = nextword.load(folder(tmp_path, {"suppress_tokens": [3, 99], "bad_words_ids": [[4], [5, 6], [7]],
                                         "eos_token_id": 7}))  # fmt: skip
    bias = {3: 4000.0, 4: 3000.0, 5: 2000.0, 6: 1000.0}
    assert lm.generate([1], logit_bias=bias, max_new_tokens=3).tokens == [5, 5, 5]
    assert lm.generate([1], logit_bias={7: 1000.0}, max_new_tokens=3).tokens == []  # an end is not forbidden
    assert lm.generate([1], logit_bias=bias, max_new_tokens=3, num_beams=2).tokens == [5, 5, 5]


def test_config_json_speaks_where_there_is_no_generation_config(tmp_path):
    lm = nextword.load(folder(tmp_path, suppress_tokens=[3], bad_words_ids=[[4]], eos_token_id=[5, 6]))
    assert lm.ends == {5, 6}
    bias = {3: 4000.0, 4: 3000.0, 8: 2000.0}
    assert lm.generate([1], logit_bias=bias, max_new_tokens=2).tokens == [8, 8]
    assert nextword.load(folder(tmp_path, {}, suppress_tokens=[3])).generate(
        [1], logit_bias=bias, max_new_tokens=2).tokens == [3, 3]  # the file is there, and forbids nothing
    forced = nextword.load(folder(tmp_path / "forced", forced_eos_token_id=3))
    with pytest.raises(ValueError, match="asks for forced_eos_token_id=3, which is not supported"):
        forced.generate([1])


@pytest.mark.parametrize(("field", "changes", "neutral"), [
    ("guidance_scale", 1.5, 1), ("encoder_repetition_penalty", 1.2, 1.0), ("watermarking_config", {"bias": 2}, None)])
def test_what_changes_logits_in_no_way_of_ours_is_refused(tmp_path, field, changes, neutral):
    with pytest.raises(ValueError, match=f"asks for {field}="):
        nextword.load(folder(tmp_path / "a", {field: changes})).generate([1])
    assert nextword.load(folder(tmp_path / "b", {field: neutral})).generate([1], max_new_tokens=1).tokens


@pytest.mark.parametrize("field", ["forced_eos_token_id", "forced_bos_token_id", "begin_suppress_tokens"])
def test_what_forces_tokens_is_refused_where_text_is_generated(tmp_path, field):
    lm = nextword.load(folder(tmp_path, {field: [3]}))
    assert lm.logits([1]).shape == (1, 37)
    for call in (lm.generate, lm.stream):
        with pytest.raises(ValueError, match=rf"asks for {field}=\[3\], which is not supported"):
            call([1])
    assert len(LanguageModel(lm.model).generate([1], eos=None, max_new_tokens=2).tokens) == 2


# Several end tokens, wherever a text ends


@pytest.mark.parametrize("end", [0, 7])
@pytest.mark.parametrize("how", [{}, {"temperature": 1.0, "seed": 1}, {"draft": "lookup"}, {"num_beams": 2},
                                 {"penalty_alpha": 0.5}])  # fmt: skip
def test_each_end_token_ends_a_text(two, end, how):
    out = two.generate([1, 2], logit_bias={end: 1000.0}, **how)
    assert (out.tokens, out.finish_reason) == ([], "stop")


def test_no_end_token_comes_before_min_new_tokens(two):
    bias = {0: 3000.0, 7: 2000.0, 3: 1000.0}
    assert two.generate([1], logit_bias=bias, min_new_tokens=2).tokens == [3, 3]
    assert two.generate([1], logit_bias=bias, min_new_tokens=2, num_beams=2, early_stopping=True).tokens == [3, 3]


def test_a_stream_and_a_session_end_by_each_end_token(two):
    stream = two.stream([1], logit_bias={7: 1000.0})
    assert list(stream) == []
    session = two.session([1])
    assert session.generate(logit_bias={7: 1000.0}).finish_reason == "stop"
    assert session.tokens == [1]


@pytest.mark.parametrize(("eos", "ends"), [
    ("config", {0, 7}), (None, set()), (5, {5}), ([5, 6], {5, 6}), ((), set()), ({5}, {5}), (np.array([5, 6]), {5, 6}),
    (frozenset({np.int64(5)}), {5}), (range(3, 5), {3, 4}),
])  # fmt: skip
def test_eos_takes_ids_collections_none_and_config(two, eos, ends):
    for token in (0, 5, 7):
        out = two.generate([1], eos=eos, logit_bias={token: 1000.0}, max_new_tokens=2)
        assert out.tokens == ([] if token in ends else [token, token])


def test_eos_takes_the_text_of_a_token(demo):
    for eos in ("<|endoftext|>", "!", ["<|endoftext|>", "!"]):
        token = 0 if "<" in eos else demo.tokenizer.id_of("!")
        assert demo.generate("x", eos=eos, logit_bias={token: 1000.0}).tokens == []
    with pytest.raises(ValueError, match=r"generate: eos must be .*'the end', which is \d tokens; stop= takes"):
        demo.generate("x", eos="the end")


def test_a_grammar_stops_by_each_end_token(demo):
    tokenizer = demo.tokenizer
    ends = (0, tokenizer.id_of("!"))
    grammar = Grammar(tokenizer, regex="a*", end=ends)
    assert grammar.mask()[list(ends)].all()
    grammar.accept(ends[1])
    assert grammar.finished
    assert not Grammar(tokenizer, regex="a+", end=ends).mask()[list(ends)].any()
    out = demo.generate("x", regex="[ab]*", eos=list(ends), logit_bias={ends[1]: 1000.0})
    assert (out.text, out.finish_reason) == ("", "stop")


# Strings that are an added token's text are that token


def test_a_string_that_is_a_special_token_is_that_token(demo):
    name, up = "<|endoftext|>", {0: 1000.0}
    assert demo.generate("x", logit_bias=up, max_new_tokens=2).tokens == []
    assert 0 not in demo.generate("x", logit_bias=up, bad_words=[name], eos=None, max_new_tokens=2).tokens
    assert len(demo.generate("x", logit_bias=up, bad_words=[name], max_new_tokens=2).tokens) == 2
    assert len(demo.generate("x", logit_bias={name: -math.inf}, min_new_tokens=2, max_new_tokens=2).tokens) == 2
    stopped = demo.generate("x", logit_bias={name: 1000.0}, eos=None, stop=name)
    assert (stopped.text, stopped.tokens, stopped.finish_reason) == ("", [0], "stop")
    least = demo.generate("x", logit_bias=up, eos=None, stop=name, min_new_tokens=2, max_new_tokens=2)
    assert len(least.tokens) == 2
    assert 0 not in least.tokens


def test_a_stop_string_that_is_a_special_tokens_text_stops_where_it_is_written_out(demo):
    written = demo.tokenizer.encode("<|endoftext|>")
    row = Row([1], nextword.Sampling(stop="<|endoftext|>", seed=0), Rules(nextword.Sampling(), 4096), 0, (), (),
              demo.tokenizer.decoder())
    for token in written:
        row.take(np.eye(1, 4096, token, np.float32)[0])
    assert (row.text, row.finish) == ("", "stop")


@given(ids=st.lists(st.integers(-2, 40), min_size=1, max_size=3))
def test_stop_ids_are_checked_against_the_vocabulary(two, ids):
    if all(0 <= i < 37 for i in ids):
        assert Call("x", two.model, None, Defaults(), None, None, None, ()).stops(
            nextword.Sampling(stop=ids)) == frozenset(ids)
        return
    for settings in ({}, {"num_beams": 2}, {"min_new_tokens": 1}):
        with pytest.raises(ValueError, match="stop must hold"):
            two.generate([1], stop=ids, **settings)


# Where a text begins


def test_an_empty_prompt_starts_from_the_first_token_that_there_is(demo, tmp_path):
    end = demo.tokenizer.eos_id
    for prompt in ("", np.array([], int)):
        out = demo.generate(prompt, max_new_tokens=3)
        assert out.tokens == demo.generate([end], max_new_tokens=3).tokens
        assert out.prompt_tokens == [end]
    assert demo.generate([""], max_new_tokens=2)[0].prompt_tokens == [end]
    assert "".join(demo.stream("", max_new_tokens=3)) == demo.generate("", max_new_tokens=3).text
    session = demo.session()
    session.generate(max_new_tokens=2)
    assert session.tokens[0] == end
    assert demo.choose("", ["The"])[0].logprob == demo.choose([end], ["The"])[0].logprob
    begins = nextword.load(folder(tmp_path, {"bos_token_id": 5, "eos_token_id": 3}, bos_token_id=6))
    assert begins.generate([[]], max_new_tokens=1)[0].prompt_tokens == [5]


def test_special_tokens_in_a_text_are_text_unless_allowed(demo):
    text = "Once<|endoftext|>"
    plain, allowed = demo.tokenizer.encode(text), demo.tokenizer.encode(text, allowed_special="all")
    assert plain != allowed
    settings = {"max_new_tokens": 2}
    for special, ids in (((), plain), ("all", allowed), (["<|endoftext|>"], allowed)):
        assert demo.generate(text, allowed_special=special, **settings).prompt_tokens == ids
        stream = demo.stream(text, allowed_special=special, **settings)
        list(stream)
        assert stream.result.prompt_tokens == ids
        assert demo.session(text, allowed_special=special).tokens == ids
        assert demo.score(text, allowed_special=special).tokens == ids
        assert len(demo.logits(text, allowed_special=special)) == len(ids)
        found = demo.choose("x", [text], allowed_special=special)[0]
        assert found.tokens == ids
    session = demo.session("x")
    session.feed(text, allowed_special="all")
    assert session.tokens[1:] == allowed


@pytest.fixture
def begun(demo, tmp_path):
    """The demo model with a vocabulary that puts token 0 before every text, and token 2 behind it."""
    demo.tokenizer.save(tmp_path)
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).unlink()
    file = tmp_path / "tokenizer.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    first, last = (demo.tokenizer.token_bytes(i).decode() for i in (0, 2))
    settings["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": first, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                   {"SpecialToken": {"id": last, "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {name: {"id": name, "ids": [i], "tokens": [name]} for i, name in ((0, first), (2, last))},
    }  # fmt: skip
    file.write_text(json.dumps(settings), encoding="utf-8")
    return LanguageModel(demo.model, nextword.Tokenizer.load(tmp_path))


def test_what_begins_a_text_stands_before_prompts_alone(demo, begun):
    ids = demo.tokenizer.encode("Once upon")
    assert begun.tokenizer.encode("Once upon") == [0, *ids, 2]
    once = demo.generate([0, *ids], max_new_tokens=3)
    out = begun.generate("Once upon", max_new_tokens=3)
    assert (out.prompt_tokens, out.tokens, out.text) == ([0, *ids], once.tokens, once.text)
    assert [g.prompt_tokens for g in begun.generate(["Once upon", ""], max_new_tokens=1)] == [[0, *ids], [0]]
    session = begun.session("Once upon")
    session.feed(" a time")
    assert session.tokens == [0, *ids, *demo.tokenizer.encode(" a time")]
    assert begun.session().tokens == []
    assert np.array_equal(begun.logits("Once upon"), demo.logits([0, *ids]))
    both = begun.choose("Once", [" upon"])[0], demo.choose([0, *demo.tokenizer.encode("Once")], [" upon"])[0]
    assert both[0].logprobs.tolist() == both[1].logprobs.tolist()
    assert both[0].whole is True
    assert begun.choose("", ["Once"])[0].whole is True
    words = {" a": 5.0}
    assert begun.generate("x", max_new_tokens=2, stop=[" a"], bad_words=[" b"], logit_bias=words).tokens == (
        demo.generate([0, *demo.tokenizer.encode("x")], max_new_tokens=2, stop=[" a"], bad_words=[" b"],
                      logit_bias=words).tokens)


def test_a_score_starts_from_what_begins_a_text(demo, begun):
    found, expected = begun.score("Once upon"), demo.score(demo.tokenizer.encode("Once upon"), start=0)
    assert (found.tokens, found.start, found.logprobs.tolist(), found.bytes) == (
        expected.tokens, 0, expected.logprobs.tolist(), expected.bytes)  # fmt: skip
    whole = begun.score("Once upon", start=None)
    assert whole.tokens[0] == 0
    assert whole.logprobs[1:].tolist() == expected.logprobs.tolist()


def test_a_score_starts_from_the_models_token_where_the_vocabulary_has_none():
    tokenizer = nextword.Tokenizer.train(["abc"], 256, special_tokens=[])
    lm = LanguageModel(random_model(tiny_config(vocab_size=257, eos_token_id=256), seed=5), tokenizer)
    assert lm.score("ab").start == 256
    assert lm.generate("", max_new_tokens=1, eos=None).prompt_tokens == [256]
