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
        assert b"".join(helpers.ours(name).pieces(text)) == text.encode()


@pytest.mark.parametrize("first", WORDS)
def test_three_neighbours_of_every_kind_split_as_in_tiktoken(name, first):
    for second in WORDS:
        for third in WORDS:
            text = first + second + third
            assert helpers.ours(name).encode(text) == helpers.judge(name).encode_ordinary(text), text


@given(helpers.texts())
def test_any_text_splits_as_in_tiktoken(name, text):
    assert helpers.ours(name).encode(text) == helpers.judge(name).encode_ordinary(text)


@pytest.mark.parametrize("variant", _core.byte_blocks_variants())
@given(text=helpers.texts())
def test_blocks_of_64_bytes_split_as_one_character_at_a_time(variant, text):
    _core.set_byte_blocks(variant)
    try:
        for text in (text, "x" * 61 + text, text * 3):  # noqa: B020
            assert _core.pieces("gpt2", text) == _core.pieces_scanned("gpt2", text)
    finally:
        _core.set_byte_blocks(_core.byte_blocks_variants()[-1])


def test_borders_of_blocks_do_not_matter():
    """Everything that looks ahead or behind, at every place of a block."""
    for middle in (
        "'s",
        "'ll x",
        " '",
        "é",
        "中 ",
        "\u3000",
        " \u3000a",
        "\u00a0\u00a0x",
        "  \n",
        "😀",
        " 'veé",
        "1'2",
        "\n'd ",
    ):
        for before in range(58, 68):
            for after in ("", "a", " a", "  ", "\n\n", "7", "'s", "\u2003"):
                for filler in "a .1":
                    text = filler * before + middle + after
                    assert _core.pieces("gpt2", text) == _core.pieces_scanned("gpt2", text), repr(text)


def test_llama3_ends_a_piece_at_a_newline_at_the_end_of_the_text():
    assert _core.pieces("llama3", "a\n  ") == [b"a", b"\n", b"  "]
    assert _core.pieces("cl100k", "a\n  ") == [b"a", b"\n  "]


def test_an_unknown_pattern_or_variant_lists_the_known_ones():
    known = "gpt2, cl100k, llama3, qwen2, smollm, o200k, blanks, each_blank, whole, bert, words"
    with pytest.raises(ValueError, match=f"{known}, got 'gpt9'"):
        _core.pieces("gpt9", "")
    with pytest.raises(ValueError, match="must be one of portable"):
        _core.set_byte_blocks("gpu")


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
