"""Similarity of vectors, such as a model's embeddings: cosine, and the nearest rows. Knows no model."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def cosine_similarity(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """The cosine of the angle between vectors: a . b / (|a| |b|), from -1 to 1, 1 for the same direction.

    a: numbers [..., features]; b: [features], or [rows, features]. Returns float64 [...], or [..., rows] with the
    similarity to each row of b. A vector of zeros has no direction and gives NaN.
    Raises ValueError if there are no features or not as many in both.

    >>> orange, phone, apple = [0, 3], [4, 0], [2, 2]
    >>> cosine_similarity(apple, [orange, phone, apple]).round(2).tolist()
    [0.71, 0.71, 1.0]
    """
    x, y = _unit("a", a), _unit("b", b)
    if x.shape[-1] != y.shape[-1] or y.ndim > 2:
        raise ValueError(f"cosine_similarity: a must be [..., features] and b [features] or [rows, features], "
                         f"got {list(x.shape)} and {list(y.shape)}")
    return np.asarray(np.clip(x @ y.T, -1, 1))


def nearest(vector: ArrayLike, rows: ArrayLike, count: int = 10) -> list[tuple[int, float]]:
    """The rows that point most in the direction of a vector: (row, cosine similarity), the most similar first.

    vector: numbers [features]; rows: [rows, features]. Of equal ones the lower row comes first, rows of zeros last.

    >>> [(row, round(near, 3)) for row, near in nearest([2, 1], [[0, 3], [4, 0], [2, 2]], count=2)]
    [(2, 0.949), (1, 0.894)]
    """
    found = cosine_similarity(vector, rows)
    if found.ndim != 1:
        raise ValueError(f"nearest: vector must be [features] and rows [rows, features], got a result of "
                         f"shape {list(found.shape)}")
    order = np.argsort(-found, kind="stable")[:count]
    return [(int(i), float(found[i])) for i in order]


def _unit(name: str, given: ArrayLike) -> NDArray[Any]:
    x = np.asarray(given, np.float64)
    if x.ndim == 0 or not x.shape[-1]:
        raise ValueError(f"cosine_similarity: {name} must be a vector or rows of vectors, got shape {list(x.shape)}")
    largest = np.abs(x).max(-1, keepdims=True)  # so that no square overflows or vanishes
    with np.errstate(invalid="ignore", divide="ignore"):
        x = x / largest
        return np.asarray(x / np.sqrt((x * x).sum(-1, keepdims=True)))
