"""Activations of several passes joined to one over a whole text."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nextword.arithmetic.arrays import Floats, Ints
from nextword.machine import memory
from nextword.models.rows import Rows, hidden, over_keys


class Piece(NamedTuple):
    """What was recorded of an activation in one pass, and of which rows; None where that is not known."""

    x: Floats
    rows: Rows | None
    whole_rows: bool  # whether all columns were kept


def joined(name: str, pieces: Sequence[Piece], text: int | None) -> tuple[Floats, Ints]:
    """One text's rows in the order of their positions, and these. text: its number, needed where there are several.

    Raises ValueError if that is missing or rows are not known, IndexError if there is no such text.
    """
    found: dict[object, list[tuple[int, int, int]]] = {}  # of each text its rows: position, piece, row
    for number, piece in enumerate(pieces):
        if piece.rows is None:
            raise ValueError(f"trace: {name} was kept by a function, whose rows are not known; keep a Select, or take "
                             "t.all(name)")
        for key, own in piece.rows.by_text():
            places = piece.rows.positions[own].tolist()
            earlier = [one for one in found.get(key, []) if not places or one[0] < places[0]]
            found[key] = earlier + [(place, number, row) for place, row in zip(places, own.tolist(), strict=True)]
    if not found:
        return pieces[-1].x, np.empty(0, np.int64)
    if text is None and len(found) > 1:
        raise ValueError(f"trace: text must be given, as {len(found)} ran while {name} was recorded; pass 0 .. "
                         f"{len(found) - 1}")
    if not -len(found) <= (text or 0) < len(found):
        raise IndexError(f"trace: text must be one of the {len(found)} that ran while {name} was recorded, got {text}")
    rows = sorted([*found.values()][text or 0])
    cut = over_keys(name) and pieces[0].whole_rows
    width = rows[-1][0] + 1 if cut else pieces[rows[0][1]].x.shape[-1]
    shape = (*pieces[0].x.shape[:-2], len(rows), width)
    memory.require("trace", f"{name} of {len(rows)} tokens", 4 * int(np.prod(shape)), "take its pieces, t.all(name)")
    whole = np.full(shape, hidden(name), np.float32) if over_keys(name) else np.empty(shape, np.float32)
    at = np.array([number for _, number, _ in rows])
    for number in np.unique(at).tolist():
        x = pieces[number].x[..., :width]  # beyond it are keys of tokens that have run again since
        taken = [row for _, piece, row in rows if piece == number]
        whole[..., np.flatnonzero(at == number), : x.shape[-1]] = x[..., taken, :]
    return whole, np.array([place for place, _, _ in rows], np.int64)
