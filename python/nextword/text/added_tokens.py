"""What a token is that is found in text as it stands. Finding it is in csrc/text/bpe_added.cpp."""

from __future__ import annotations

from typing import NamedTuple


class _Fields(NamedTuple):
    content: str
    id: int
    special: bool
    lstrip: bool
    rstrip: bool
    single_word: bool
    normalized: bool


class AddedToken(_Fields):
    """A token that is found in text before the text is split and merged, as Hugging Face's tokenizers have it.

    content: the text that it is. id: its id.
    special: whether it has a meaning beyond its text: it is found only where allowed_special has it. Others always are.
    lstrip, rstrip: whether it takes the white space before and after it along.
    single_word: whether it is found only where no letter, digit or other character of a word is next to it.
    normalized: whether it is looked for in the text as the normaliser leaves it, its content normalised too, after
    those that are not. By default all that are not special.

    >>> AddedToken("dragonfly", 4096, special=False).normalized, AddedToken("<mask>", 4097).normalized
    (True, False)
    """

    __slots__ = ()

    def __new__(
        cls,
        content: str,
        id: int,
        special: bool = True,
        lstrip: bool = False,
        rstrip: bool = False,
        single_word: bool = False,
        normalized: bool | None = None,
    ) -> AddedToken:
        if normalized is None:
            normalized = not special
        return super().__new__(cls, content, id, special, lstrip, rstrip, single_word, normalized)
