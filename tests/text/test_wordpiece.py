"""WordPiece: published ids, the rule in plain Python, special tokens around texts, offsets, saving, errors."""

from __future__ import annotations

import copy
import json
import pickle
import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tokenizer_helpers as helpers
from nextword.text.tokenizer import Tokenizer
from nextword.text.with_specials import shortened

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = ["a", "b", "ab", "aba", "##a", "##b", "##ab", "##ba", "##bab", "c", "##c", "é", "e", "'", ",", "!", "中", "un",
          "##known", "s", "ß", "##ß"]  # fmt: skip
VOCABULARY = [*SPECIALS, *PIECES]


def folder_of(place, words=VOCABULARY, **config):
    (place / "vocab.txt").write_text("".join(f"{word}\n" for word in words), "utf-8")
    (place / "tokenizer_config.json").write_text(json.dumps(config))
    return place


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return Tokenizer.load(folder_of(tmp_path_factory.mktemp("words"), model_max_length=512))


@pytest.fixture(scope="module")
def bert():
    helpers.data("other_tokenizers/bert-base-uncased/vocab.txt")
    return Tokenizer.load(helpers.data("other_tokenizers/bert-base-uncased"))


def greedy(word, vocabulary):
    """The rule: the longest token that the rest of the word begins with, over and over."""
    if len(word) > 100:
        return ["[UNK]"]
    found, begin = [], 0
    while begin < len(word):
        prefix = "##" if begin else ""
        end = next((end for end in range(len(word), begin, -1) if prefix + word[begin:end] in vocabulary), None)
        if end is None:
            return ["[UNK]"]
        found.append(prefix + word[begin:end])
        begin = end
    return found


def plain(text):
    """Words of ASCII text, lower case, without controls; signs alone."""
    text = "".join(" " if c in " \t\n\r" else c for c in text if (c >= " " and c != "\x7f") or c in "\t\n\r").lower()
    for sign in string.punctuation:
        text = text.replace(sign, f" {sign} ")
    return text.split()


@given(st.text(st.characters(max_codepoint=127), max_size=60) | st.text("ab c'!\n", max_size=200))
def test_ascii_text_becomes_the_longest_tokens_of_each_word(small, text):
    known = set(PIECES)
    assert small.encode(text, add_special_tokens=False) == [
        VOCABULARY.index(token) for word in plain(text) for token in greedy(word, known)
    ]


def test_published_ids_of_questions(bert):
    lines = helpers.data("tokenizer_vectors/bert_squad_questions.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 3000
    texts = [row["text"] for row in rows]
    assert bert.encode_batch(texts, add_special_tokens=False, threads=2) == [row["ids"] for row in rows]
    for row in rows[:300]:
        assert bert.pieces(row["text"]) == [word.encode() for word in row["basic"]]


@pytest.mark.parametrize("size", [99, 100, 101])
def test_words_of_more_than_100_characters_are_unknown(small, size):
    assert (small.encode("ß" * size, add_special_tokens=False) == [1]) == (size > 100)


def test_a_long_text_is_that_of_its_words(small):
    words = ["ab", "unknown", "abababab", "x" * 30, "!", "a" * 5000, "b"] * 700
    expected = [id for word in words for id in small.encode(word, add_special_tokens=False)]
    assert small.encode(" ".join(words), add_special_tokens=False) == expected
    assert small.count(" ".join(words)) == len(expected) + 2


def test_what_stands_around_one_text_and_two(small):
    one = small.with_specials("aba [MASK]!")
    assert one.ids.tolist() == [VOCABULARY.index(token) for token in ("[CLS]", "aba", "[MASK]", "!", "[SEP]")]
    assert one.ids.dtype == one.types.dtype == np.int64
    assert one.offsets == [(0, 0), (0, 3), (4, 10), (10, 11), (0, 0)]
    assert one.parts == [None, 0, 0, 0, None]
    assert one.cut == 0
    two = small.with_specials("a", "bc")
    assert two.ids.tolist() == [VOCABULARY.index(token) for token in ("[CLS]", "a", "[SEP]", "b", "##c", "[SEP]")]
    assert two.types.tolist() == [0, 0, 0, 1, 1, 1]
    assert two.parts == [None, 0, None, 1, 1, None]
    assert one.ids.tolist() == small.encode("aba [MASK]!", allowed_special="all")
    assert small.encode("[MASK]") != small.encode("[MASK]", allowed_special="all")  # a name in a text is text


@given(st.text("abéE中!  \u0301", max_size=12), st.none() | st.text("ab ", max_size=12), st.integers(3, 30))
def test_what_is_cut_is_counted_and_a_batch_is_each_alone(small, text, pair, most):
    whole, cut = small.with_specials(text, pair), small.with_specials(text, pair, max_length=most)
    assert len(cut.ids) == min(len(whole.ids), most) == len(whole.ids) - cut.cut
    assert len(cut.ids) == len(cut.types) == len(cut.offsets) == len(cut.parts)
    for number, own in enumerate([text, pair]):  # what stays is a beginning
        every = [id for id, part in zip(whole.ids, whole.parts, strict=True) if part == number]
        some = [id for id, part in zip(cut.ids, cut.parts, strict=True) if part == number]
        assert some == every[: len(some)]
        ends = [end for (_, end), part in zip(cut.offsets, cut.parts, strict=True) if part == number]
        assert ends == sorted(ends)
        assert all(end <= len(own) for end in ends)
    pairs = None if pair is None else [pair, pair]
    for offsets in (True, False):
        for read in small.with_specials_batch([text, text], pairs, max_length=most, offsets=offsets):
            assert read.ids.tolist() == cut.ids.tolist()
            assert read.types.tolist() == cut.types.tolist()
            assert read.offsets == (cut.offsets if offsets else [])
            assert (read.parts, read.cut) == (cut.parts, cut.cut)


@given(st.lists(st.integers(0, 40), min_size=2, max_size=2), st.integers(0, 60))
def test_the_longer_of_two_texts_is_cut_token_by_token(sizes, room):
    left, right = sizes
    while left + right > room:  # at last both have half, the longer one at first the odd token
        left, right = (left - 1, right) if left > right else (left, right - 1)
    first, second = shortened(sizes, room, room)
    assert first + second == left + right
    assert sorted((first, second)) == sorted((left, right))


def test_offsets_are_those_of_what_a_token_was_made_of(small):
    text = "\u4e2dE\u0301a\u0300b \tAß"
    read = small.with_specials(text)
    found = [text[begin:end] for begin, end in read.offsets[1:-1]]
    assert found == ["\u4e2d", "E\u0301a\u0300b", "Aß"] or "".join(found).startswith("\u4e2dE")
    ids, ranges = small.encode_with_offsets(text, add_special_tokens=False)
    assert ids == read.ids[1:-1].tolist()
    assert [text.encode()[begin:end].decode() for begin, end in ranges] == found


def test_special_tokens_by_name_and_the_longest_text(small):
    names = ("pad", "unk", "cls", "sep", "mask")
    assert small.special_ids == {f"{name}_token": SPECIALS.index(f"[{name.upper()}]") for name in names}
    assert small.max_length == 512
    assert helpers.demo().max_length is None


def test_decoded_words_stand_apart_but_for_their_parts(small):
    ids = [VOCABULARY.index(token) for token in ("un", "##known", "a", "!", "'", "s")]
    assert small.decode(ids) == "unknown a! ' s"
    assert small.decode_bytes(ids) == b"unknown a! ' s"
    assert small.token_bytes(ids[1]) == b"##known"
    decoder = small.decoder()
    assert [decoder.push(id) for id in ids] == ["un", "known", " a", "!", " '", " s"]
    assert decoder.flush() == ""
    assert decoder.push(ids[0]) == "un"


@pytest.mark.parametrize("config", [{}, {"do_lower_case": False}, {"strip_accents": False, "mask_token": "<m>"}])
def test_a_saved_tokenizer_and_a_copy_are_the_same(tmp_path, config):
    tokenizer = Tokenizer.load(folder_of(tmp_path, **config))
    text = "Aba é E\u0301, \u4e2d\u4e2d [MASK] <m>"
    (tmp_path / "saved").mkdir()
    tokenizer.save(tmp_path / "saved")
    for other in (Tokenizer.load(tmp_path / "saved"), pickle.loads(pickle.dumps(tokenizer)), copy.deepcopy(tokenizer)):
        for one, two in zip(other.with_specials(text, "b"), tokenizer.with_specials(text, "b"), strict=True):
            assert list(one) == list(two) if isinstance(one, list | np.ndarray) else one == two
        ids = tokenizer.encode(text)
        assert other.decode(ids) == tokenizer.decode(ids)
        assert other.added_tokens == tokenizer.added_tokens


def test_of_equal_lines_the_last_counts(tmp_path):
    tokenizer = Tokenizer.load(folder_of(tmp_path, [*VOCABULARY, "ab"]))
    assert tokenizer.encode("ab", add_special_tokens=False) == [len(VOCABULARY)]
    assert tokenizer.decode([VOCABULARY.index("ab")]) == "ab"


REFUSED = [
    ({"words": ["a", "b"]}, "vocab.txt: the unknown token \\[UNK\\] is not in it"),
    ({"words": ["[UNK]", "", "a"]}, "vocab.txt line 2 is empty"),
    ({"do_lower_case": "no"}, "do_lower_case must be true, false or null, got 'no'"),
    ({"unk_token": 3}, "unk_token must be a token, got 3"),
    ({"cls_token": None}, "cls_token must be a token, got null"),
    ({"tokenizer_class": "BertJapaneseTokenizer"}, "tokenizer_class must be BertTokenizer or its like"),
]


@pytest.mark.parametrize(("config", "message"), REFUSED)
def test_a_folder_that_cannot_be_followed_is_an_error(tmp_path, config, message):
    with pytest.raises(ValueError, match=message):
        Tokenizer.load(folder_of(tmp_path, **config))


def test_bytes_that_are_no_utf_8_are_an_error(tmp_path):
    (folder_of(tmp_path) / "vocab.txt").write_bytes(b"[UNK]\n\xff\n")
    with pytest.raises(ValueError, match=r"vocab\.txt: not UTF-8"):
        Tokenizer.load(tmp_path)


def test_a_length_without_room_and_pairs_that_are_missing_are_errors(small):
    with pytest.raises(ValueError, match="max_length must have room for the special tokens, got 1; give at least 2"):
        small.with_specials("a", max_length=1)
    with pytest.raises(ValueError, match="expected a pair for each of 2 texts, got 1"):
        small.with_specials_batch(["a", "b"], ["a"])
    with pytest.raises(TypeError, match="text must be str"):
        small.with_specials(3)


def test_vocab_txt_by_its_name_is_berts(tmp_path, small):
    file = folder_of(tmp_path, do_lower_case=False) / "vocab.txt"
    tokenizer = Tokenizer.load(file)
    assert tokenizer.encode("Aba") == small.encode("Aba")
    assert tokenizer.special_ids == small.special_ids
    assert Tokenizer.load(folder_of(tmp_path, do_lower_case=False)).encode("Aba") != tokenizer.encode("Aba")
    file.write_text("[UNK]\na\n")
    assert Tokenizer.load(file).encode("a b") == [1, 0]
