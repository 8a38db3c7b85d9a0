"""Operations of encoders in NumPy, in the place of those that `ops` and `reference` do not have yet."""

from typing import Any

import numpy as np

from nextword.arithmetic import ops, reference
from nextword.arithmetic.arrays import Floats, Ints

__all__ = ["complete"]


def attention_within_weights(q: Floats, k: Floats, v: Floats, heads: int, scale: float, window: int = 0,
                             bias: Floats | None = None) -> tuple[Floats, Floats, Floats]:
    """Attention of one text over itself: its result, scores and weights."""
    tokens, width = len(q), q.shape[1] // heads
    parts = [x.reshape(tokens, heads, width).transpose(1, 0, 2).astype(np.float64) for x in (q, k, v)]
    scores = scale * np.einsum("hiw,hjw->hij", parts[0], parts[1])
    apart = np.arange(tokens)[None] - np.arange(tokens)[:, None]
    if bias is not None:
        reach = bias.shape[1] // 2
        scores += bias[:, np.clip(apart, -reach, reach) + reach]
    if window:
        scores = np.where(np.abs(apart) <= window, scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    out = np.einsum("hij,hjw->ihw", weights, parts[2]).reshape(q.shape)
    return out.astype(np.float32), scores.astype(np.float32), weights.astype(np.float32)


def attention_within(q: Floats, k: Floats, v: Floats, fresh: Ints, heads: int, scale: float, window: int = 0,
                     bias: Floats | None = None) -> Floats:
    """The same of several texts, one after the other."""
    ends = np.cumsum(fresh)
    parts = [attention_within_weights(q[e - n : e], k[e - n : e], v[e - n : e], heads, scale, window, bias)[0]
             for n, e in zip(fresh.tolist(), ends.tolist(), strict=True)]
    return np.concatenate(parts) if parts else np.array(q)


def add_rows(x: Floats, ids: Ints, table: Floats) -> Floats:
    """x + table[ids]."""
    found: Floats = x + table[ids]
    return found


def pool(x: Floats, fresh: Ints, how: str) -> Floats:
    """One row of each text: its mean, first, last or largest."""
    def of(rows: Floats) -> Any:
        if how == "mean":
            return np.add.accumulate(rows)[-1] / np.float32(len(rows))
        return rows.max(0) if how == "max" else rows[0 if how == "first" else -1]

    ends = np.cumsum(fresh)
    found = [of(x[e - n : e]) for n, e in zip(fresh.tolist(), ends.tolist(), strict=True)]
    return np.array(found, np.float32).reshape(len(fresh), x.shape[1])


def normalise(x: Floats) -> Floats:
    """Rows of length 1."""
    length = np.sqrt((x.astype(np.float64) ** 2).sum(-1, keepdims=True))
    return np.asarray(x / np.maximum(length, 1e-12), np.float32)


def complete() -> None:
    """Give `ops` and `reference` what they lack."""
    for one in (attention_within, attention_within_weights, add_rows, pool, normalise):
        for module in (ops, reference):
            if not hasattr(module, one.__name__):
                setattr(module, one.__name__, one)
