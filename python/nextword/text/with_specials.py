"""A text, or two, as an encoder reads it: special tokens around it, types, offsets, cut to what the model takes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nextword import _core
from nextword.text.template import FIRST, SECOND, Template

Offset = tuple[int, int]
Encoded = tuple[Sequence[int], Sequence[Offset] | None]  # no offsets where nobody asked


class WithSpecials(NamedTuple):
    """ids, types: int64 [tokens]. offsets: for each token the half-open range of characters of its text, (0, 0) of
    special ones; empty where nobody asked. parts: for each token the number of its text, None of special ones. cut: how
    many tokens of the texts were left out, 0 where all are there.
    """

    ids: NDArray[np.int64]
    types: NDArray[np.int64]
    offsets: list[Offset]
    parts: list[int | None]
    cut: int


def put_together(template: Template, texts: Sequence[Encoded], max_length: int | None) -> WithSpecials:
    """The ids and offsets of one text or two with what the template has around them, at most max_length in all.

    Raises ValueError where max_length has no room for the special tokens, or the template none for a second text.
    """
    layout = template.single if len(texts) == 1 else template.pair
    if not layout:
        raise ValueError("with_specials: the vocabulary's files put no two texts together; encode them one by one")
    sizes = [len(ids) for ids, _ in texts]
    kept = sizes if max_length is None else shortened(sizes, max_length - (len(layout) - len(texts)), max_length)
    ids: list[int] = []
    types: list[int] = []
    offsets: list[Offset] = []
    parts: list[int | None] = []
    for id, kind in layout:
        if id not in (FIRST, SECOND):
            ids.append(id)
            offsets.append((0, 0))
            parts.append(None)
        else:
            number = 0 if id == FIRST else 1
            ids += texts[number][0][: kept[number]]
            offsets += (texts[number][1] or ())[: kept[number]]
            parts += [number] * kept[number]
        types += [kind] * (len(ids) - len(types))
    whole = all(text[1] is not None for text in texts)
    return WithSpecials(np.array(ids, np.int64), np.array(types, np.int64), offsets if whole else [], parts,
                        sum(sizes) - sum(kept))  # fmt: skip


def shortened(sizes: list[int], room: int, max_length: int) -> list[int]:
    """How many tokens of each text stay where there is room for so many.

    The longer of two is cut first, then both to half of the room (longest_first of tokenizers).
    """
    if sum(sizes) <= room:
        return sizes
    if room < 0:
        raise ValueError(f"with_specials: max_length must have room for the special tokens, got {max_length}; "
                         f"give at least {max_length - room}")  # fmt: skip
    if len(sizes) == 1:
        return [room]
    low = min(*sizes, room // 2)
    cut = [low, room - low]
    return cut if sizes[0] <= sizes[1] else cut[::-1]


def trimmed_offsets(
    tokenizer: _core.Bpe,
    text: str,
    ids: Sequence[int],
    offsets: Sequence[Offset],
    after_prefix: bool,
    added: Collection[int],
) -> list[Offset]:
    """Offsets without the blanks at the ends of tokens, as ByteLevel and RobertaProcessing of tokenizers give them.

    after_prefix: whether a token that begins the text keeps one, as it may have been put there.
    added: the ids of tokens that are found as they stand.
    """
    found = []
    for number, (id, (begin, end)) in enumerate(zip(ids, offsets, strict=True)):
        if id in added:
            token = text[begin:end]
            before, behind = len(token) - len(token.lstrip()), len(token) - len(token.rstrip())
        else:
            piece = tokenizer.token_bytes(id)
            before, behind = len(piece) - len(piece.lstrip(b" ")), len(piece) - len(piece.rstrip(b" "))
        if before and after_prefix and (number == 0 or begin == 0):
            before -= 1
        begin = min(begin + before, end)
        if behind and end >= behind:
            end = max(end - behind, begin)
        found.append((begin, end))
    return found
