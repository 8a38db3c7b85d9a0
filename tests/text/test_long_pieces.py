"""sentencepiece.py: a piece so long that its cuts would take minutes is refused before they are looked up."""

import pytest

from nextword.text.sentencepiece import Pieces, vocabulary_of


@pytest.mark.parametrize("length", [513, 1 << 14])
def test_a_piece_of_more_characters_than_merge_is_refused(length):
    names = ["<unk>", "\u2581", "x", "x" * length]
    with pytest.raises(ValueError, match=rf"a piece that merges must have at most 512 characters, got {length:,} in"):
        vocabulary_of(Pieces(names, [2, 1, 1, 1], [0.0, -1.0, -2.0, -3.0], "characters", 0, False, "a file"))
