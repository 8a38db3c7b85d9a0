"""Select: a part of an activation, by heads, positions, columns and texts, in whatever pieces a text is read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nextword.arithmetic.arrays import Ints
from nextword.machine.shown import is_integer, shown
from nextword.models.rows import Rows, hidden, over_keys
from nextword.models.tap import Selector

Indices = int | Iterable[int] | None


class Part(NamedTuple):
    """Where a part of an array is, int64 each: heads (None where it has none), rows and columns of the array; and which
    of the positions and columns that were chosen these are, those of the text where all are."""

    heads: Ints | None
    rows: Ints
    columns: Ints
    rows_chosen: Ints
    columns_chosen: Ints

    def among(self) -> tuple[Any, ...]:
        """What the array is indexed by."""
        return np.ix_(*([] if self.heads is None else [self.heads]), self.rows, self.columns)


@dataclass(frozen=True, eq=False, kw_only=True)
class Select(Selector):
    """A part of an activation. Each field is an integer or several; None means all.

    heads: of an activation [heads, tokens, width]. positions: of the tokens in their text; they hold over chunks and
    generated tokens. columns: of the last axis; of attention's scores and weights, the positions attended to.
    sequences: the texts of a batch, by their slots in the cache (0, 1, ... as they stand in the batch).
    Negative ones count from the end, positions from the end of the prompt; sequences are >= 0.
    Raises TypeError or ValueError for what are no integers.

    >>> import nextword
    >>> lm = nextword.load()
    >>> last = Select(heads=[0, 2], positions=-1)
    >>> with nextword.trace(lm, "h.*.attn.weights", keep={"*": last}) as t:
    ...     _ = lm.logits([281, 290, 300])
    >>> t["h.3.attn.weights"].shape
    (2, 1, 3)
    """

    heads: Indices = None
    positions: Indices = None
    columns: Indices = None
    sequences: Indices = None

    def __post_init__(self) -> None:
        for field in ("heads", "positions", "columns", "sequences"):
            object.__setattr__(self, field, self._integers(field, getattr(self, field)))
        sequences = self._asked("sequences")
        if sequences is not None and sequences.min(initial=0) < 0:
            raise ValueError(f"{self._op}: sequences must be >= 0, got {shown(self.sequences)}")

    def kept(self, name: str, x: NDArray[Any], rows: Rows) -> tuple[NDArray[Any], Rows]:
        """The part of x, as a copy, and which rows it has. A column that is not attended to yet is -inf or 0."""
        part, columns = self.part(name, x, rows), self._asked("columns")
        found, some = x[part.among()], rows.only(part.rows)
        if columns is None or not over_keys(name):
            return found, some
        spread = np.full((*found.shape[:-1], len(columns)), hidden(name), x.dtype)
        spread[..., part.columns_chosen] = found
        return spread, some

    def count(self, name: str, shape: tuple[int, ...], rows: Rows) -> int:
        """How many numbers `kept` gives of an activation of this shape."""
        part = self.part(name, np.broadcast_to(np.float32(0), shape), rows)
        return int(np.prod([one.size for one in part.among()]))

    def part(self, name: str, x: NDArray[Any], rows: Rows) -> Part:
        """Where the part is in x. Raises ValueError or IndexError that names the field."""
        heads = self._asked("heads")
        if heads is not None and x.ndim < 3:
            raise ValueError(f"{self._op}: heads must be left out, as {name} is not by head, got {heads.tolist()}")
        if heads is not None:
            heads = self._resolved(name, "heads", heads, x.shape[0])
        elif x.ndim == 3:
            heads = np.arange(x.shape[0])
        columns = self._asked("columns")
        if columns is None:
            columns = columns_chosen = np.arange(x.shape[-1])
        elif over_keys(name):
            columns = self._of_prompt(name, "columns", columns, rows.prompts[:1])[0] if len(rows.prompts) else columns
            columns_chosen = np.flatnonzero(columns < x.shape[-1])  # what comes later is not attended to yet
            columns = columns[columns_chosen]
        else:
            columns = self._resolved(name, "columns", columns, x.shape[-1])
            columns_chosen = np.arange(len(columns))
        chosen, rows_chosen = self._rows(name, rows)
        return Part(heads, chosen, columns, rows_chosen, columns_chosen)

    def _rows(self, name: str, rows: Rows) -> tuple[Ints, Ints]:
        """Which rows, and by which of the positions each was chosen."""
        sequences, asked = self._asked("sequences"), self._asked("positions")
        meant = np.flatnonzero(np.ones(len(rows.slots), bool) if sequences is None else np.isin(rows.slots, sequences))
        if asked is None:
            return meant, rows.positions[meant]
        match = self._of_prompt(name, "positions", asked, rows.prompts[meant]) == rows.positions[meant, None]
        chosen = match.any(axis=1)
        return meant[chosen], match[chosen].argmax(axis=1) if len(asked) else meant[chosen]

    def _of_prompt(self, name: str, field: str, asked: Ints, prompts: Ints) -> Ints:
        """Positions [rows, asked], negative ones counted from the end of each row's prompt."""
        shortest = int(prompts.min(initial=2**62))
        if asked.min(initial=0) < -shortest:
            raise IndexError(f"{self._op}: {field} of {name} must be >= {-shortest}, got {asked.min()}; the prompt "
                             f"has {shortest} tokens")
        return np.where(asked < 0, prompts[:, None] + asked, asked)

    def _resolved(self, name: str, field: str, asked: Ints, size: int) -> Ints:
        wrong = asked[(asked < -size) | (asked >= size)]
        if len(wrong):
            raise IndexError(f"{self._op}: {field} of {name} must be {-size} .. {size - 1}, got {wrong[0]}")
        return asked % size

    def _asked(self, field: str) -> Ints | None:
        chosen = getattr(self, field)
        return None if chosen is None else np.array(chosen, np.int64)

    def _integers(self, field: str, given: Any) -> tuple[int, ...] | None:
        if given is None:
            return None
        several = [given] if is_integer(given) else given
        listable = isinstance(several, Iterable) and not isinstance(several, str | bytes)
        found: list[Any] = list(several) if listable else [given]
        if not all(is_integer(one) and abs(int(one)) < 2**62 for one in found):
            raise TypeError(f"{self._op}: {field} must be an integer or several, got {shown(given)}")
        return tuple(int(one) for one in found)

    @property
    def _op(self) -> str:
        return type(self).__name__
