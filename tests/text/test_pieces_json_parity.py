"""Files of tokenizer.json with U+2581 for blanks against `tokenizers`: those of T5, Llama, Metaspace in all ways."""

import functools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sentencepiece_helpers as pieces
import tokenizer_helpers as helpers
from nextword.text.tokenizer import Tokenizer

tokenizers = pytest.importorskip("tokenizers")

MARK = "▁"
TO_MARK = {"type": "Replace", "pattern": {"String": " "}, "content": MARK}
LLAMA = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": MARK}, TO_MARK]}
LLAMA_DECODER = {
    "type": "Sequence",
    "decoders": [
        {"type": "Replace", "pattern": {"String": MARK}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    ],
}


def metaspace(scheme, split):
    return {"type": "Metaspace", "replacement": MARK, "prepend_scheme": scheme, "split": split}


def words(scheme):
    return {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace(scheme, True)]}


FORMS = {  # normalizer, pre_tokenizer, decoder
    "llama": (LLAMA, None, LLAMA_DECODER),
    "gemma": (TO_MARK, {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False},
              {"type": "Sequence", "decoders": LLAMA_DECODER["decoders"][:3]}),
    **{f"{scheme} {split}": (None, metaspace(scheme, split), metaspace(scheme, split))
       for scheme in ("always", "first", "never") for split in (True, False)},
    "words": (None, words("always"), metaspace("always", True)),
    "steps": ({"type": "Sequence", "normalizers": [
        {"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"},
        {"type": "Strip", "strip_left": True, "strip_right": True},
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
        {"type": "Replace", "pattern": {"String": "b"}, "content": "a"}]},
        metaspace("always", True), metaspace("always", True)),
}  # fmt: skip


def merges(vocab):
    """Each way to cut a token in two, as transformers writes them for Llama."""
    found = []
    for token in sorted(vocab, key=vocab.get):
        cuts = [(token[:i], token[i:]) for i in range(1, len(token))]
        found += [list(cut) for cut in cuts if cut[0] in vocab and cut[1] in vocab and not token.startswith("<")]
    return found


@functools.cache
def described(form, unigram, fallback):
    """A file, as text."""
    kept = [piece for piece in pieces.PIECES if fallback or piece[2] != pieces.BYTE]
    names = {name: id for id, (name, _, _) in enumerate(kept)}
    if unigram:
        model = {"type": "Unigram", "unk_id": 0, "vocab": [[name, score] for name, score, _ in kept]}
    else:
        model = {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                 "end_of_word_suffix": None, "fuse_unk": True, "ignore_merges": False, "vocab": names,
                 "merges": merges(names)}  # fmt: skip
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    normalizer, pre_tokenizer, decoder = FORMS[form]
    return json.dumps({
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": id, "content": kept[id][0], "special": True, **flags} for id in range(3)],
        "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": None, "decoder": decoder,
        "model": model | {"byte_fallback": fallback}})  # fmt: skip


@functools.cache
def pair(form, unigram, fallback):
    text = described(form, unigram, fallback)
    file = helpers.temporary_folder() / f"{form}{unigram}{fallback}" / "tokenizer.json"
    file.parent.mkdir()
    file.write_text(text)
    return Tokenizer.load(file), tokenizers.Tokenizer.from_str(text)


@pytest.mark.parametrize("form", FORMS)
@given(unigram=st.booleans(), fallback=st.booleans(), text=pieces.texts())
@settings(max_examples=50)
def test_any_text_has_the_ids_of_tokenizers(form, unigram, fallback, text):
    ours, judge = pair(form, unigram, fallback)
    if form == "words":
        text = text.replace(MARK, "")  # after WhitespaceSplit a word that is one gets no blank there
    for one in (text, " ".join([text] * 3), f"<s>{text}</s> {text}"):
        expected = judge.encode(one).ids
        got = ours.encode(one, allowed_special="all")
        assert got == expected, (one, judge.encode(one).tokens)
        if not fallback or form in ("llama", "gemma"):  # the others leave <0x41> as it is
            assert ours.decode(got) == judge.decode(expected, skip_special_tokens=False), one


@functools.cache
def t5():
    path = helpers.data("other_tokenizers/t5/tokenizer.json")
    return Tokenizer.load(path), tokenizers.Tokenizer.from_file(str(path))


@pytest.mark.parametrize("corpus", ["tinyshakespeare.txt", "german/de-HMann2.txt", "multilingual/udhr_selected.txt"])
def test_the_lines_of_a_corpus_have_the_ids_of_t5(corpus):
    ours, judge = t5()
    lines = helpers.data(f"corpora/{corpus}").read_text(encoding="utf-8").split("\n")
    lines = lines[:: max(1, len(lines) // 1000)]
    for line, expected in zip(lines, judge.encode_batch(lines), strict=True):
        got = ours.encode(line)
        assert got == expected.ids, line
        assert ours.decode(got) == judge.decode(expected.ids, skip_special_tokens=False), line


@given(text=pieces.texts())
@settings(max_examples=150)
def test_any_text_has_the_ids_of_t5(text):
    ours, judge = t5()
    assert ours.encode(text) == judge.encode(text).ids


def wrong(**changes):
    parts = json.loads(described("llama", False, True))
    model = parts["model"] | changes.pop("model", {})
    return parts | {"model": model} | changes


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ("model.dropout", {"model": {"dropout": 0.1}}),
        ("model.ignore_merges", {"model": {"ignore_merges": True}}),
        ("model.type", {"model": {"type": "WordLevel"}}),
        ("model.merges", {"model": {"merges": []}}),
        ("model.vocab", {"model": {"vocab": {"a": 5}}}),
        ("model must be", {"model": {"vocab": {"a": "x"}}}),
        ("model must be", {"model": {"unk_token": 3}}),
        ("pre_tokenizer", {"pre_tokenizer": {"type": "Whitespace"}}),
        ("pre_tokenizer", {"normalizer": None}),
        ("normalizer", {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "?"}}),
        ("precompiled_charsmap", {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"},
                                  "pre_tokenizer": metaspace("always", True)}),
        ("decoder", {"decoder": {"type": "WordPiece"}}),
    ],
)  # fmt: skip
def test_what_is_not_done_is_an_error_that_names_the_field(tmp_path, words, changes):
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(wrong(**changes)))
    with pytest.raises(ValueError, match=f"Tokenizer.*{words}"):
        Tokenizer.load(file)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("unigram", [False, True])
def test_what_is_saved_is_read_back_by_both(form, unigram, tmp_path):
    ours, _ = pair(form, unigram, True)
    ours.save(tmp_path)
    again, judge = Tokenizer.load(tmp_path), tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in ("abc  ab é中x", "", " a", "b b\n  ½"):
        ids = ours.encode(text)
        assert again.encode(text) == ids == judge.encode(text).ids
        assert again.decode(ids) == ours.decode(ids)
