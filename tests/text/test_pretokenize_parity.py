"""The splitting patterns of Qwen2 and SmolLM against Hugging Face's pre-tokenizers."""

import json

import pytest
from hypothesis import given

import tokenizer_helpers as helpers
from nextword import _core
from nextword.text.tokenizer_files import REGEX

tokenizers = pytest.importorskip("tokenizers")
pre_tokenizers = tokenizers.pre_tokenizers

JUDGES = {
    "qwen2": pre_tokenizers.Split(tokenizers.Regex(REGEX["qwen2"]), "isolated"),
    "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(False)]),
}
WORDS = ["", " ", "  ", "'s", "'S", "'\u017f", "a", "A", "ä", "中", "\u0301", "7", "½", "!", "\n", "\r", "\u3000", "😀"]


def expected(pattern, text):
    """The pieces by the offsets of Hugging Face, in characters."""
    return [text[begin:end].encode() for _, (begin, end) in JUDGES[pattern].pre_tokenize_str(text)]


@pytest.mark.parametrize("pattern", JUDGES)
@pytest.mark.parametrize("first", WORDS)
def test_four_neighbours_of_every_kind_split_as_in_tokenizers(pattern, first):
    for second in WORDS:
        for third in WORDS:
            text = first + second + third + first
            assert _core.pieces(pattern, text) == expected(pattern, text), repr(text)


@pytest.mark.parametrize("pattern", JUDGES)
@given(text=helpers.texts())
def test_any_text_splits_as_in_tokenizers(pattern, text):
    assert _core.pieces(pattern, text) == expected(pattern, text)


def test_digits_before_byte_level_are_read_and_written(tmp_path):
    judge = tokenizers.Tokenizer(tokenizers.models.BPE())
    judge.pre_tokenizer = JUDGES["smollm"]
    judge.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    judge.train_from_iterator(["low lower 1999 lowest", "10 slow 1999 owls"] * 9, trainer)
    judge.save(str(tmp_path / "tokenizer.json"))
    ours = helpers.Tokenizer.load(tmp_path)
    assert ours.pattern == "smollm"
    ours.save(tmp_path / "again")
    assert "Digits" in json.dumps(json.loads((tmp_path / "again" / "tokenizer.json").read_text())["pre_tokenizer"])
    for text in ("lowest 1999 owls", "  slow  10  1999\n"):
        assert ours.encode(text) == judge.encode(text).ids == helpers.Tokenizer.load(tmp_path / "again").encode(text)
