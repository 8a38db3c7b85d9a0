"""Ids and texts of SentencePiece's vocabularies against `sentencepiece` itself."""

import functools
import math

import pytest
from hypothesis import given, settings

import sentencepiece_helpers as pieces
import tokenizer_helpers as helpers
from nextword.text.tokenizer import Tokenizer

sentencepiece = pytest.importorskip("sentencepiece")

FOLDER = "other_tokenizers"
MODELS = {
    "mistral": "mistral/tokenizer.model.v1",
    "albert": "unigram/albert-spiece.model",
    "unigram": "unigram/test_sentencepiece.model",
    "bpe": "unigram/test_sentencepiece_bpe.model",
}
CORPORA = ["tinyshakespeare.txt", "german/de-HMann2.txt", "multilingual/japanese_rust_book.md",
           "multilingual/udhr_selected.txt", "german/gesetze_bgb_gg_stgb.md", "english/war-and-peace.txt"]  # fmt: skip


@functools.cache
def pair(name):
    """The vocabulary here and there."""
    path = helpers.data(f"{FOLDER}/{MODELS[name]}")
    link = helpers.temporary(f"{name}.model", path)
    return Tokenizer.load(link), sentencepiece.SentencePieceProcessor(model_file=str(path))


def is_tie(ours, judge, got, expected):
    """Whether a unigram model finds two ways as good: their sums of scores are apart by no more than float32, in which
    SentencePiece sums, may round (n additions: n times half a unit in the last place of the sum of sizes)."""
    if ours.units != "unigram" or judge.decode(got) != judge.decode(expected):
        return False
    first, second = ([judge.get_score(id) for id in ids] for ids in (got, expected))
    most = max(sum(map(abs, first)), sum(map(abs, second)))
    return abs(math.fsum(first) - math.fsum(second)) <= 2 * max(len(got), len(expected)) * 2.0**-24 * most


def agree(ours, judge, texts):
    for text, expected in zip(texts, judge.encode(texts), strict=True):
        got = ours.encode(text)
        assert got == expected or is_tie(ours, judge, got, expected), repr(text[:200])
        if judge.unk_id() not in got and "▁" not in text:  # of such blanks SentencePiece leaves out others
            assert ours.decode(got) == judge.decode(got), repr(text[:200])


@pytest.mark.parametrize("corpus", CORPORA)
@pytest.mark.parametrize("name", MODELS)
def test_the_lines_of_a_corpus_have_the_ids_of_sentencepiece(name, corpus):
    lines = helpers.data(f"corpora/{corpus}").read_text(encoding="utf-8").split("\n")
    agree(*pair(name), lines[:: max(1, len(lines) // 1500)])


@pytest.mark.parametrize("name", MODELS)
@given(text=pieces.texts())
@settings(max_examples=60)
def test_any_text_has_the_ids_of_sentencepiece(name, text):
    agree(*pair(name), [text])


@pytest.mark.parametrize("prefix", [0, 1])
@pytest.mark.parametrize("collapses", [0, 1])
@pytest.mark.parametrize("model", [pieces.UNIGRAM, pieces.BPE])
@pytest.mark.parametrize("fallback", [False, True])
@given(text=pieces.texts())
@settings(max_examples=25)
def test_each_way_to_normalise_and_to_treat_what_is_unknown_is_the_same(
    tmp_path_factory, prefix, collapses, model, fallback, text
):
    kept = [piece for piece in pieces.PIECES if fallback or piece[2] != pieces.BYTE]
    data = pieces.written(kept, model, prefix=prefix, collapses=collapses)
    file = tmp_path_factory.mktemp("model") / "tokenizer.model"
    file.write_bytes(data)
    agree(Tokenizer.load(file), sentencepiece.SentencePieceProcessor(model_proto=data), [text, text * 3, " " + text])


@pytest.mark.parametrize("model", [pieces.UNIGRAM, pieces.BPE])
@given(text=pieces.texts())
@settings(max_examples=40)
def test_user_defined_pieces_are_taken_as_they_stand(tmp_path_factory, model, text):
    """Whatever the blanks beside them, and no merge goes beyond them."""
    kept = [*pieces.PIECES, ("bb", 0.0, pieces.USER_DEFINED), ("½", 0.0, pieces.USER_DEFINED)]
    data = pieces.written(kept, model)
    file = tmp_path_factory.mktemp("model") / "tokenizer.model"
    file.write_bytes(data)
    agree(Tokenizer.load(file), sentencepiece.SentencePieceProcessor(model_proto=data), [text, text + "bb" + text])
