"""The operations in NumPy: the definition of correct. Same names, signatures and layouts as `nextword.ops`.

Everything is computed in float64 and rounded to float32 once, at the end. What the weight formats round before is in
`formats`.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextword.arithmetic.arrays import Doubles, Floats, Ints, Panels
from nextword.arithmetic.blocks_reference import dequantise
from nextword.arithmetic.digest import checksum
from nextword.arithmetic.formats import check_packed, decoded, encoded, multiplied
from nextword.arithmetic.logits_reference import (
    chances,
    distribution,
    log_probabilities,
    log_sum_exp,
    philox,
    sample,
    top,
)
from nextword.arithmetic.within_reference import (
    add_rows,
    attention_within,
    attention_within_weights,
    normalise,
    pool,
)

__all__ = ["Packed", "add_rows", "append", "attention", "attention_weights", "attention_within",
           "attention_within_weights", "chances", "dequantise", "digest", "distribution", "embedding", "empty",
           "gelu_erf", "gelu_tanh", "layer_norm", "log_probabilities", "log_sum_exp", "matmul", "matmul_activated",
           "matmul_residual", "matmul_times", "normalise", "pack", "pack_transposed", "packed", "packed_bytes",
           "philox", "pool", "quick_gelu", "relu", "rms_norm", "rotate", "sample", "silu", "softmax", "tanh",
           "to_float32", "top", "unpack"]

_PANEL = 32


@dataclass(frozen=True)
class Packed:
    """A weight matrix in its format."""

    data: NDArray[np.uint8]  # its panels
    dtype: str
    shape: tuple[int, int]  # depth, cols

    @cached_property
    def values(self) -> NDArray[np.floating]:
        """The numbers that stand for it, [depth, cols]."""
        return decoded(self.data, self.dtype, *self.shape)


def _double(x: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(x, np.float64)


def _single(x: NDArray[np.float64]) -> Floats:
    return x.astype(np.float32)


def empty(shape: Sequence[int]) -> Floats:
    """A float32 array; NaN everywhere, so that a result that takes in what nobody wrote is found out."""
    return np.full(tuple(shape), np.nan, np.float32)


def pack(weight: NDArray[Any], dtype: str = "float32") -> Packed:
    """The matrix [depth, cols] in a format."""
    values = to_float32(weight)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"pack: weight must be a matrix [depth, cols] that is not empty, got {list(values.shape)}")
    packed = Packed(encoded(values, dtype), dtype, values.shape) if np.isfinite(values).all() else None
    if packed is None or not np.isfinite(packed.values).all():  # a number may become infinite in bfloat16
        raise ValueError("pack: weight must be finite, got NaN or infinity")
    return packed


def pack_transposed(weight: NDArray[Any], dtype: str = "float32") -> Packed:
    """The matrix [depth, cols] in a format, from [cols, depth]."""
    return pack(weight.T, dtype)


def packed(data: NDArray[np.uint8] | Iterator[NDArray[np.uint8]], dtype: str, depth: int, cols: int) -> Packed:
    """The matrix whose panels lie in data, or in its parts."""
    if isinstance(data, Iterator):
        data = np.concatenate([np.empty(0, np.uint8), *data])
    check_packed(data, dtype, depth, cols)
    return Packed(data, dtype, (depth, cols))


def packed_bytes(weight: Packed) -> NDArray[np.uint8]:
    """The panels."""
    view = weight.data.view()
    view.flags.writeable = False
    return view


def digest(data: NDArray[np.uint8]) -> str:
    """A checksum, by csrc/arithmetic/digest.h."""
    return checksum(data)


def unpack(weight: Packed) -> Floats:
    """The matrix itself."""
    return np.ascontiguousarray(weight.values, np.float32)


def to_float32(x: NDArray[Any]) -> Floats:
    """float32 and float16 by value, uint16 as the upper half of a float32 (bfloat16)."""
    if x.dtype == np.uint16:
        return (x.astype(np.uint32) << 16).view(np.float32)
    return x.astype(np.float32)


def _linear(x: Floats, weight: Packed, bias: Floats | None) -> NDArray[np.float64]:
    product = _double(multiplied(x, weight.dtype)) @ _double(weight.values)
    return product if bias is None else product + bias


def matmul(x: Floats, weight: Packed, bias: Floats | None = None) -> Floats:
    """x @ weight + bias."""
    return _single(_linear(x, weight, bias))


def matmul_activated(x: Floats, weight: Packed, bias: Floats | None, activation: str) -> Floats:
    """activation(x @ weight + bias)."""
    if activation not in _ACTIVATIONS:
        raise ValueError(f"matmul_activated: activation must be one of {', '.join(_ACTIVATIONS)}, got {activation!r}")
    return _single(_ACTIVATIONS[activation](_linear(x, weight, bias)))


def matmul_residual(x: Floats, weight: Packed, bias: Floats | None, residual: Floats) -> Floats:
    """x @ weight + bias + residual."""
    return _single(_linear(x, weight, bias) + residual)


def matmul_times(x: Floats, weight: Packed, bias: Floats | None, factor: Floats) -> Floats:
    """(x @ weight + bias) * factor."""
    return _single(_linear(x, weight, bias) * factor)


def _gelu_tanh(x: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):  # x / 2 (1 + tanh u) = x / (1 + e^-2u), which does not cancel where x < 0
        return np.asarray(x / (1 + np.exp(-2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


def _gelu_erf(x: NDArray[np.float64]) -> NDArray[np.float64]:
    tail = np.vectorize(math.erfc, otypes=[np.float64])(-x / math.sqrt(2))
    return np.asarray(0.5 * x * tail)


def _logistic_product(x: NDArray[np.float64], k: float) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):
        return np.asarray(x / (1 + np.exp(-k * x)))


_ACTIVATIONS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "gelu_tanh": _gelu_tanh, "gelu_erf": _gelu_erf, "quick_gelu": lambda x: _logistic_product(x, 1.702),
    "relu": lambda x: np.maximum(x, 0), "silu": lambda x: _logistic_product(x, 1), "tanh": np.tanh}  # fmt: skip


def gelu_tanh(x: Floats) -> Floats:
    """x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))."""
    return _single(_gelu_tanh(_double(x)))


def gelu_erf(x: Floats) -> Floats:
    """x P(X <= x) for a standard normal X."""
    return _single(_gelu_erf(_double(x)))


def quick_gelu(x: Floats) -> Floats:
    """x / (1 + exp(-1.702 x))."""
    return _single(_logistic_product(_double(x), 1.702))


def relu(x: Floats) -> Floats:
    """max(0, x)."""
    return np.maximum(x, np.float32(0))


def silu(x: Floats) -> Floats:
    """x / (1 + exp(-x))."""
    return _single(_logistic_product(_double(x), 1))


def tanh(x: Floats) -> Floats:
    """The hyperbolic tangent."""
    return _single(np.tanh(_double(x)))


def layer_norm(x: Floats, weight: Floats, bias: Floats, eps: float = 1e-5) -> Floats:
    """(x - mean) / sqrt(variance + eps) * weight + bias along each row."""
    d = _double(x)
    d = d - d.mean(-1, keepdims=True)
    return _single(d / np.sqrt((d * d).mean(-1, keepdims=True) + eps) * weight + bias)


def rms_norm(x: Floats, weight: Floats, eps: float = 1e-5) -> Floats:
    """x / sqrt(mean(x^2) + eps) * weight over each run of len(weight) columns."""
    runs = _double(x).reshape(len(x), x.shape[1] // len(weight), len(weight))
    return _single((runs / np.sqrt((runs * runs).mean(-1, keepdims=True) + eps) * weight).reshape(x.shape))


def rotate(x: Floats, places: Ints, turns: Floats, interleaved: bool = False) -> Floats:
    """Pairs (a, b) of each head become (a cos - b sin, b cos + a sin), by the angles of the row's place."""
    pairs, of_pair = turns.shape[1], -1 if interleaved else -2
    shape = (pairs, 2) if interleaved else (2, pairs)
    heads = _double(x).reshape(len(x), x.shape[1] // (2 * pairs), *shape)
    a, b = np.moveaxis(heads, of_pair, 0)                                                         # [rows, heads, pairs]
    cos, sin = np.moveaxis(_double(turns[places])[:, None], -1, 0)
    return _single(np.stack([a * cos - b * sin, b * cos + a * sin], of_pair).reshape(x.shape))


def _softmax(x: NDArray[np.float64]) -> NDArray[np.float64]:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def softmax(x: Floats) -> Floats:
    """exp(x) / sum(exp(x)) along each row."""
    return _single(_softmax(_double(x)))


def embedding(ids: Ints, places: Ints | None, tokens: Packed, positions: Floats | None) -> Floats:
    """tokens[:, id] + positions[place], without positions the first alone."""
    token = _double(tokens.values[:, ids].T)
    return _single(token if positions is None else token + positions[places])


def _row_ranges(fresh: Ints) -> list[slice]:
    ends = np.cumsum(fresh)
    return [slice(int(e - n), int(e)) for e, n in zip(ends, fresh, strict=True)]


def _bfloat16(x: Floats) -> NDArray[np.uint16]:
    """The upper half of each float32, rounded to nearest even; a NaN stays one."""
    bits = x.view(np.uint32)
    upper = bits >> 16
    return np.where(np.isnan(x), upper | 0x40, (bits + (0x7FFF + (upper & 1))) >> 16).astype(np.uint16)


def _int8(x: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Each row [.., width] as q * s with s = max|x| / 127 [..]; see `ops.append`."""
    s: Floats = np.abs(x).max(-1) / np.float32(127)
    s[~np.isfinite(s)] = np.nan
    s[s < np.finfo(np.float32).tiny] = 0
    held = (s > 0)[..., None]
    q = np.rint(np.divide(x, s[..., None], where=held, out=np.zeros_like(x)))
    return q.astype(np.int8), s


def _stored(x: Floats, dtype: np.dtype[Any]) -> tuple[Panels, Floats | None]:
    """Rows [.., width] as a cache of this dtype has them, and the scales [..] of int8."""
    if dtype == np.int8:
        return _int8(x)
    return (_bfloat16(x) if dtype == np.uint16 else x), None


def _widened(x: Panels, scales: Floats | None) -> Doubles:
    """What is stored, exactly. x: [heads, tokens, width]; scales: [heads, tokens] for int8."""
    if x.dtype == np.int8 and scales is not None:
        return _double(x) * _double(scales)[..., None]
    return _double(to_float32(x))


def append(k: Floats, v: Floats, keys: Panels, values: Panels, slots: Ints, past: Ints, fresh: Ints,
           scales: Floats | None = None) -> None:
    """Write new keys and values behind those that the cache of one layer holds, in place, as their dtype says."""
    heads, width = keys.shape[1], keys.shape[3]
    for slot, start, rows in zip(slots, past, _row_ranges(fresh), strict=True):
        at = np.arange(start, start + rows.stop - rows.start)
        d = np.arange(width)
        new_keys, key_scales = _stored(k[rows].reshape(-1, heads, width), keys.dtype)
        new_values, value_scales = _stored(v[rows].reshape(-1, heads, width), values.dtype)
        keys[slot, :, at // _PANEL, :, at % _PANEL] = new_keys
        values[slot][:, d // _PANEL, at[:, None], d % _PANEL] = new_values.swapaxes(0, 1)
        if scales is not None and key_scales is not None and value_scales is not None:
            scales[slot][:, 0, at], scales[slot][:, 1, at] = key_scales.T, value_scales.T


def _attend(q: Floats, keys: Panels, values: Panels, past: int, scale: float, scales: Floats | None,
            window: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """keys [kv_heads, capacity / 32, width, 32], values [kv_heads, ceil(width / 32), capacity, 32] and, for int8,
    scales [kv_heads, 2, capacity] of one sequence."""
    kv_heads, width = keys.shape[0], keys.shape[2]
    tokens, heads = len(q), q.shape[1] // width
    total = past + tokens
    k = keys.transpose(0, 1, 3, 2).reshape(kv_heads, -1, width)[:, :total]
    v = values.transpose(0, 2, 1, 3).reshape(kv_heads, values.shape[2], -1)[:, :total, :width]
    of_keys, of_values = (None, None) if scales is None else (scales[:, 0, :total], scales[:, 1, :total])
    k, v = (np.repeat(x, heads // kv_heads, 0) for x in (_widened(k, of_keys), _widened(v, of_values)))
    scores = scale * (_double(q).reshape(tokens, heads, width).swapaxes(0, 1) @ k.swapaxes(1, 2))
    before = past + np.arange(tokens)[:, None] - np.arange(total)  # how far back a key is
    scores[:, (before < 0) | (before >= (window or total))] = -np.inf
    weights = _softmax(scores) if tokens else scores
    return (weights @ v).swapaxes(0, 1).reshape(tokens, heads * width), scores, weights


def attention(q: Floats, keys: Panels, values: Panels, slots: Ints, past: Ints, fresh: Ints, scale: float,
              prefix_keys: Panels | None = None, prefix_values: Panels | None = None, scales: Floats | None = None,
              prefix_scales: Floats | None = None, window: int = 0) -> Floats:
    """Causal scaled dot-product attention of new tokens over their own cached sequence, behind a common prefix."""
    parts = []
    for slot, start, rows in zip(slots, past, _row_ranges(fresh), strict=True):
        k, v, before = keys[slot], values[slot], int(start)
        s = None if scales is None else scales[slot]
        if prefix_keys is not None and prefix_values is not None:
            k, v = np.concatenate([prefix_keys, k], 1), np.concatenate([prefix_values, v], 2)
            before += prefix_values.shape[2]
            if s is not None and prefix_scales is not None:
                s = np.concatenate([prefix_scales, s], 2)
        parts.append(_attend(q[rows], k, v, before, scale, s, window)[0])
    return _single(np.concatenate([np.empty((0, q.shape[1])), *parts]))


def attention_weights(q: Floats, keys: Panels, values: Panels, slot: int, past: int, scale: float,
                      scales: Floats | None = None, window: int = 0) -> tuple[Floats, Floats, Floats]:
    """`attention` of one sequence that also gives its scores and weights."""
    s = None if scales is None else scales[slot]
    out, scores, weights = _attend(q, keys[slot], values[slot], past, scale, s, window)
    return _single(out), _single(scores), _single(weights)
