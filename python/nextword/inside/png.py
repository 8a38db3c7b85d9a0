"""Matrices of pixels as the bytes of a PNG file, and matrices of numbers made smaller."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


def pooled(values: NDArray[Any], step: int) -> NDArray[Any]:
    """Each step x step cells as the one of them that is largest in size.

    >>> pooled(np.array([[1, -3, 2], [0, 0, 5]]), 2).tolist()
    [[-3, 5]]
    """
    if step <= 1:
        return values
    high, wide = (-(-n // step) * step for n in values.shape)
    whole = np.zeros((high, wide), values.dtype)
    whole[: values.shape[0], : values.shape[1]] = np.where(np.isfinite(values), values, 0)
    cells = whole.reshape(high // step, step, wide // step, step).swapaxes(1, 2).reshape(high // step, -1, step * step)
    best = np.abs(cells).argmax(-1)
    found: NDArray[Any] = np.take_along_axis(cells, best[..., None], -1)[..., 0]
    return found


def png(pixels: NDArray[np.uint8]) -> bytes:
    """An image as the bytes of a PNG file. pixels: [rows, cols, 4], red, green, blue and opacity."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    high, wide, _ = pixels.shape
    lines = np.concatenate([np.zeros((high, 1), np.uint8), pixels.reshape(high, -1)], 1)  # filter 0 before each line
    head = struct.pack(">IIBBBBB", wide, high, 8, 6, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines.tobytes(), 6))
            + chunk(b"IEND", b""))
