"""Matrices that lie in blocks, as GGUF files hold them: made float32 by C++, and packed a piece at a time. `ops` has
`dequantise` among its own; blocks_reference.py is the same in NumPy. csrc/arithmetic/dequantise.h defines the kinds.
"""

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextword import _core
from nextword.arithmetic.arrays import Floats
from nextword.arithmetic.formats import PANEL

KINDS = {"F32": (1, 4), "F16": (1, 2), "BF16": (1, 2), "Q8_0": (32, 34), "Q4_0": (32, 18), "Q4_1": (32, 20),
         "Q5_0": (32, 22), "Q5_1": (32, 24), "Q4_K": (256, 144), "Q5_K": (256, 176), "Q6_K": (256, 210)}  # fmt: skip
"""Of a block of each kind: numbers, bytes."""

PIECE = 1 << 23  # numbers that are made float32 at once: 32 MiB


def dequantise(data: NDArray[np.uint8], kind: str, rows: int, cols: int) -> Floats:
    """The numbers [rows, cols] that lie in blocks of a GGUF file. Each is rounded once, in its only sum.

    data: uint8 [bytes], row by row, each row a whole number of blocks. kind: one of `blocks.KINDS`.
    Whatever the bytes are, they stand for numbers, NaN and infinity among them.
    Raises ValueError if the kind is unknown, cols no multiple of its block, or data not as long as these say.

    >>> scale_and_four = np.frombuffer(np.float16([0.5]).tobytes() + bytes([1, 2, 255] + 29 * [0]), np.uint8)
    >>> dequantise(scale_and_four, "Q8_0", 1, 32)[0, :4].tolist()
    [0.5, 1.0, -0.5, 0.0]
    """
    return _core.dequantise(data, kind, rows, cols)


class Blocks:
    """A matrix [rows, cols] in blocks, too large to be made float32 as a whole; NumPy makes it so where it is asked to.

    data: uint8 [bytes], as `dequantise` takes it. forget: called when some of it has been read and is not needed soon.

    >>> held = Blocks(np.float32([[1, 2], [3, 4]]).view(np.uint8).ravel(), "F32", 2, 2)
    >>> held.shape, held.rows(1, 2).tolist(), np.ascontiguousarray(held).sum()
    ((2, 2), [[3.0, 4.0]], np.float32(10.0))
    """

    dtype = np.dtype(np.float32)
    ndim = 2

    def __init__(self, data: NDArray[np.uint8], kind: str, rows: int, cols: int,
                 forget: Callable[[], None] = lambda: None) -> None:
        self.data, self.kind, self.shape, self._forget = data, kind, (rows, cols), forget
        numbers, size = KINDS[kind]
        self._row = cols // numbers * size  # bytes

    def __len__(self) -> int:
        return self.shape[0]

    def rows(self, begin: int, end: int) -> Floats:
        """Some rows, float32 [end - begin, cols]."""
        part = self.data[begin * self._row : end * self._row]
        return dequantise(part, self.kind, end - begin, self.shape[1])

    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[Any]:
        return np.asarray(self.rows(0, len(self)), dtype)

    def packed(self, ops: ModuleType, dtype: str) -> Any:
        """`ops.pack_transposed` of it, to the bit, in the memory of the result and PIECE numbers.

        >>> from nextword import ops
        >>> held = Blocks(np.float32([[1, 2], [3, 4]]).view(np.uint8).ravel(), "F32", 2, 2)
        >>> ops.unpack(held.packed(ops, "float32")).tolist()
        [[1.0, 3.0], [2.0, 4.0]]
        """
        rows, depth = self.shape
        step = max(1, PIECE // depth // PANEL) * PANEL

        def parts() -> Iterator[NDArray[np.uint8]]:
            for at in range(0, rows, step):
                yield ops.packed_bytes(ops.pack_transposed(self.rows(at, min(rows, at + step)), dtype))
                self._forget()

        return ops.packed(parts(), dtype, depth, rows)
