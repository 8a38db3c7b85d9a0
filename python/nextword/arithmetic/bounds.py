"""Error bounds of the float32 kernels, derived from how they compute (Higham 2002, chapters 3 and 4).

u is the unit roundoff; gamma(n) bounds the relative error of n roundings in a row. Each function returns, element by
element in float64, how far the kernel's result may lie from the exact one; the last term of each is the rounding of
the NumPy twin itself. `tiny` covers results below float32's normal range, where the error is absolute.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

U = 2.0**-24
TINY = 2.0**-149
EXP = 8 * U  # relative error of exp: polynomial 1.8e-8 = 0.3 u, its evaluation and the reduction below 6 u, product 1 u
FLUSHED = float(np.exp(-87.3))  # below this exp gives 0


def gamma(n: int) -> float:
    """The relative error of n roundings in a row, at most.

    >>> gamma(1) == U / (1 - U)
    True
    """
    return n * U / (1 - n * U)


def matmul(x: Array, weight: Array, bias: Array | None = None, residual: Array | None = None) -> Array:
    """A chain of `depth` multiply-adds (two roundings each without FMA), then one addition for each epilogue."""
    depth = x.shape[-1]
    size = np.abs(x) @ np.abs(weight)
    for term in (bias, residual):
        if term is not None:
            size = size + np.abs(term)
    return np.asarray(gamma(depth + 4) * size + (2 * depth + 4) * TINY)


def times(y: Array, y_error: Array, factor: Array) -> Array:
    """y * factor, y with an error, rounded once."""
    return np.asarray(np.abs(factor) * y_error + U * np.abs(factor) * (np.abs(y) + y_error) + 2 * TINY)


def compact_matmul(x: Array, weight: Array, dtype: str, *terms: Array) -> Array:
    """Of weights in fewer bits; x and weight: the numbers that stand for them (nextword.formats).

    bfloat16: a chain as `matmul`, whose products are exact; an instruction that takes subnormal numbers as 0 may lose
    one in each of three places. Integers: a group's sum is exact, then rounded to float32, multiplied by the group's
    scale and added to those before it, the total multiplied by the row's scale; one group in int8.
    """
    depth = x.shape[-1]
    size = np.abs(x) @ np.abs(weight)
    if dtype == "bfloat16":
        chain = depth
        lost = 2.0**-126 * (2 + np.abs(x).sum(-1, keepdims=True) + np.abs(weight).sum(0)) * depth
    else:
        chain, lost = (-(-depth // 32) if dtype == "int4" else 1) + 3, (depth + 4) * TINY
    for term in terms:  # bias and residual
        size = size + np.abs(term)
    return np.asarray(gamma(chain + 4) * size + lost)


def softmax(x: Array, argument_error: Array | float = 0.0) -> Array:
    """exp of a difference (one rounding, times its size), a sum of n terms, 1 / sum and the product."""
    d = x - x.max(-1, keepdims=True)
    e = np.exp(d)
    total = e.sum(-1, keepdims=True)
    p = e / total
    relative = U * np.abs(d) + EXP + 2 * argument_error
    sum_error = (p * relative).sum(-1, keepdims=True) + gamma(x.shape[-1] + 3)
    small = (d < -87.0) * FLUSHED * 2 + x.shape[-1] * FLUSHED * p
    return np.asarray(p * 1.01 * (relative + sum_error + U) + small + TINY)


def weights(d: Array) -> Array:
    """The relative error of exp(d), d = (logit - largest) / temperature, in sampling: the difference, 1 / temperature
    and their product are rounded once each, then exp; 1 where exp has ended."""
    return np.asarray(np.where(d < -87.2, 1.0, 3 * U * np.minimum(np.abs(d), 100) * 1.01 + EXP))


def shares(d: Array) -> Array:
    """The relative error of exp(d) / sum(exp(d)): the sum adds 16 vectors and a tree of at most 4 levels in float32."""
    p = np.exp(d)
    p = p / p.sum()
    return np.asarray((weights(d) + (p * weights(d)).sum() + gamma(20)) * 1.01)


def mean_logit(d: Array) -> float:
    """How far sum(p d) may lie from its exact value: each p with its own error, about the mean."""
    p = np.exp(d)
    p = p / p.sum()
    return float((p * weights(d) * np.abs(d - (p * d).sum())).sum() * 1.02 + 2.0**-50 * (np.abs(d) * p).sum())


def layer_norm(x: Array, weight: Array, bias: Array, eps: float) -> Array:
    """Mean, deviations, their mean square and its inverse root, each with the error of the one before."""
    n = x.shape[-1]
    mean_error = gamma(n + 2) * np.abs(x).mean(-1, keepdims=True)
    d = x - x.mean(-1, keepdims=True)
    d_error = mean_error * (1 + U) + U * np.abs(d)
    variance = (d * d).mean(-1, keepdims=True)
    variance_error = (2 * np.abs(d) * d_error + d_error**2).mean(-1, keepdims=True) + gamma(n + 3) * variance
    variance_error = variance_error + gamma(n + 3) * variance_error + U * (variance + eps) + n * TINY
    inverse = 1 / np.sqrt(variance + eps)
    # |1 / sqrt(a + h) - 1 / sqrt(a)| <= |h| / (2 a sqrt(a - |h|)): no small-error assumption
    low = np.maximum(variance + eps - variance_error, 0.25 * eps)
    inverse_error = variance_error / (2 * (variance + eps) * np.sqrt(low)) + 3 * U / np.sqrt(low)
    scaled_error = d_error * (inverse + inverse_error) + np.abs(d) * inverse_error
    scaled_error = scaled_error + 2 * U * (np.abs(d) + d_error) * (inverse + inverse_error)
    size = (np.abs(d) * inverse + scaled_error) * np.abs(weight)
    return np.asarray(np.abs(weight) * scaled_error + 3 * U * (size + np.abs(bias)) + 8 * TINY)


def rms_norm(x: Array, weight: Array, eps: float) -> Array:
    """The mean of squares after n products and sums, a division and eps; its root, an inverse and two products. Of a
    relative error e of the mean 1 / sqrt keeps less than e. x: [.., width], runs on their own."""
    n = x.shape[-1]
    mean = (x * x).mean(-1, keepdims=True) + eps
    relative = gamma(n + 3) + n * TINY / mean + gamma(4)
    y = np.abs(x) / np.sqrt(mean)
    return np.asarray(np.abs(weight) * (y * relative * 1.01 + 2 * TINY) + 2 * U * y * np.abs(weight) + 2 * TINY)


def rotate(first: Array, second: Array) -> Array:
    """A sum of two products, both rounded before: first and second are the exact ones."""
    return np.asarray(gamma(2) * (np.abs(first) + np.abs(second)) + 3 * TINY)


def gelu_tanh(x: Array, x_error: Array | float = 0.0) -> Array:
    """x / (1 + exp(a)) with a = -2 sqrt(2 / pi) (x + 0.044715 x^3) after five roundings; |derivative| <= 1.13.

    0 beyond |x| = 16, where exp has ended.
    """
    a = -2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    e = np.exp(np.clip(a, -700, 700))
    share = e / (1 + e)  # how much of a relative error of exp reaches the quotient
    y = np.abs(x) / (1 + e)
    relative = share * (np.exp(np.minimum(np.abs(a) * gamma(6), 1)) - 1 + EXP) + 4 * U
    return np.asarray(1.13 * x_error + y * relative * 1.01 + np.minimum(np.abs(x), 16) * FLUSHED * 2 + 4 * TINY)


def gelu_erf(x: Array, x_error: Array | float = 0.0) -> Array:
    """x times a tail: exp(-x^2 / 2) erfcx / 2; polynomial within 4.0e-8 (0.7 u), evaluated in ten steps whose terms
    sum to at most 4.4 times the result; subtracted from x where x is positive; |derivative| <= 1.13."""
    square = x * x / 2
    relative = np.exp(np.minimum(square * 3 * U, 1)) - 1 + EXP + (0.7 + 4.4 * 14 + 6) * U
    tail = np.abs(x) * np.exp(-np.minimum(square, 700)) / 2
    return np.asarray(1.13 * x_error
        + tail * relative * 1.01
        + 2 * U * np.abs(x) * (x > 0)
        + np.minimum(np.abs(x), 16) * FLUSHED * 2
        + 4 * TINY)


def _logistic_product(x: Array, k: float, x_error: Array | float) -> Array:
    """x / (1 + exp(-k x)): the argument of exp after three roundings (of k, the product, its error's size), then the
    sum and the quotient; |derivative| <= 1.1. 0 where exp has ended, |k x| > 88."""
    e = np.exp(np.clip(-k * x, -700, 700))
    share = e / (1 + e)  # how much of a relative error of exp reaches the quotient
    relative = share * (np.exp(np.minimum(np.abs(k * x) * gamma(3), 1)) - 1 + EXP) + 3 * U
    ended = np.minimum(np.abs(x), 88 / k) * FLUSHED * 2
    return np.asarray(1.1 * x_error + np.abs(x) / (1 + e) * relative * 1.01 + ended + 4 * TINY)


def quick_gelu(x: Array, x_error: Array | float = 0.0) -> Array:
    """See _logistic_product."""
    return np.asarray(_logistic_product(x, 1.702, x_error))


def silu(x: Array, x_error: Array | float = 0.0) -> Array:
    """See _logistic_product."""
    return np.asarray(_logistic_product(x, 1.0, x_error))


def relu(x: Array, x_error: Array | float = 0.0) -> Array:
    """It rounds nothing; |derivative| <= 1."""
    return np.asarray(np.zeros_like(x) + x_error)


def tanh(x: Array, x_error: Array | float = 0.0) -> Array:
    """From 5/8 on 1 - t, t = 2 / (exp(2|x|) + 1): of t what exp's error makes of it, a sum, a quotient; a rounding.
    Below, x + x^3 p(x^2): the second term is at most 0.147 of the result, and has p's 1.6e-7 (2.7 u), its evaluation in
    four steps of two roundings and four more; a sum of two roundings. |derivative| <= 1."""
    size = np.minimum(np.abs(x), 300)
    e = np.exp(2 * size)
    t = 2 / (e + 1)
    large = t * (e / (1 + e) * EXP + 3 * U) * 1.01 + U + 2 * FLUSHED
    small = np.abs(np.tanh(x)) * (2 + 0.147 * (2.7 + 8 + 4) * 1.3) * U
    return np.asarray(x_error + np.where(size < 0.625, small, large) + 4 * TINY)




def bfloat16(x: Array) -> Array:
    """How far the upper half of a float32 may lie from it: half a unit of its 8 bits, of 2^-133 below 2^-126."""
    return np.asarray(2.0**-8 * np.abs(x) + 2.0**-134)


def int8(x: Array) -> Array:
    """How far q * s may lie from each row of x, s = max|x| / 127 after one rounding: half of s, and what the rounded
    quotient, at most 127, is off; all of the row where s would be below 2^-126."""
    s = np.abs(x).max(-1, keepdims=True) / 127 * (1 + U)
    return np.asarray(np.broadcast_to(np.where(s < 2.0**-126 * (1 + 2 * U), 127 * s, (0.5 + 2.0**-17) * s), x.shape))


def scores(q: Array, k: Array, scale: float, scales: Array | None = None) -> Array:
    """scale * q @ k.T as a kernel computes it. q [queries, width], k [keys, width].

    scales [keys]: those of int8 keys, which k includes: each is one more rounding; what underflows before is multiplied
    by it.
    """
    more, width = 0 if scales is None else 1, q.shape[1]
    key_scales: Array | float = 1.0 if scales is None else np.maximum(1, scales)
    products = gamma(width + 3 + more) * (np.abs(q) @ np.abs(k).T) + (2 * width + more) * TINY * key_scales
    found: Array = products * abs(scale) + TINY
    return found


def mixed(weights: Array, v: Array, more: int = 0) -> Array:
    """weights @ v where the kernel divides by the sum of the weights' numerators after its chain over the keys, and
    each weight is rounded once from such a numerator. weights [queries, keys], v [keys, width]; more: 1 for values of
    int8, whose scales v includes: each multiplies a numerator first, and 127 what underflows."""
    keys, most = len(v), 127.0 if more else 1.0
    found: Array = gamma(2 * keys + 4 + more) * (np.abs(weights) @ np.abs(v)) + (2 * keys + 4) * most * TINY
    return found


def attention(q: Array, k: Array, v: Array, scale: float, hidden: NDArray[np.bool_],
              scales: Array | None = None) -> Array:
    """Scores, their softmax and a weighted sum. q [queries, width], k, v [keys, width]; hidden [queries, keys].

    scales [2, keys]: those of int8 keys and values, which k and v include. Each is one more rounding, of a score and of
    a weight; what underflows before is multiplied by a key's scale, and what does of a weight by 127 at most.
    """
    score_error = scores(q, k, scale, None if scales is None else scales[0])
    seen = np.where(hidden, -np.inf, scale * (q @ k.T))
    worst = np.where(hidden, 0, score_error).max(-1, keepdims=True)
    d = seen - seen.max(-1, keepdims=True)
    p = np.exp(d)
    p = p / p.sum(-1, keepdims=True)
    relative = np.exp(2 * worst + U * np.where(hidden, 0, np.abs(d)) + EXP) - 1
    spread = (p * relative).sum(-1, keepdims=True) + gamma(len(k) + 4)
    flushed = np.where(hidden, 0, (d < -87.0) * FLUSHED * 2) + len(k) * FLUSHED * p
    weight_error = p * (relative + spread) * 1.01 + flushed
    return np.asarray(weight_error @ np.abs(v) + mixed(p + weight_error, v, 0 if scales is None else 1))
