"""What the model would say after each layer, and the next words of a run, as the page gets them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from nextword.arithmetic import ops
from nextword.arithmetic.arrays import Floats
from nextword.decoding.sampling import log_probabilities
from nextword.page.answers import LensAnswer, Word
from nextword.page.runs import Run
from nextword.page.stopping import check
from nextword.page.texts import texts_of

ROWS = 64  # of logits that exist at once


def probabilities(logits: Floats, tokens: Sequence[int]) -> list[float]:
    """Of some tokens, at temperature 1."""
    return [float(p) for p in np.exp(log_probabilities(logits, np.array(tokens, np.int64)))]


def words(logits: Floats, tokens: Sequence[int]) -> list[Word]:
    """Tokens that may come next, with logit and probability."""
    shares = probabilities(logits, tokens)
    return [{"id": t, "logit": float(logits[t]), "p": p} for t, p in zip(tokens, shares, strict=True)]


def best(logits: Floats, count: int) -> list[int]:
    """The most probable tokens, the most probable first."""
    return [int(t) for t in ops.top(logits, min(count, len(logits)))]


def lens(run: Run, at: str, positions: Sequence[int], top: int, watch: int | None = None) -> LensAnswer:
    """The most probable next tokens after each layer, and one token's probability and rank."""
    model = run.host.model
    names = [f"h.{layer}.{at}" for layer in range(model.layers)]
    ids: list[Any] = []
    shares: list[Any] = []
    watched: dict[str, list[list[float]]] = {"p": [], "rank": []}
    for name in names:
        rows: list[Any] = [[], [], [], []]
        for logits in _read(run, name, positions):
            check()
            found = best(logits, top)
            rows[0].append(found)
            rows[1].append(probabilities(logits, found))
            if watch is not None:
                rows[2].append(probabilities(logits, [watch])[0])
                rows[3].append(1 + int((logits > logits[watch]).sum()))
        ids.append(rows[0])
        shares.append(rows[1])
        watched["p"].append(rows[2])
        watched["rank"].append(rows[3])
    told = {t for layer in ids for row in layer for t in row} | ({watch} if watch is not None else set())
    answer: LensAnswer = {"names": names, "positions": list(positions), "ids": ids, "p": shares,
                          "texts": texts_of(run.host.tokenizer, told)}
    if watch is not None:
        answer["watch"] = {"id": watch, **watched}
    return answer


def _read(run: Run, name: str, positions: Sequence[int]) -> Iterable[Floats]:
    """The logits that the last norm and the head make of a residual stream, row by row."""
    model = run.host.model
    stream = run.activation(name)
    for first in range(0, len(positions), ROWS):
        rows = np.ascontiguousarray(stream[list(positions[first : first + ROWS])])
        yield from model.head(model.norm(rows))
