"""SentencePiece's files for tests: written by hand, and texts that they find hard."""

import struct

from hypothesis import strategies as st

import tokenizer_helpers as helpers

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
BYTES = [(f"<0x{byte:02X}>", 0.0, BYTE) for byte in range(256)]
EDGES = [("<unk>", 0.0, UNKNOWN), ("<s>", 0.0, CONTROL), ("</s>", 0.0, CONTROL)]
LETTERS = [(c, -50.0 - i, NORMAL) for i, c in enumerate("▁abcdeé中")]
_JOINED = ["▁a", "ab", "▁ab", "bc", "▁▁", "cd", "abc", "中中", "▁abc", "eé"]
WORDS = [(word, -float(i), NORMAL) for i, word in enumerate(_JOINED)]
PIECES = [*EDGES, *BYTES, *WORDS, *LETTERS]
UNIGRAM, BPE = 1, 2


def varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(number, value):
    """One field of a message: an int as a varint, a float in 4 bytes, bytes and texts with their length."""
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def written(pieces=PIECES, model=BPE, trainer=b"", **normalizer):
    """The bytes of a tokenizer.model."""
    out = b"".join(field(1, field(1, p) + field(2, s) + field(3, k)) for p, s, k in pieces)
    fallback = any(kind == BYTE for _, _, kind in pieces)
    out += field(2, field(3, model) + field(35, int(fallback)) + trainer)
    numbers = {"rules": 2, "prefix": 3, "collapses": 4, "escapes": 5}
    return out + field(3, b"".join(field(numbers[key], value) for key, value in normalizer.items()))


def texts():
    """Texts of few letters, blanks and what is in no vocabulary, and any texts."""
    few = st.text(st.sampled_from("aaabbcde  ▁é中x\n\t\u3000😀ﬁ½Ａ\u0301\u200b"), max_size=40)
    return st.one_of(few, helpers.texts())
