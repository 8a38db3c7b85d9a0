"""Texts through a model in pieces: CHUNK tokens at once, so that it computes well and few activations are held. Rows
that go on token by token are the scheduler's."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from nextword.arithmetic.arrays import Floats, Ints
from nextword.models.cache import KVCache
from nextword.models.tap import Tap

CHUNK = 512  # tokens of a prompt that go through the model at once


def passes(model: Callable[..., Floats], texts: Sequence[Ints], cache: KVCache, slots: Sequence[int],
           last: Sequence[int], tap: Tap | None = None) -> Iterator[list[Floats]]:
    """Run texts side by side through the model, behind what their slots hold. They are their prompts' ends, unless
    `cache.prompts` says more.

    texts: int64 [tokens] each. slots: where each lives in the cache. last: of how many of its last tokens the logits
    are wanted. tap: what the model shows its activations to.
    Yields after each pass, for each text, float32 [rows, vocabulary]: the logits of what was wanted of its part.

    >>> import nextword
    >>> model = nextword.load().model
    >>> texts = [np.arange(400), np.arange(9)]
    >>> [[len(x) for x in found] for found in passes(model, texts, model.cache(2, 400), [0, 1], [200, 1])]
    [[56, 1], [144, 0]]
    """
    for text, slot in zip(texts, slots, strict=True):
        cache.prompts[slot] = cache.prompts[slot] or cache.lengths[slot] + len(text)
    step = max(1, CHUNK // max(1, len(texts)))
    for begin in range(0, max(map(len, texts), default=0), step):
        batch: list[Ints] = []
        where: list[int] = []
        rows: list[int] = []
        ends, offset = [0], 0
        for text, slot, wanted in zip(texts, slots, last, strict=True):
            part = text[begin : begin + step]
            if len(part):
                batch.append(part)
                where.append(slot)
                rows += range(offset + max(0, len(text) - wanted - begin), offset + len(part))
                offset += len(part)
            ends.append(len(rows))
        logits = model(batch, cache, where, rows, tap)
        yield [logits[a:b] for a, b in pairwise(ends)]


def read(model: Any, ids: Ints, cache: KVCache, slot: int = 0, last: int = 0) -> Floats:
    """Run a text through the model, behind what its slot holds; the logits of its last tokens.

    ids: int64 [tokens]. last: of how many. Returns float32 [last, vocabulary].

    >>> import nextword
    >>> model = nextword.load().model
    >>> read(model, np.array([281, 290, 300]), model.cache(1, 32), last=2).shape
    (2, 4096)
    """
    whole, done = np.empty((0, 0), np.float32), 0
    for (found,) in passes(model, [ids], cache, [slot], [last]):
        if len(found) == last:
            whole = found
        elif len(found):
            if not done:
                whole = model.ops.empty((last, found.shape[1]))
            whole[done : done + len(found)] = found
            done += len(found)
    return whole
