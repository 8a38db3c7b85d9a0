"""A plane through vectors, to draw them on: their principal axes, or axes that are differences of chosen words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nextword.arithmetic.arrays import Doubles
from nextword.arithmetic.vectors import principal_axes
from nextword.inside.host import Host
from nextword.inside.words import Word, embedding, word_ids, word_text
from nextword.machine.shown import shown

Axes = Sequence[tuple[Word, Word]] | None
"""One or two pairs of words, each an axis from the second word to the first; None: the principal axes."""


@dataclass(frozen=True, eq=False)
class Plane:
    """Two directions in the space of vectors; coordinates of vectors are (vectors - centre) @ axes.T.

    centre: float64 [width]. axes: float64 [2, width], each of length 1, or zeros where the vectors differ in fewer
    directions. names: of both. shares: float64 [2], of the vectors' variance along each. cosine: between the axes, 0 at
    right angles; chosen axes need not be.
    """

    centre: Doubles
    axes: Doubles
    names: tuple[str, str]
    shares: Doubles
    cosine: float

    def points(self, vectors: Any) -> Doubles:
        """Coordinates: float64 [..., 2] of vectors [..., width]."""
        return np.asarray((np.asarray(vectors, np.float64) - self.centre) @ self.axes.T)

    @property
    def labels(self) -> tuple[str, str]:
        """The names, each with its share."""
        first, second = (f"{name} ({share:.0%} of the variance)" for name, share in zip(self.names, self.shares,
                                                                                      strict=True))
        return first, second

    @property
    def note(self) -> str:
        """What a picture must say of axes that are not at right angles; nothing of others."""
        right = abs(self.cosine) < 0.005
        return "" if right else f"the axes are not at right angles, their cosine is {self.cosine:.2f}"


def plane(op: str, host: Host, vectors: Any, axes: Axes = None) -> Plane:
    """The plane for vectors [rows, width]. Beside one chosen axis the other is the principal axis of what is at right
    angles to it.

    Raises ValueError or TypeError that names the argument.
    """
    x = np.asarray(vectors, np.float64)
    centre, found, _ = principal_axes(x)
    if axes is None:
        names = ("first principal axis", "second principal axis")
    else:
        if isinstance(axes, str) or not isinstance(axes, list | tuple) or not 1 <= len(axes) <= 2:
            raise ValueError(f"{op}: axes must be one or two pairs of words, or None, got {shown(axes)}")
        chosen = [_chosen(op, host, pair) for pair in axes]
        if len(chosen) == 1:
            along = chosen[0][1]
            across = x - centre
            across = across - np.outer(across @ along, along)
            chosen.append(("principal axis at right angles", principal_axes(across, 1)[1][0]))
        names, found = (chosen[0][0], chosen[1][0]), np.array([one for _, one in chosen])
    total = x.var(0).sum()
    shares = ((x - centre) @ found.T).var(0) / total if total > 0 else np.zeros(2)
    return Plane(centre, found, names, shares, float(found[0] @ found[1]))


def _chosen(op: str, host: Host, pair: tuple[Word, Word]) -> tuple[str, Doubles]:
    """The name and direction of first - second."""
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        raise ValueError(f"{op}: each of axes must be a pair of words, got {shown(pair)}")
    ids = [word_ids(op, "each word of axes", host, word) for word in pair]
    first, second = (np.asarray(embedding(host, one), np.float64) for one in ids)
    length = float(np.linalg.norm(first - second))
    if not length:
        raise ValueError(f"{op}: the words of an axis must differ, got {shown(pair)}")
    return f"{word_text(host, ids[0])} -{word_text(host, ids[1])}", (first - second) / length
