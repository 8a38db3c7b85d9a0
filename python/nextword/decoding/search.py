"""What the searches share: their arguments checked, the hook `process`, what ends a text, the largest values."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextword.arithmetic.arrays import Floats
from nextword.decoding.beam_tree import Decode
from nextword.machine.shown import is_integer
from nextword.models.model import Model

# (prompt and new tokens, scores float32 [vocabulary]) -> scores float32 [vocabulary]; -inf bans a token
Process = Callable[[list[int], Floats], Floats]


class Ends:
    """What ends a text: end tokens, stop ids and stop strings, read from arguments as `beam_search` takes them.

    op: the name that errors begin with; size: the vocabulary's.
    """

    def __init__(self, op: str, size: int, eos: int | Sequence[int] | None,
                 stop: str | int | Sequence[str | int] | None, decode: Decode | None) -> None:
        ends: list[Any] = [] if eos is None else [eos] if isinstance(eos, int | np.integer) else list(eos)
        stops: list[Any] = [] if stop is None else [stop] if isinstance(stop, str | int | np.integer) else list(stop)
        self.texts, self.decode = [s for s in stops if isinstance(s, str)], decode
        ids = [s for s in stops if is_integer(s)]
        if len(self.texts) + len(ids) != len(stops) or "" in self.texts:
            raise ValueError(f"{op}: stop must hold non-empty strings or token ids, got {stop!r}")
        if self.texts and decode is None:
            raise ValueError(f"{op}: stop strings need decode, which turns token ids into text; pass token ids")
        check_ids(op, "eos", ends, size)
        check_ids(op, "stop", ids, size)
        self.eos, self.ids = frozenset(map(int, ends)), frozenset(map(int, ids))

    def reached(self, tokens: list[int]) -> bool:
        """Whether the last of these new tokens ends the text."""
        if tokens[-1] in self.eos or tokens[-1] in self.ids:
            return True
        if not self.texts:
            return False
        text = self._text(tokens)
        return any(stop in text for stop in self.texts)

    def cut(self, tokens: list[int]) -> tuple[list[int], str | None]:
        """The tokens without an end token, and their text up to what ended it; None without `decode`."""
        at_id = bool(tokens) and (tokens[-1] in self.eos or tokens[-1] in self.ids)
        kept = tokens[:-1] if tokens and tokens[-1] in self.eos else tokens
        if self.decode is None:
            return kept, None
        text = self._text(tokens[:-1] if at_id else tokens)
        return kept, text[: min((at for stop in self.texts if (at := text.find(stop)) >= 0), default=len(text))]

    def _text(self, tokens: list[int]) -> str:
        assert self.decode is not None
        try:
            return self.decode(tokens)
        except IndexError:  # models pad their vocabulary: an id without a text
            bad = next(i for i in range(len(tokens)) if not self._has_text(tokens[i]))
            return self._text(tokens[:bad]) + "\ufffd" + self._text(tokens[bad + 1 :])

    def _has_text(self, token: int) -> bool:
        assert self.decode is not None
        try:
            self.decode([token])
        except IndexError:
            return False
        return True


def read_prompt(op: str, model: Model, ids: Sequence[int] | NDArray[np.integer[Any]]) -> list[int]:
    """A prompt's ids as a list. Raises ValueError or IndexError, which begin with `op`."""
    window = model.limit
    if not 1 <= len(ids) <= window:
        raise ValueError(f"{op}: prompt_ids must be 1 .. {window} tokens (the context window), got {len(ids)}")
    check_ids(op, "prompt_ids", ids, model.vocabulary)
    return [int(token) for token in ids]


def check_ids(op: str, name: str, ids: Sequence[Any] | NDArray[Any], size: int) -> None:
    """Raises IndexError unless all are ids of the vocabulary."""
    for token in ids:
        if not is_integer(token) or not 0 <= token < size:
            raise IndexError(f"{op}: {name} must hold token ids 0 .. {size - 1}, got {token!r}")


def checked(op: str, row: Any, given: Floats) -> Floats:
    """What `process` made of a row. Raises ValueError, which begins with `op`, if it cannot be used."""
    found = np.asarray(row)
    if found.shape != given.shape or found.dtype != np.float32:
        raise ValueError(f"{op}: process must return float32 {list(given.shape)}, "
                         f"got {found.dtype} {list(found.shape)}")
    if not found.max() < np.inf:
        raise ValueError(f"{op}: process must return numbers or -inf, got {found.max()}")
    return found


def largest(row: Floats, count: int) -> NDArray[np.intp]:
    """Where the largest values stand, largest first, the lower place first among equals; never -inf."""
    places: NDArray[np.intp] = np.arange(row.size)
    if count < row.size:
        limit = np.partition(row, row.size - count)[row.size - count]
        above = np.flatnonzero(row > limit)
        places = np.concatenate([above, np.flatnonzero(row == limit)[: count - len(above)]])
    places = places[np.argsort(-row[places], kind="stable")]
    return places[row[places] > -np.inf]
