"""The public tokenizer: equal to tiktoken on published vectors, corpora and any text; errors; streams."""

import doctest
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tokenizer_helpers as helpers
from nextword import _core
from nextword.text import tokenizer as module
from nextword.text.tokenizer import ENCODINGS, Tokenizer


@pytest.fixture(scope="module", params=helpers.NAMES)
def name(request):
    helpers.ours(request.param)
    helpers.judge(request.param)
    return request.param


def gpt2():
    return Tokenizer.load(helpers.data("gpt2_tokenizer"))


def test_the_sentence_of_the_lecture():
    assert gpt2().encode("The theory of relativity is") == [464, 4583, 286, 44449, 318]


def test_published_vectors_are_met():
    lines = helpers.data("tokenizer_vectors/tiktoken_vectors.jsonl").read_text("utf-8").splitlines()
    for vector in map(json.loads, lines):
        allowed = "all" if vector["allow_special"] else ()
        tokenizer = helpers.ours(vector["encoding"])
        assert tokenizer.encode(vector["text"], allowed_special=allowed) == vector["ids"], vector["text"]
        assert tokenizer.decode(vector["ids"]) == vector["text"]
    assert len(lines) == 317


@given(helpers.texts())
def test_any_text_encodes_as_in_tiktoken(name, text):
    assert helpers.ours(name).encode(text) == helpers.judge(name).encode_ordinary(text)


@given(text=helpers.texts())
def test_decoding_gives_the_text_back(name, text):
    tokenizer = helpers.ours(name)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode_bytes(ids) == text.encode()
    assert tokenizer.count(text) == len(ids)


@given(ids=st.lists(st.integers(0, 50255), max_size=30))
def test_any_ids_decode_as_in_tiktoken(ids):
    assert helpers.ours("r50k_base").decode(ids) == helpers.judge("r50k_base").decode(ids)
    assert helpers.ours("r50k_base").decode_bytes(ids) == helpers.judge("r50k_base").decode_bytes(ids)


@given(text=helpers.texts())
def test_allowed_specials_encode_as_in_tiktoken(name, text):
    tokenizer, judge = helpers.ours(name), helpers.judge(name)
    text = text + "<|endoftext|>" + text + "<|endofprompt|><|fim_middle|>"
    assert tokenizer.encode(text, allowed_special="all") == judge.encode(text, allowed_special="all")
    some = {"<|endoftext|>"}
    assert tokenizer.encode(text, allowed_special=some) == judge.encode(
        text, allowed_special=some, disallowed_special=()
    )
    assert tokenizer.encode(text) == judge.encode_ordinary(text)


@given(helpers.texts())
def test_the_three_forms_of_the_gpt2_vocabulary_agree(text):
    expected = helpers.ours("r50k_base").encode(text)
    for path in ("gpt2_tokenizer", "other_tokenizers/gpt2", "gpt2_tokenizer/encoder.json"):
        assert loaded(path).encode(text) == expected


def loaded(path, cache={}):  # noqa: B006 one load per path
    if path not in cache:
        cache[path] = Tokenizer.load(helpers.data(path))
    return cache[path]


CORPORA = [
    "corpora/tinyshakespeare.txt",
    "corpora/english/war-and-peace.txt",
    "corpora/german/de-HMann2.txt",
    "corpora/german/gesetze_bgb_gg_stgb.md",
    "corpora/multilingual/japanese_rust_book.md",
    "corpora/multilingual/udhr_selected.txt",
]


@pytest.mark.parametrize("corpus", CORPORA)
def test_a_corpus_encodes_as_in_tiktoken(corpus):
    text = helpers.data(corpus).read_text("utf-8")
    for name in ("r50k_base", "cl100k_base", "o200k_base"):
        ids = helpers.ours(name).encode(text)
        assert ids == helpers.judge(name).encode_ordinary(text)
        assert helpers.ours(name).decode(ids) == text


def test_the_name_of_a_special_token_in_text_is_text():
    tokenizer = helpers.demo()
    assert tokenizer.eos_id == 0
    assert tokenizer.special_tokens == {"<|endoftext|>": 0}
    assert 0 not in tokenizer.encode("<|endoftext|>")
    assert tokenizer.encode("<|endoftext|>", allowed_special={"<|endoftext|>"}) == [0]
    assert tokenizer.decode([0]) == "<|endoftext|>"


def test_the_encodings_are_those_of_tiktoken(monkeypatch):
    """Their names, patterns and special tokens, of which o200k_harmony has two for one id."""
    public = pytest.importorskip("tiktoken_ext.openai_public")
    for name in ("load_tiktoken_bpe", "data_gym_to_mergeable_bpe_ranks"):
        monkeypatch.setattr(public, name, lambda *args, **kwargs: {})
    theirs = {name: make() for name, make in public.ENCODING_CONSTRUCTORS.items()}
    assert {name: made["special_tokens"] for name, made in theirs.items()} == {
        name: dict(encoding.specials) for name, encoding in ENCODINGS.items()
    }
    patterns = {name: made["pat_str"] for name, made in theirs.items()}
    for one in ENCODINGS:
        same = {other for other in ENCODINGS if patterns[other] == patterns[one]}
        assert {other for other in ENCODINGS if ENCODINGS[other].pattern == ENCODINGS[one].pattern} == same


def test_two_names_of_one_id_are_both_known():
    tokenizer = helpers.ours("o200k_harmony")
    text = "<|start|>user<|message|>hi<|reserved_200018|><|endofprompt|><|end|>"
    assert tokenizer.encode(text, allowed_special="all") == helpers.judge("o200k_harmony").encode(
        text, allowed_special="all"
    )
    assert tokenizer.decode([200018]) == helpers.judge("o200k_harmony").decode([200018]) == "<|endofprompt|>"
    assert len(tokenizer) == helpers.judge("o200k_harmony").n_vocab


def test_tokens_and_ids_name_each_other():
    tokenizer = helpers.demo()
    assert len(tokenizer) == 4096
    for id in range(len(tokenizer)):
        assert tokenizer.id_of(tokenizer.token_bytes(id)) == id
    assert tokenizer.id_of("<|endoftext|>") == 0
    with pytest.raises(KeyError, match="no token"):
        tokenizer.id_of("no such token")
    with pytest.raises(TypeError, match="str or bytes"):
        tokenizer.id_of(5)


@given(text=helpers.texts())
def test_offsets_are_the_bytes_of_each_token(text):
    tokenizer = helpers.demo()
    ids, offsets = tokenizer.encode_with_offsets(text, allowed_special="all")
    assert [text.encode()[a:b] for a, b in offsets] == [tokenizer.token_bytes(i) for i in ids]
    assert ids == tokenizer.encode(text, allowed_special="all")


@given(ids=st.lists(st.integers(0, 4095), max_size=40))
def test_a_stream_gives_the_same_text_as_decoding_at_once(ids):
    tokenizer = helpers.demo()
    decoder = tokenizer.decoder()
    assert "".join([*map(decoder.push, ids), decoder.flush()]) == tokenizer.decode(ids)


@given(text=helpers.texts())
def test_a_stream_never_gives_half_a_character(text):
    decoder = helpers.demo().decoder()
    so_far = ""
    for id in helpers.demo().encode(text):
        so_far += decoder.push(id)
        assert text.startswith(so_far)
    assert decoder.flush() == ""


def test_a_stream_that_ends_within_a_character_says_so_and_starts_anew():
    decoder = helpers.demo().decoder()
    assert decoder.push(helpers.demo().encode("ï")[0]) == ""
    assert decoder.flush() == "\ufffd"
    assert decoder.push(helpers.demo().id_of("a")) == "a"


def test_ids_may_be_of_any_integer_type():
    tokenizer = helpers.demo()
    for ids in (
        [40, 50],
        (40, 50),
        np.array([40, 50], np.uint32),
        np.array([40, 50], np.int64),
        range(40, 51, 10),
        [True, 50],
    ):
        assert tokenizer.decode(ids) == tokenizer.decode(list(map(int, ids)))


@pytest.mark.parametrize("id", [-1, 4096, 2**32, 10**30, -(10**30)])
def test_an_id_outside_the_vocabulary_is_an_index_error(id):
    for call in (
        lambda t: t.decode([1, id]),
        lambda t: t.decode_bytes([id]),
        lambda t: t.token_bytes(id),
        lambda t: t.decoder().push(id),
    ):
        with pytest.raises(IndexError, match=rf"id {id} is not in the vocabulary, whose ids are 0 to 4095"):
            call(helpers.demo())


def test_an_id_in_a_hole_of_the_vocabulary_is_an_index_error():
    with pytest.raises(IndexError, match="100261"):
        helpers.ours("cl100k_base").decode([100261])


@pytest.mark.parametrize("call", ["encode", "count", "encode_with_offsets"])
def test_a_lone_surrogate_is_a_value_error_that_names_it(call):
    with pytest.raises(ValueError, match=r"lone surrogate U\+D83D at index 2"):
        getattr(helpers.demo(), call)("ab\ud83d")


@pytest.mark.parametrize("widest", ["x", "é", "ÿ", "Ā", "߿", "ࠀ", "中", "\uffff", "😀", "\U0010ffff"])
@pytest.mark.parametrize("filler", ["a", "é", "中", "😀"])
def test_text_of_every_width_reaches_the_vocabulary_as_its_utf8(widest, filler):
    """Python keeps 1, 2 or 4 bytes of each character, by the widest; ASCII goes several at a time."""
    tokenizer = helpers.demo()
    for before in (*range(20), 65_535, 65_536):
        text = filler * before + widest + "a" * (before % 40)
        copies = ["".join(list(text)) for _ in range(4)]  # none of them has its UTF-8 yet
        assert tokenizer.decode_bytes(tokenizer.encode(copies[0])) == text.encode()
        assert tokenizer.encode_array(copies[1]).tolist() == tokenizer.encode(text)
        assert tokenizer.encode_batch([copies[2], text]) == [tokenizer.encode(text)] * 2
        assert tokenizer.count(copies[3]) == len(tokenizer.encode(text))


@pytest.mark.parametrize("shift", [0, 1, 7, 20])
def test_a_long_text_is_encoded_as_one_wherever_it_is_parted(name, shift):
    """Text that is not ASCII is made into UTF-8 in parts of some 65,536 characters."""
    for words in ("It's a naïve word ", "don't STOP we'LL go 12 345 ... \n\n Ok ", "日本語 und deutsch — "):
        text = "é" * shift + words * (140_000 // len(words))
        assert helpers.ours(name).encode(text) == helpers.judge(name).encode_ordinary(text)
        assert helpers.ours(name).count("".join(list(text))) == len(helpers.ours(name).encode(text))


def test_a_text_of_a_class_of_its_own_is_text():
    class Line(str):
        pass

    for text in ("plain", "für", "中文"):
        assert helpers.demo().encode(Line(text)) == helpers.demo().encode(text)


@given(st.text(st.characters(codec="utf-16"), max_size=30), st.integers(0, 70_000))
def test_a_surrogate_pair_is_its_character(text, before):
    """A str that came from UTF-16 unit by unit, as some programs hand it over; 65,536 are written at a time."""
    units = text.encode("utf-16-le")
    pairs = "é" * before + "".join(chr(units[i] | units[i + 1] << 8) for i in range(0, len(units), 2))
    whole = "é" * before + text
    tokenizer = helpers.demo()
    assert tokenizer.encode(pairs) == tokenizer.encode(whole)
    assert tokenizer.count(pairs) == tokenizer.count(whole)
    assert tokenizer.encode_batch([pairs, pairs + "\U00020000"])[0] == tokenizer.encode(whole)


def test_a_surrogate_is_named_where_it_is_however_far():
    for at in (0, 15, 65_536, 70_001):
        with pytest.raises(ValueError, match=rf"encode: text holds the lone surrogate U\+DFFF at index {at}, "):
            helpers.demo().encode("a" * at + "\udfff" + "é")


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_error_of_a_batch_is_that_of_its_first_bad_text(threads):
    texts = ["word " * 5000] * 30
    for bad in (4, 9, 28):
        texts[bad] = "x" * bad + "\ud800"
    with pytest.raises(ValueError, match=r"encode_batch: text holds the lone surrogate U\+D800 at index 4,"):
        helpers.demo().encode_batch(texts, threads=threads)


@pytest.mark.parametrize("wrong", [b"bytes", None, 5, ["text"]])
def test_text_that_is_no_str_is_a_type_error(wrong):
    for call in (helpers.demo().encode, helpers.demo().count):
        with pytest.raises(TypeError, match=f"text must be str, got {type(wrong).__name__.removesuffix('Type')}"):
            call(wrong)


@pytest.mark.parametrize("wrong", ["text", b"bytes", 5, None, [1.5], ["a"]])
def test_ids_that_are_no_integers_are_a_type_error(wrong):
    with pytest.raises(TypeError, match="ids must be"):
        helpers.demo().decode(wrong)


def test_wrong_arguments_are_errors():
    tokenizer = helpers.demo()
    with pytest.raises(ValueError, match=r"names '<x>', which is no special token; there are: <\|endoftext\|>"):
        tokenizer.encode("a", allowed_special=["<x>"])
    with pytest.raises(ValueError, match='must be "all" or a collection'):
        tokenizer.encode("a", allowed_special="<|endoftext|>")
    for call in (
        lambda: tokenizer.encode(),
        lambda: tokenizer.encode("a", "b"),
        lambda: tokenizer.encode("a", other=1),
    ):
        with pytest.raises(TypeError, match="allowed_special"):
            call()
    assert tokenizer.encode(text="a") == tokenizer.encode("a")


def test_a_place_without_a_vocabulary_is_file_not_found(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no vocabulary in the folder .*vocab\.json with merges\.txt"):
        Tokenizer.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        Tokenizer.load(tmp_path / "nowhere")
    (tmp_path / "vocab.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=r"vocab\.json needs merges\.txt"):
        Tokenizer.load(tmp_path / "vocab.json")
    (tmp_path / "other.txt").write_text("")
    with pytest.raises(ValueError, match=r"cannot tell what other\.txt is"):
        Tokenizer.load(tmp_path / "other.txt")


def test_encodings_are_found_by_path_or_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("NEXTWORD_ENCODINGS", raising=False)
    with pytest.raises(FileNotFoundError, match=r"r50k_base\.tiktoken.*NEXTWORD_ENCODINGS"):
        Tokenizer.from_encoding("gpt2")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        Tokenizer.from_encoding("gpt2", path=tmp_path)
    with pytest.raises(ValueError, match=r"must be one of gpt2, .*got 'gpt5'"):
        Tokenizer.from_encoding("gpt5")
    monkeypatch.setenv("NEXTWORD_ENCODINGS", str(helpers.data("tiktoken_ranks")))
    assert Tokenizer.from_encoding("gpt2").encode("The theory") == [464, 4583]
    assert Tokenizer.load(helpers.data("tiktoken_ranks/cl100k_base.tiktoken")).eos_id == 100257


def test_the_examples_in_the_documentation_run():
    globs = {"demo": helpers.demo, "Tokenizer": Tokenizer}
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    finder = doctest.DocTestFinder()
    tests = finder.find(module, globs=globs)
    for name in ("encode", "encode_array", "encode_batch", "count", "decode", "decode_bytes"):
        tests += finder.find(getattr(_core.Bpe, name), name, module=False, globs=globs)
    for test in tests:
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0
    assert runner.tries >= 12
