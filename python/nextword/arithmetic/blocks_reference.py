"""Blocks of GGUF files in NumPy: the definition of correct. Same names and signatures as in blocks.py."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nextword.arithmetic.arrays import Floats
from nextword.arithmetic.blocks import KINDS

Bytes = NDArray[np.uint8]


def dequantise(data: NDArray[np.uint8], kind: str, rows: int, cols: int) -> Floats:
    """The numbers [rows, cols] that lie in blocks of a GGUF file. Each is rounded once, in its only sum."""
    if kind not in KINDS:
        raise ValueError(f"dequantise: kind must be one of {', '.join(KINDS)}, got {kind!r}")
    numbers, size = KINDS[kind]
    if not (0 <= rows < 2**31 and 0 <= cols < 2**31) or cols % numbers:
        raise ValueError(f"dequantise: rows and cols must be 0 .. 2^31 - 1, and cols a multiple of {numbers} in "
                         f"{kind}, got [{rows}, {cols}]")
    blocks = rows * (cols // numbers)
    if data.dtype != np.uint8 or data.shape != (blocks * size,):
        raise ValueError(f"dequantise: data must be uint8 [{blocks * size}], got {data.dtype} {list(data.shape)}; pass "
                         "np.ascontiguousarray(data, np.uint8) of that shape")
    if not blocks:
        return np.empty((rows, cols), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        return _OF_KIND[kind](np.ascontiguousarray(data).reshape(blocks, size)).reshape(rows, cols)


def _halves(x: Bytes) -> Floats:
    return np.ascontiguousarray(x).view("<f2").astype(np.float32)


def _brain(x: Bytes) -> Floats:
    return (np.ascontiguousarray(x).view("<u2").astype(np.uint32) << 16).view(np.float32)


def _q8_0(x: Bytes) -> Floats:
    return _halves(x[:, :2]) * x[:, 2:].view(np.int8).astype(np.float32)


def _nibbles(q: Bytes, run: int) -> Bytes:
    """Of each `run` bytes first the lower halves, then the upper: [blocks, runs * 2, run]."""
    q = q.reshape(len(q), -1, run)
    return np.stack([q & 15, q >> 4], axis=2).reshape(len(q), -1, run)


def _bits(x: Bytes) -> Bytes:
    """Of each byte its bits, the lowest first."""
    return np.unpackbits(x, axis=1, bitorder="little")


def _of_32(x: Bytes, head: int, fifth: bool) -> Floats:
    """The integers of Q4_0, Q4_1, Q5_0 and Q5_1."""
    q = _nibbles(x[:, head + (4 if fifth else 0) :], 16).reshape(len(x), 32)
    return (q | _bits(x[:, head : head + 4]) << 4 if fifth else q).astype(np.float32)


def _grouped(x: Bytes, fifth: bool) -> Floats:
    """Q4_K and Q5_K."""
    low, high, rest = x[:, 4:8], x[:, 8:12], x[:, 12:16]
    s = np.concatenate([low & 63, rest & 15 | low >> 6 << 4], axis=1)
    t = np.concatenate([high & 63, rest >> 4 | high >> 6 << 4], axis=1)
    q = _nibbles(x[:, 48 if fifth else 16 :], 32)                                           # [blocks, 8, 32]
    if fifth:
        q |= _bits(x[:, 16:48]).reshape(-1, 32, 8).swapaxes(1, 2) << 4
    ds, mt = _halves(x[:, :2]) * s.astype(np.float32), _halves(x[:, 2:4]) * t.astype(np.float32)
    return ds[:, :, None] * q.astype(np.float32) - mt[:, :, None]


def _q6_k(x: Bytes) -> Floats:
    low = x[:, :128].reshape(-1, 2, 64)
    shifts = np.array([0, 2, 4, 6], np.uint8)[:, None]
    pairs = x[:, 128:192].reshape(-1, 2, 1, 32) >> shifts & 3                               # [blocks, 2, 4, 32]
    q = np.concatenate([low & 15, low >> 4], axis=2).reshape(-1, 2, 4, 32) | pairs << 4
    ds = _halves(x[:, 208:]) * x[:, 192:208].view(np.int8).astype(np.float32)               # [blocks, 16]
    return np.asarray(ds[:, :, None] * (q.reshape(-1, 16, 16).astype(np.float32) - 32))


_OF_KIND: dict[str, Callable[[Bytes], Floats]] = {
    "F32": lambda x: x.copy().view("<f4"), "F16": _halves, "BF16": _brain, "Q8_0": _q8_0,
    "Q4_0": lambda x: _halves(x[:, :2]) * (_of_32(x, 2, False) - 8),
    "Q5_0": lambda x: _halves(x[:, :2]) * (_of_32(x, 2, True) - 16),
    "Q4_1": lambda x: _halves(x[:, :2]) * _of_32(x, 4, False) + _halves(x[:, 2:4]),
    "Q5_1": lambda x: _halves(x[:, :2]) * _of_32(x, 4, True) + _halves(x[:, 2:4]),
    "Q4_K": lambda x: _grouped(x, False), "Q5_K": lambda x: _grouped(x, True), "Q6_K": _q6_k}  # fmt: skip
