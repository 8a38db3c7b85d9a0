"""Texts through an encoder: tokenized in pieces, run in passes of whole texts, so that memory stays the same however
many there are. What is made of the hidden states is the callers'."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nextword.arithmetic.arrays import Floats, Ints
from nextword.machine.shown import is_integer, shown

PASS = 768  # tokens that go through the encoder at once, if no text has more: their activations stay in the cache
PIECE = 1024  # texts that are tokenized at once

Progress = Callable[[int, int], None]


class Passed(NamedTuple):
    """What a pass gives. first: the number of its first text; texts: their tokens (WithSpecials)."""

    first: int
    texts: list[Any]
    hidden: Floats  # [tokens, width], the texts one after the other
    fresh: Ints  # [texts], how many tokens each has


def passes(encoder: Any, tokenizer: Any, texts: Sequence[str], pairs: Sequence[str] | None = None, *,
           max_length: int, batch: int, progress: Progress | None = None, op: str, offsets: bool = False,
           above: int = 3) -> Iterator[Passed]:
    """Run texts, or pairs of them, through the encoder.

    max_length: tokens of a text, special ones included; what is longer is cut, and a warning says so at the end.
    batch: tokens of a pass; a longer text is alone in its own. progress: called with (texts done, all). op: who warns.
    offsets: whether it is wanted where tokens stand. above: how far up the warning points.
    """
    cut, long, done = 0, 0, 0
    for begin in range(0, len(texts), PIECE):
        piece = texts[begin : begin + PIECE]
        both = None if pairs is None else pairs[begin : begin + PIECE]
        tokens = tokenizer.with_specials_batch(piece, both, max_length=max_length, offsets=offsets)
        cut += sum(one.cut for one in tokens)
        long += sum(one.cut > 0 for one in tokens)
        for a, b in _cuts([len(one.ids) for one in tokens], batch):
            some = tokens[a:b]
            fresh = np.array([len(one.ids) for one in some], np.int64)
            types = None if encoder.types < 2 else [one.types for one in some]
            yield Passed(begin + a, some, encoder([one.ids for one in some], types), fresh)
            done += len(some)
            if progress is not None:
                progress(done, len(texts))
    if cut:
        warnings.warn(f"{op}: {cut} tokens of {long} of {len(texts)} texts were cut away, as a text may have "
                      f"{max_length} tokens (max_length); split long texts", stacklevel=above)


def _cuts(lengths: Sequence[int], batch: int) -> Iterator[tuple[int, int]]:
    """Where passes begin and end, counted in texts."""
    begin, tokens = 0, 0
    for number, length in enumerate(lengths):
        if tokens and tokens + length > batch:
            yield begin, number
            begin, tokens = number, 0
        tokens += length
    if begin < len(lengths):
        yield begin, len(lengths)


def checked_length(op: str, max_length: Any, most: int) -> int:
    """The tokens that a text may have, at most those that the encoder was made for."""
    if max_length is None:
        return most
    if not is_integer(max_length) or not 4 <= max_length <= most:
        raise ValueError(f"{op}: max_length must be 4 .. {most} tokens, got {shown(max_length)}")
    return int(max_length)


def checked_batch(op: str, batch: Any) -> int:
    """The tokens of a pass."""
    if not is_integer(batch) or batch < 1:
        raise ValueError(f"{op}: batch must be a number of tokens, at least 1, got {shown(batch)}")
    return int(batch)


def checked_texts(op: str, name: str, texts: Any) -> list[str]:
    """A list of texts."""
    if isinstance(texts, str) or not hasattr(texts, "__iter__"):
        raise TypeError(f"{op}: {name} must be a list of texts, got {shown(texts)}")
    found = list(texts)
    for number, text in enumerate(found):
        if not isinstance(text, str):
            raise TypeError(f"{op}: {name} must be texts, got {type(text).__name__} as number {number}")
    return found


def softmax(logits: Floats) -> NDArray[np.float64]:
    """Probabilities of each row, in float64."""
    x = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(x / x.sum(axis=-1, keepdims=True))


def logistic(logits: Floats) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)) of each number, in float64."""
    return np.asarray(np.exp(-np.logaddexp(0, -logits.astype(np.float64))))
