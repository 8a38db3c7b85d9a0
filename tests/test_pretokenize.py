"""The splitting scanners against tiktoken's regular expressions."""

import pytest
from hypothesis import given

import tokenizer_helpers as helpers
from nextword import _core

tiktoken = pytest.importorskip("tiktoken")

# Neighbours by kind: contractions, letters of every category, marks, numbers, signs, white space. U+017F folds to s.
WORDS = ["", " ", "'", "'s", "'S", "'\u017f", "'re", "'Re", "'l", "a", "A", "ä", "ǅ", "ʰ", "中", "\u0301", "7", "½"]
WORDS += ["!", "/", "\n", "\r", "\t", "\u3000", "😀"]


@pytest.fixture(scope="module", params=helpers.PATTERN_OF.values())
def name(request):
    helpers.ours(request.param)
    helpers.judge(request.param)
    return request.param


def test_pieces_put_together_are_the_text(name):
    for text in ("", "a  b", "x" * 500, " \n \t ", "don't  SHOUT\r\n\r\n  12345 ½½½½ 中文、テスト!!!\n"):
        assert b"".join(helpers.ours(name)._pieces(text)) == text.encode()


@pytest.mark.parametrize("first", WORDS)
def test_three_neighbours_of_every_kind_split_as_in_tiktoken(name, first):
    for second in WORDS:
        for third in WORDS:
            text = first + second + third
            assert helpers.ours(name).encode(text) == helpers.judge(name).encode_ordinary(text), text


@given(helpers.texts())
def test_any_text_splits_as_in_tiktoken(name, text):
    assert helpers.ours(name).encode(text) == helpers.judge(name).encode_ordinary(text)


def classes_by_tiktoken(pattern):
    """The characters that tiktoken's own regular expression engine puts into `pattern`."""
    encoding = tiktoken.Encoding(
        "x", pat_str=pattern, mergeable_ranks={bytes([i]): i for i in range(256)}, special_tokens={}
    )
    everything = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    return set(bytes(encoding.encode_ordinary(everything)).decode())


@pytest.mark.parametrize(
    ("pattern", "classes"),
    [
        (r"\p{Ll}", [1]),
        (r"[\p{Lu}\p{Lt}]", [2]),
        (r"[\p{Lm}\p{Lo}]", [3]),
        (r"\p{M}", [4]),
        (r"\p{N}", [5]),
        (r"\s", [6]),
    ],
)
def test_every_character_has_the_class_that_tiktoken_gives_it(pattern, classes):
    expected = classes_by_tiktoken(pattern)
    table = _core.unicode_classes()
    mine = {chr(code) for code in range(0x110000) if table[code] in classes and not 0xD800 <= code < 0xE000}
    assert sorted(mine ^ expected) == []


def test_the_unicode_version_is_stated():
    assert _core.unicode_version == "16.0.0"
