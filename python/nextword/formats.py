"""The weight formats in NumPy: which numbers stand for a matrix, and for the rows that it is multiplied by. The layout
in memory and the definition in words are in csrc/formats.h."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

DTYPES = ("float32", "bfloat16", "int8", "int4")
"""What weights can be stored in, from the most bytes to the fewest."""

GROUP = 32  # depths that share a scale in int4
MOST_DEPTH = 65536  # of an int8 matrix: so many products fit the sum
SMALLEST = np.float32(1e-30)  # what is smaller throughout is taken as 0


def to_bfloat16(x: Floats) -> Floats:
    """float32 rounded to the nearest bfloat16, ties to even; NaN stays NaN.

    >>> to_bfloat16(np.float32([1.00390625, 1.01171875])).tolist()
    [1.0, 1.015625]
    """
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return np.where(np.isnan(x), np.float32(np.nan), rounded.astype(np.uint32).view(np.float32))


def _codes(x: Floats, largest: Floats) -> tuple[Floats, Floats]:
    """Integers -127 .. 127 and the scale that largest / 127 is; zeros where the largest is tiny."""
    zero = largest < SMALLEST
    with np.errstate(divide="ignore", over="ignore"):
        inverse = np.where(zero, np.float32(0), np.float32(127) / largest)
    return np.rint(x * inverse), np.where(zero, np.float32(0), largest / np.float32(127))


def _int4(x: Floats) -> Doubles:
    """x: [groups, 32, cols], what lies behind the matrix being NaN. Scales by exhaustive search."""
    held = ~np.isnan(x)
    x = np.where(held, x, np.float32(0))
    top = np.abs(x).max(1)
    zero = top < SMALLEST
    best: Doubles = np.zeros(x.shape)
    least = np.full(top.shape, np.inf, np.float32)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        for candidate in range(18):
            d = np.float32((-1 if candidate % 2 else 1) * (7 + 0.5 * (candidate // 2)))
            scale = to_bfloat16(np.where(zero, np.float32(0), top / d))
            inverse = np.where(zero, np.float32(0), np.float32(1) / scale)
            code = np.clip(np.rint(x * inverse[:, None]), np.float32(-8), np.float32(7))
            off = x - code * scale[:, None]
            error = np.zeros_like(least)
            for k in range(x.shape[1]):  # in the order in which the definition adds
                error += np.where(held[:, k], off[:, k] * off[:, k], np.float32(0))
            better = (error < least) | (candidate == 0)
            least = np.where(better, error, least)
            best = np.where(better[:, None], code.astype(np.float64) * scale[:, None], best)
    return best


def stored(weight: Floats, dtype: str) -> NDArray[np.floating]:
    """The numbers that stand for a matrix [depth, cols] in a format, exactly: float32, or float64 where they need it.

    Raises ValueError if dtype is not one of DTYPES.

    >>> stored(np.float32([[127], [0.6], [-3.4]]), "int8").tolist()
    [[127.0], [1.0], [-3.0]]
    """
    if dtype not in DTYPES:
        raise ValueError(f"pack: dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    if dtype == "float32":
        return weight
    if dtype == "bfloat16":
        return to_bfloat16(weight)
    if dtype == "int8":
        if len(weight) > MOST_DEPTH:
            raise ValueError(f"pack: int8 takes matrices of at most {MOST_DEPTH} rows, got {len(weight)}; "
                             "use another dtype")
        codes, scale = _codes(weight, np.abs(weight).max(0))
        return codes.astype(np.float64) * scale
    depth, cols = weight.shape
    padded = np.full((-(-depth // GROUP) * GROUP, cols), np.nan, np.float32)
    padded[:depth] = weight
    return _int4(padded.reshape(-1, GROUP, cols)).reshape(-1, cols)[:depth]


def multiplied(x: Floats, dtype: str) -> NDArray[np.floating]:
    """The numbers that stand for rows x [rows, depth] when they are multiplied by weights of a format.

    >>> multiplied(np.float32([[254, 1.4], [np.inf, 0]]), "int4").tolist()
    [[254.0, 2.0], [nan, nan]]
    """
    if dtype == "float32":
        return x
    if dtype == "bfloat16":
        return to_bfloat16(x)
    finite = np.isfinite(x).all(1, keepdims=True)
    x = np.where(finite, x, np.float32(0))
    codes, scale = _codes(x, np.abs(x).max(1, keepdims=True))
    return np.where(finite, codes.astype(np.float64) * scale, np.nan)
