"""Attention of texts over themselves and what else encoders need, in NumPy: the definition of correct for within.py."""

import numpy as np

from nextword.arithmetic.arrays import Floats, Ints


def attention_within(q: Floats, k: Floats, v: Floats, fresh: Ints, heads: int, scale: float, window: int = 0,
                     bias: Floats | None = None) -> Floats:
    """softmax(scale * q k^T + bias) v of each text."""
    ends = np.cumsum(fresh)
    parts = [attention_within_weights(q[e - n : e], k[e - n : e], v[e - n : e], heads, scale, window, bias)[0]
             for n, e in zip(fresh, ends, strict=True)]  # fmt: skip
    return np.concatenate(parts) if parts else np.array(q)


def attention_within_weights(q: Floats, k: Floats, v: Floats, heads: int, scale: float, window: int = 0,
                             bias: Floats | None = None) -> tuple[Floats, Floats, Floats]:
    """The same of one text, with scores and weights."""
    tokens, width = len(q), q.shape[1] // heads
    of_heads = [np.asarray(x).reshape(tokens, heads, width).swapaxes(0, 1) for x in (q, k, v)]
    scores = (of_heads[0] @ of_heads[1].swapaxes(1, 2) * np.float32(scale)).astype(np.float32)
    apart = np.arange(tokens) - np.arange(tokens)[:, None]  # key - query
    if bias is not None:
        reach = bias.shape[1] // 2
        scores = scores + bias[:, np.clip(apart, -reach, reach) + reach]
    if window:
        scores = np.where(np.abs(apart) <= window, scores, np.float32(-np.inf))
    weights = np.exp(scores - scores.max(2, keepdims=True, initial=-np.inf))
    weights = weights / weights.sum(2, keepdims=True)
    out = (weights @ of_heads[2]).swapaxes(0, 1).reshape(tokens, heads * width)
    return np.ascontiguousarray(out), scores, weights


def add_rows(x: Floats, ids: Ints, table: Floats) -> Floats:
    """x + table[ids]."""
    return np.asarray(x + table[ids])


def pool(x: Floats, fresh: Ints, how: str) -> Floats:
    """The mean, first, last or largest rows of each text."""
    ends = np.cumsum(fresh)
    found = []
    for n, e in zip(fresh.tolist(), ends.tolist(), strict=True):
        rows = x[e - n : e]
        mean = rows.mean(0, dtype=np.float32)
        found.append({"mean": mean, "first": rows[0], "last": rows[-1], "max": rows.max(0)}[how])
    return np.array(found, np.float32).reshape(len(fresh), x.shape[1])


def normalise(x: Floats) -> Floats:
    """x / max(|x|, 1e-12) of each row."""
    length = np.sqrt((x.astype(np.float64) ** 2).sum(1, keepdims=True))
    return np.asarray(x / np.maximum(length, 1e-12)).astype(np.float32)
