"""The NumPy operations with errors of the size that float32 arithmetic may make: how far a graph carries them."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from nextword import reference

UNIT = 2.0**-24  # largest relative error of one float32 rounding


def noisy_arithmetic(seed: int) -> SimpleNamespace:
    """`reference`, each result off by the bound that float32 arithmetic keeps in that operation, with signs at random.

    A sum of k products: k roundings of parts of sum |x||w| (Higham 2002, 3.1), and one each for bias and residual.
    Elementwise functions: 8 units of the result and of the argument's own size; they are smooth with slope near 1.
    """
    rng = np.random.default_rng(seed)
    ops = SimpleNamespace(**{name: getattr(reference, name) for name in dir(reference) if not name.startswith("_")})

    def shaken(y, size):
        return (y + rng.choice([-1.0, 1.0], y.shape) * UNIT * size).astype(np.float32)

    def of_sum(x, weight, bias):
        size = (weight.shape[0] + 2) * (np.abs(x, dtype=np.float64) @ np.abs(weight.values, dtype=np.float64))
        return size if bias is None else size + 2 * np.abs(bias)

    def matmul(x, weight, bias=None):
        return shaken(reference.matmul(x, weight, bias), of_sum(x, weight, bias))

    def matmul_residual(x, weight, bias, residual):
        size = of_sum(x, weight, bias) + 2 * np.abs(residual)
        return shaken(reference.matmul_residual(x, weight, bias, residual), size)

    def matmul_activated(x, weight, bias, activation):
        y = matmul(x, weight, bias)
        return shaken(getattr(reference, activation)(y), 8 * np.abs(y))

    def layer_norm(x, weight, bias, eps):
        # the mean is off by cols units of the mean size, before it is divided by the deviation
        x64 = x.astype(np.float64)
        deviation = np.sqrt(x64.var(-1, keepdims=True) + eps)
        size = (x.shape[1] + 4) * (np.abs(x64).max(-1, keepdims=True) / deviation) * np.abs(weight) + 2 * np.abs(bias)
        return shaken(reference.layer_norm(x, weight, bias, eps), size)

    def embedding(ids, places, tokens, positions):
        y = reference.embedding(ids, places, tokens, positions)
        return shaken(y, np.abs(y))

    def attention(q, keys, values, slots, past, fresh, scale, *prefix):
        # scores off by width units of sum |q||k| shift the logarithms of the weights by as much; then a sum over keys
        most = np.nanmax(np.abs(keys)) * np.abs(q).max() * keys.shape[3] * abs(scale) if q.size else 0.0
        # (NaN where the cache holds nothing yet)
        longest = int((past + fresh).max(initial=0))
        y = reference.attention(q, keys, values, slots, past, fresh, scale, *prefix)
        return shaken(y, (2 * (keys.shape[3] + 4) * most + longest + 16) * np.nanmax(np.abs(values)))

    ops.matmul, ops.matmul_residual, ops.layer_norm, ops.embedding, ops.attention = (
        matmul,
        matmul_residual,
        layer_norm,
        embedding,
        attention,
    )
    ops.matmul_activated = matmul_activated
    return ops


def rounding_bound(logits: Callable[[Any], np.ndarray], expected: np.ndarray) -> float:
    """How far float32 logits may be from `expected`. logits: those of a graph with the operations that it is given.

    What the operations' own bounds become on their way through this very graph, measured. Signs at random do not reach
    the worst case, but real errors do not reach an operation's bound either: it grows with k, they do not.
    """
    far = max(np.abs(logits(noisy_arithmetic(draw)) - expected).max() for draw in range(4))
    return float(2 * far + 4 * UNIT * np.abs(expected).max())
