"""Unigram vocabularies in GGUF files, written by the package `gguf`: ids are those of the tokenizer.model itself."""

import functools

import pytest
from hypothesis import given, settings

import sentencepiece_helpers as pieces
import tokenizer_helpers as helpers
from nextword import _core
from nextword.files.gguf import GGUF
from nextword.text.gguf_vocabulary import tokenizer_of_gguf
from nextword.text.tokenizer import Tokenizer

gguf = pytest.importorskip("gguf", reason="needs the package gguf")

MODELS = {"albert": "unigram/albert-spiece.model", "unigram": "unigram/test_sentencepiece.model"}


def write(path, model):
    """The vocabulary as llama.cpp's converter writes that of T5."""
    fields = _core.sentencepiece_fields(model.read_bytes(), "tokenizer.model")
    writer = gguf.GGUFWriter(path, "t5")
    writer.add_tokenizer_model("t5")
    writer.add_token_list(fields["names"])
    writer.add_token_scores(fields["scores"])
    writer.add_token_types(fields["kinds"])
    writer.add_add_space_prefix(fields["prefix"])
    writer.add_remove_extra_whitespaces(fields["collapses"])
    writer.add_precompiled_charsmap(fields["rules"])
    writer.add_unk_token_id(fields["unknown"])
    if fields["end"] is not None:
        writer.add_eos_token_id(fields["end"])
    writer.add_add_eos_token(False)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


@functools.cache
def pair(name):
    """The vocabulary of the GGUF file, and that of tokenizer.model."""
    model = helpers.data(f"other_tokenizers/{MODELS[name]}")
    link = helpers.temporary(f"{name}.model", model)
    path = link.with_name(f"{name}.gguf")
    write(path, model)
    return tokenizer_of_gguf(GGUF(path).metadata), Tokenizer.load(link)


@pytest.mark.parametrize("corpus", ["multilingual/japanese_rust_book.md", "multilingual/udhr_selected.txt"])
@pytest.mark.parametrize("name", MODELS)
def test_the_lines_of_a_corpus_have_the_ids_of_the_model(name, corpus):
    read, judge = pair(name)
    lines = helpers.data(f"corpora/{corpus}").read_text(encoding="utf-8").split("\n")[:800]
    assert [list(ids) for ids in read.encode_batch(lines)] == [judge.encode(line) for line in lines]
    assert read.special_tokens == judge.special_tokens


@pytest.mark.parametrize("name", MODELS)
@given(text=pieces.texts())
@settings(max_examples=40)
def test_any_text_has_the_ids_of_the_model(name, text):
    read, judge = pair(name)
    ids = read.encode(text)
    assert ids == judge.encode(text)
    assert read.decode(ids) == judge.decode(ids)


TINY = {
    "tokenizer.ggml.model": "t5",
    "tokenizer.ggml.tokens": ["<unk>", "</s>", "▁", "a", "▁a"],
    "tokenizer.ggml.scores": [0.0, 0.0, -2.0, -2.0, -1.0],
    "tokenizer.ggml.token_type": [2, 3, 1, 1, 1],
    "tokenizer.ggml.eos_token_id": 1,
}


def test_where_keys_are_absent_llama_cpps_defaults_hold():
    """No blank is put before a text, none is left out, and a text ends with the token that ends it."""
    assert tokenizer_of_gguf(TINY).encode("a  a") == [3, 2, 4, 1]
    more = {"tokenizer.ggml.add_space_prefix": True, "tokenizer.ggml.remove_extra_whitespaces": True}
    assert tokenizer_of_gguf({**TINY, **more}).encode("a  a") == [4, 4, 1]


@pytest.mark.parametrize(
    ("key", "value"),
    [("scores", None), ("scores", [1.0]), ("token_type", None), ("add_space_prefix", 1), ("precompiled_charsmap", "x"),
     ("remove_extra_whitespaces", "yes"), ("precompiled_charsmap", [256]), ("precompiled_charsmap", [1, 2, 3]),
     ("unknown_token_id", 9), ("eos_token_id", 5)],
)  # fmt: skip
def test_what_is_missing_or_wrong_is_one_error(key, value):
    changed = {**TINY, f"tokenizer.ggml.{key}": value}
    with pytest.raises(ValueError, match=r"tokenizer_of_gguf: tokenizer\.ggml|Tokenizer: "):
        tokenizer_of_gguf({name: value for name, value in changed.items() if value is not None})
