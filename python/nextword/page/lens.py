"""What the model would say after each layer, and the next words of a run, as the page gets them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nextword.arithmetic import ops
from nextword.arithmetic.arrays import Floats
from nextword.page.answers import LensAnswer, Word
from nextword.page.runs import Run
from nextword.page.texts import texts_of


def words(logits: Floats, tokens: Sequence[int]) -> list[Word]:
    """Tokens that may come next, with logit and probability; the same numbers as in the last row of the lens."""
    shares = ops.softmax(np.ascontiguousarray(logits[None]))[0]
    return [{"id": t, "logit": float(logits[t]), "p": float(shares[t])} for t in tokens]


def best(logits: Floats, count: int) -> list[int]:
    """The most probable tokens, the most probable first."""
    return [int(t) for t in ops.top(logits, min(count, len(logits)))]


def lens(run: Run, at: str, positions: Sequence[int], top: int, watch: int | None = None) -> LensAnswer:
    """The most probable next tokens after each layer, and one token's probability and rank."""
    found = run.inside.lens(at, top, positions, watch)
    told = {int(t) for t in found.tokens.ravel()} | (set() if watch is None else {watch})
    answer: LensAnswer = {"names": found.names, "positions": list(positions), "ids": found.tokens.tolist(),
                          "p": found.probabilities.tolist(), "texts": texts_of(run.host.tokenizer, told)}
    if found.ranks is not None and found.watched_probabilities is not None:
        answer["watch"] = {"id": watch, "p": found.watched_probabilities.tolist(), "rank": found.ranks.tolist()}
    return answer
