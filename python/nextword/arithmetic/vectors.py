"""Similarity of vectors, such as embeddings, the nearest rows, and a plane to draw vectors on. Knows no model."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nextword.arithmetic.arrays import Doubles

Similarity = Literal["cosine", "dot", "scaled_dot"]
KINDS: tuple[Similarity, ...] = ("cosine", "dot", "scaled_dot")


def similarity(a: ArrayLike, b: ArrayLike, kind: Similarity = "cosine") -> Doubles:
    """How alike vectors are, by one of three measures, in float64.

    dot: a . b, the sum of the products. scaled_dot: a . b / sqrt(features), what attention compares queries and keys by
    (Vaswani et al. 2017). cosine: a . b / (|a| |b|), see `cosine_similarity`.
    a: numbers [..., features]; b: [features], or [rows, features]. Returns float64 [...], or [..., rows].
    Raises ValueError for shapes that do not fit, or another kind.

    >>> words = orange, phone, apple = [0, 3], [4, 0], [2, 2]
    >>> similarity(apple, words, "dot").tolist()
    [6.0, 8.0, 8.0]
    >>> similarity(apple, words, "scaled_dot").round(2).tolist()
    [4.24, 5.66, 5.66]
    >>> similarity(apple, words).round(2).tolist()
    [0.71, 0.71, 1.0]
    """
    if kind not in KINDS:
        raise ValueError(f"similarity: kind must be one of {', '.join(map(repr, KINDS))}, got {kind!r}")
    if kind == "cosine":
        return _cosine("similarity", a, b)
    x, y = _fitting("similarity", a, b)
    with np.errstate(over="ignore", invalid="ignore"):
        dots = np.asarray(x @ y.T)
    return dots if kind == "dot" else np.asarray(dots / np.sqrt(x.shape[-1]))


def cosine_similarity(a: ArrayLike, b: ArrayLike) -> Doubles:
    """The cosine of the angle between vectors: a . b / (|a| |b|), from -1 to 1, 1 for the same direction.

    a: numbers [..., features]; b: [features], or [rows, features]. Returns float64 [...], or [..., rows] with the
    similarity to each row of b. A vector of zeros has no direction and gives NaN.
    Raises ValueError if there are no features or not as many in both.

    >>> orange, phone, apple = [0, 3], [4, 0], [2, 2]
    >>> cosine_similarity(apple, [orange, phone, apple]).round(2).tolist()
    [0.71, 0.71, 1.0]
    """
    return _cosine("cosine_similarity", a, b)


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
    return [(int(i), float(found[i])) for i in descending(found)[:count]]


def descending(values: NDArray[Any]) -> NDArray[np.intp]:
    """The places of numbers [rows], the largest number's first; of equal ones the lower place, NaN last.

    >>> descending(np.array([0.5, float("nan"), 2.0, 0.5])).tolist()
    [2, 0, 3, 1]
    """
    return np.argsort(-values, kind="stable")


def principal_axes(rows: ArrayLike, count: int = 2) -> tuple[Doubles, Doubles, Doubles]:
    """The directions in which rows differ most: principal component analysis (Pearson 1901).

    rows: numbers [rows, features]. Returns float64: the rows' mean [features]; axes [count, features], of length 1 and
    at right angles; and the share of the rows' variance that lies along each [count]. The coordinates of rows are
    (rows - mean) @ axes.T. An axis' largest number is positive, so that a picture does not flip. Where rows differ in
    fewer directions, axes and shares of the others are zeros.

    >>> mean, axes, shares = principal_axes([[1, 0], [3, 0], [5, 0]])
    >>> mean.tolist(), axes.round(9).tolist(), shares.round(9).tolist()
    ([3.0, 0.0], [[1.0, 0.0], [0.0, 0.0]], [1.0, 0.0])
    """
    x = np.asarray(rows, np.float64)
    if x.ndim != 2 or not x.size or count < 1:
        raise ValueError(f"principal_axes: rows must be [rows, features] and count at least 1, got {list(x.shape)} "
                         f"and {count}")
    mean = x.mean(0)
    _, lengths, directions = np.linalg.svd(x - mean, full_matrices=False)
    # what rounding alone leaves of a direction: numpy.linalg.matrix_rank's bound
    real = int((lengths > lengths[0] * max(x.shape) * np.finfo(np.float64).eps).sum()) if lengths[0] > 0 else 0
    axes, shares = np.zeros((count, x.shape[1])), np.zeros(count)
    kept = min(count, real)
    signs = np.sign(directions[np.arange(kept), np.abs(directions[:kept]).argmax(1)])
    axes[:kept] = directions[:kept] * signs[:, None]
    shares[:kept] = lengths[:kept] ** 2 / max((lengths**2).sum(), np.finfo(np.float64).tiny)
    return mean, axes, shares


def _fitting(op: str, a: ArrayLike, b: ArrayLike) -> tuple[Doubles, Doubles]:
    """Both as float64, checked."""
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    for name, one in (("a", x), ("b", y)):
        if one.ndim == 0 or not one.shape[-1]:
            raise ValueError(f"{op}: {name} must be a vector or rows of vectors, got shape {list(one.shape)}")
    if x.shape[-1] != y.shape[-1] or y.ndim > 2:
        raise ValueError(f"{op}: a must be [..., features] and b [features] or [rows, features], "
                         f"got {list(x.shape)} and {list(y.shape)}")
    return x, y


def _cosine(op: str, a: ArrayLike, b: ArrayLike) -> Doubles:
    x, y = _fitting(op, a, b)
    return np.asarray(np.clip(_unit(x) @ _unit(y).T, -1, 1))


def _unit(x: Doubles) -> Doubles:
    """Each vector divided by its length."""
    largest = np.abs(x).max(-1, keepdims=True)  # so that no square overflows or vanishes
    with np.errstate(invalid="ignore", divide="ignore"):
        x = x / largest
        return np.asarray(x / np.sqrt((x * x).sum(-1, keepdims=True)))
