"""The weight formats in NumPy: a matrix as bytes, the numbers that these stand for, and those that stand for the rows
that it is multiplied by. The definition in words is in csrc/kernels/formats.h."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

DTYPES = ("float32", "bfloat16", "int8", "int4")
"""What weights can be stored in, from the most bytes to the fewest."""

PANEL = 32  # columns that lie together
LAYOUT = {"float32": (1, 128, 0), "bfloat16": (2, 128, 0), "int8": (16, 512, 128), "int4": (32, 576, 0)}
"""Of a panel: depths of a step, bytes of a step, bytes behind the last step."""
GROUP = 32  # depths that share a scale in int4
MOST_DEPTH = 65536  # of an int8 matrix: so many products fit the sum
SMALLEST = np.float32(1e-30)  # what is smaller throughout is taken as 0


class PackedBytes(NamedTuple):
    """A matrix [depth, cols] as a file of packed weights holds it: what `ops.packed` takes. data: uint8 [bytes]."""

    data: Bytes
    dtype: str
    depth: int
    cols: int

    @property
    def shape(self) -> tuple[int, int]:
        """depth, cols."""
        return self.depth, self.cols


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


def _int4(x: Floats) -> tuple[Floats, Floats]:
    """Integers -8 .. 7 of x [..., 32, cols], and the scale of each 32 by exhaustive search."""
    top = np.abs(x).max(-2)
    zero = top < SMALLEST
    best, codes = np.zeros_like(top), np.zeros_like(x)
    least = np.full(top.shape, np.inf, np.float32)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        for candidate in range(18):
            d = np.float32((-1 if candidate % 2 else 1) * (7 + 0.5 * (candidate // 2)))
            scale = to_bfloat16(np.where(zero, np.float32(0), top / d))
            inverse = np.where(zero, np.float32(0), np.float32(1) / scale)
            code = np.clip(np.rint(x * inverse[..., None, :]), np.float32(-8), np.float32(7))
            off = x - code * scale[..., None, :]
            error = np.zeros_like(least)
            for k in range(GROUP):  # in the order in which the definition adds
                error += off[..., k, :] * off[..., k, :]
            better = (error < least) | (candidate == 0)
            least, best = np.where(better, error, least), np.where(better, scale, best)
            codes = np.where(better[..., None, :], code, codes)
    return codes, best


def _bytes(x: NDArray[Any], *shape: int) -> Bytes:
    return np.ascontiguousarray(x).view(np.uint8).reshape(*shape, -1)


def panel_bytes(dtype: str, depth: int) -> int:
    """Bytes of a panel of 32 columns in a format, as csrc/kernels/formats.h lays it out; columns come in such panels.

    >>> panel_bytes("float32", 10), panel_bytes("bfloat16", 9), panel_bytes("int8", 10), panel_bytes("int4", 10)
    (1280, 640, 640, 576)
    """
    step, step_bytes, tail = LAYOUT[dtype]
    return -(-depth // step) * step_bytes + tail


def encoded(weight: Floats, dtype: str) -> Bytes:
    """The panels of a matrix [depth, cols] in a format, byte for byte what `ops.packed_bytes` gives. uint8 [bytes].

    Raises ValueError if dtype is not one of DTYPES, or int8 has more than 65,536 rows.

    >>> encoded(np.float32([[127], [0.6], [-3.4]]), "int8")[[0, 1, 2]].tolist()  # 128 + 127, 1, -3
    [255, 129, 125]
    """
    _check(dtype, "pack")
    depth, cols = weight.shape
    if dtype == "int8" and depth > MOST_DEPTH:
        raise ValueError(f"pack: int8 takes matrices of at most {MOST_DEPTH} rows, got {depth}; use another dtype")
    step, panels = LAYOUT[dtype][0], -(-cols // PANEL)
    whole = np.zeros((-(-depth // step) * step, panels * PANEL), np.float32)
    whole[:depth, :cols] = weight
    x = np.ascontiguousarray(whole.reshape(len(whole), panels, PANEL).swapaxes(0, 1))             # [panels, depth, 32]
    if dtype == "float32":
        return _bytes(x).ravel()
    if dtype == "bfloat16":
        upper = (to_bfloat16(x).view(np.uint32) >> 16).astype(np.uint16)
        return _bytes(upper.reshape(panels, -1, 2, PANEL).swapaxes(2, 3)).ravel()
    if dtype == "int8":
        codes, scale = _codes(x, np.abs(x).max(1, keepdims=True))
        quads = (codes + 128).astype(np.uint8).reshape(panels, -1, 4, PANEL).swapaxes(2, 3)
        return np.concatenate([_bytes(quads, panels), _bytes(scale, panels)], 1).ravel()
    codes, scale = _int4(x.reshape(panels, -1, GROUP, PANEL))
    lines = (codes + 8).astype(np.uint8).reshape(panels, -1, 8, 4, 2, PANEL // 2)       # column c is [c / 16, c % 16]
    both = (lines[..., 0, :] | lines[..., 1, :] << 4).swapaxes(3, 4)                        # [panels, groups, 8, 16, 4]
    upper = (scale.view(np.uint32) >> 16).astype(np.uint16)
    groups = both.shape[1]
    return np.concatenate([_bytes(both, panels, groups), _bytes(upper, panels, groups)], 2).ravel()


def decoded(data: Bytes, dtype: str, depth: int, cols: int) -> NDArray[np.floating]:
    """The numbers that the panels of a matrix stand for, exactly: [depth, cols], float32, or float64 for integers.

    Whatever the bytes are, they stand for numbers; a scale that is NaN or infinite makes its weights so.
    Raises ValueError if dtype is unknown, a size is outside of its range or data is not uint8 of the size that follows.

    >>> decoded(encoded(np.float32([[127], [0.6], [-3.4]]), "int8"), "int8", 3, 1).tolist()
    [[127.0], [1.0], [-3.0]]
    """
    check_packed(data, dtype, depth, cols)
    step, step_bytes, _ = LAYOUT[dtype]
    panels, steps = -(-cols // PANEL), -(-depth // step)
    rows = data.reshape(panels, -1)
    parts = rows[:, : steps * step_bytes].reshape(panels, steps, step_bytes)
    x: NDArray[np.floating]
    if dtype == "float32":
        x = np.ascontiguousarray(parts).view(np.float32)
    elif dtype == "bfloat16":
        pairs = np.ascontiguousarray(parts).view(np.uint16).reshape(panels, steps, PANEL, 2).swapaxes(2, 3)
        x = (pairs.astype(np.uint32) << 16).view(np.float32)
    elif dtype == "int8":
        scale = np.ascontiguousarray(rows[:, steps * step_bytes :]).view(np.float32).astype(np.float64)
        quads = parts.reshape(panels, steps * 4, PANEL, 4).swapaxes(2, 3).reshape(panels, -1, PANEL)
        x = (quads.astype(np.float64) - 128) * scale[:, None]
    else:
        lines = parts[..., :512].reshape(panels, steps, 8, PANEL // 2, 4).swapaxes(3, 4)
        codes = np.concatenate([lines & 15, lines >> 4], 4).reshape(panels, steps, GROUP, PANEL).astype(np.float64) - 8
        upper = np.ascontiguousarray(parts[..., 512:]).view(np.uint16)
        x = codes * (upper.astype(np.uint32) << 16).view(np.float32)[:, :, None]
    return np.ascontiguousarray(x.reshape(panels, -1, PANEL).swapaxes(0, 1).reshape(-1, panels * PANEL)[:depth, :cols])


def check_packed(data: Bytes, dtype: str, depth: int, cols: int) -> None:
    """Raise ValueError unless data is uint8 [panels * panel_bytes] of a matrix [depth, cols] that dtype can hold."""
    _check(dtype, "packed")
    most = MOST_DEPTH if dtype == "int8" else 2**31 - 1
    if not (1 <= depth <= most and 1 <= cols < 2**31):
        raise ValueError(f"packed: {dtype} takes 1 .. {most} rows and 1 .. 2^31 - 1 columns, got [{depth}, {cols}]")
    panels, size = -(-cols // PANEL), panel_bytes(dtype, depth)
    if data.dtype != np.uint8 or data.shape != (panels * size,):
        raise ValueError(f"packed: data of the {dtype} matrix [{depth}, {cols}] must be {panels} times {size} bytes, "
                         f"got {data.dtype} {list(data.shape)}")


def _check(dtype: str, op: str) -> None:
    if dtype not in DTYPES:
        raise ValueError(f"{op}: dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")


def stored(weight: Floats, dtype: str) -> NDArray[np.floating]:
    """The numbers that stand for a matrix [depth, cols] in a format, exactly: float32, or float64 where they need it.

    Raises ValueError if dtype is not one of DTYPES.

    >>> stored(np.float32([[1.27], [-0.502], [0.334]]), "int8").round(2).tolist()
    [[1.27], [-0.5], [0.33]]
    """
    return decoded(encoded(weight, dtype), dtype, *weight.shape)


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
