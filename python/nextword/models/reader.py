"""Named arrays checked against a configuration and stored for ops; what is stored and has no place is named."""

import re
import warnings
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextword.arithmetic.arrays import Floats
from nextword.arithmetic.blocks import Blocks
from nextword.arithmetic.formats import PackedBytes
from nextword.machine.shown import listed
from nextword.models.layers import LayerNorm, RMSNorm
from nextword.models.random_weights import RandomWeights

PIECE = 1 << 20  # numbers of two matrices that are compared at once


class Reader:
    """Takes named arrays, checks them against the configuration and stores them for ops."""

    def __init__(self, weights: Mapping[str, NDArray[Any] | PackedBytes], ops: ModuleType, dtype: str | None) -> None:
        self.weights, self.ops, self.dtype = weights, ops, dtype
        self.taken: dict[str, Any] = {}  # what was given out, by name, in the order of asking
        self.stored_as = ""  # dtype of the first matrix
        self._used: set[str] = set()

    def has(self, name: str) -> bool:
        """Whether the tensor is stored."""
        return name in self.weights

    def shared(self, embedding: str, head: str) -> str | None:
        """The stored name of a matrix that is both embedding and head by the configuration, as in transformers.

        Either name will do. None if both are stored and their numbers differ: then the head is its own.
        """
        if not self.has(head):
            return embedding
        if not self.has(embedding):
            return head
        if not self.same(embedding, head):
            return None
        self._used.add(head)
        return embedding

    def skip(self, *names: str) -> None:
        """Take tensors as read that stand in for others, if they are stored."""
        self._used |= set(names)

    def _named(self, name: str, shape: tuple[int, ...]) -> NDArray[Any] | PackedBytes:
        if isinstance(self.weights, RandomWeights):
            return self.weights.made(name, shape)
        if name not in self.weights:
            raise ValueError(f"load: {self._called(name)} is missing; "
                             f"the configuration asks for it with shape {list(shape)}")
        self._used.add(name)
        return self.weights[name]

    def _called(self, name: str) -> str:
        describe = getattr(self.weights, "describe", None)
        return str(describe(name)) if describe else f"tensor {name!r}"

    def _stored(self, name: str, x: NDArray[Any] | PackedBytes, shape: tuple[int, ...], store: Any) -> Any:
        if x.shape != shape:
            raise ValueError(f"load: {self._called(name)} must have shape {list(shape)} by the configuration, "
                             f"got {list(x.shape)}")
        try:
            if isinstance(x, Blocks):
                return store(x)
            return store(*x) if isinstance(x, PackedBytes) else store(np.ascontiguousarray(x))
        except ValueError as error:
            raise ValueError(f"load: {self._called(name)}: {error}") from None

    def vector(self, name: str, *shape: int) -> Floats:
        """A small array as float32 of its own."""
        self.taken[name] = found = self._numbers(name, shape)
        return found

    def _numbers(self, name: str, shape: tuple[int, ...]) -> Floats:
        given = self._named(name, shape)
        if isinstance(given, PackedBytes):
            raise ValueError(f"load: {self._called(name)} must be numbers, got a matrix packed as {given.dtype}")
        x: Floats = self._stored(name, given, shape, self.ops.to_float32)
        if not np.isfinite(x).all():
            raise ValueError(f"load: {self._called(name)} must be finite, got NaN or infinity")
        return x

    def matrix(self, name: str, rows: int, cols: int, pack: Any, stored: str | None = None) -> Any:
        """A packed matrix; pack: ops.pack for [depth, cols], ops.pack_transposed for [cols, depth]. PackedBytes are
        taken as they are. stored: the name that it has in the file, if another."""
        given = stored or name
        x = self._named(given, (rows, cols))
        if not isinstance(x, PackedBytes):
            found = self._stored(given, x, (rows, cols), lambda x: self._packed(x, pack))
        elif self.dtype not in (None, x.dtype):
            raise ValueError(f"load: {self._called(given)} is packed as {x.dtype} and cannot become {self.dtype}; "
                             "leave the dtype out, or load the model that it was made of")
        else:
            found = self._stored(given, x, (rows, cols) if pack is self.ops.pack else (cols, rows), self.ops.packed)
        self.taken[name] = found
        self.stored_as = self.stored_as or str(found.dtype)
        return found

    def _packed(self, x: Any, pack: Any) -> Any:
        dtype = self.dtype or "float32"
        if isinstance(x, Blocks) and pack is self.ops.pack_transposed:
            return x.packed(self.ops, dtype)
        return pack(np.ascontiguousarray(x), dtype)

    def linear(self, name: str, depth: int, cols: int) -> tuple[Any, Floats]:
        """Weight and bias of a linear layer, stored as [in, out]."""
        return self.matrix(f"{name}.weight", depth, cols, self.ops.pack), self.vector(f"{name}.bias", cols)

    def projection(self, name: str, depth: int, cols: int, bias: bool) -> tuple[Any, Floats | None]:
        """Weight of a linear layer, stored as [out, in], and its bias if it has one."""
        weight = self.matrix(f"{name}.weight", cols, depth, self.ops.pack_transposed)
        return weight, self.vector(f"{name}.bias", cols) if bias else None

    def joined(self, name: str, parts: Mapping[str, int], depth: int, bias: bool) -> tuple[Any, Floats | None]:
        """One linear layer of several that read the same, side by side; or what is stored as one by this name.

        parts: the name of each -> its columns.
        """
        if self.has(f"{name}.weight"):
            return self.projection(name, depth, sum(parts.values()), bias)
        weight = self._side_by_side({f"{one}.weight": (size, depth) for one, size in parts.items()},
                                    lambda x: self.ops.pack_transposed(x, self.dtype or "float32"))
        self.taken[f"{name}.weight"] = weight
        self.stored_as = self.stored_as or str(weight.dtype)
        if not bias:
            return weight, None
        vector = np.concatenate([self._numbers(f"{one}.bias", (size,)) for one, size in parts.items()])
        self.taken[f"{name}.bias"] = vector
        return weight, vector

    def _side_by_side(self, shapes: Mapping[str, tuple[int, ...]], store: Any) -> Any:
        """Matrices of these names one below the other, stored as one; what is wrong with one is told by its name."""
        pieces: dict[str, NDArray[Any]] = {}
        for name, shape in shapes.items():
            x = self._named(name, shape)
            if isinstance(x, PackedBytes):
                raise ValueError(f"load: {self._called(name)} must be numbers or packed with those beside it, got a "
                                 f"matrix packed as {x.dtype}; write it anew with `nextword quantize`")
            pieces[name] = self._stored(name, x, shape, np.array)  # its file's pages are given back with the next one
        if len({x.dtype for x in pieces.values()}) > 1:
            pieces = {name: self._stored(name, x, shapes[name], self.ops.to_float32) for name, x in pieces.items()}
        try:
            return store(np.concatenate(list(pieces.values())))
        except ValueError:
            for name, x in pieces.items():
                self._stored(name, x, shapes[name], store)
            raise

    def same(self, first: str, second: str) -> bool:
        """Whether two matrices are stored with the same numbers.

        A piece at a time, each taken anew: weights then hold no more of a file in memory than that (weights.Weights).
        """
        x, y = self.weights[first], self.weights[second]
        if x.shape != y.shape or _kind(x) != _kind(y) or "?" in _kind(x):
            return False
        rows = max(1, PIECE // max(1, _numbers(x)[:1].size))
        for at in range(0, len(_numbers(x)), rows):
            x, y = (self.weights[name] for name in (first, second))
            pieces = [np.ascontiguousarray(_numbers(matrix)[at : at + rows]) for matrix in (x, y)]
            one, other = pieces if isinstance(x, PackedBytes) else map(self.ops.to_float32, pieces)
            if not np.array_equal(one, other):
                return False
        return True

    def finish(self, title: str, constants: re.Pattern[str], other_heads: re.Pattern[str]) -> None:
        """Name what is stored and was not read, except for constants. title: of the model in messages.

        Raises ValueError; warns of other heads than that of the logits.
        """
        left = [name for name in self.weights if name not in self._used and not constants.fullmatch(name)]
        unknown = [name for name in left if not other_heads.fullmatch(name)]
        if unknown:
            raise ValueError(f"load: {self._called(unknown[0])} has no place in a {title} of this configuration "
                             f"(not used: {listed(unknown)}); correct the configuration, or take them out of the file")
        if left:
            warnings.warn(f"load: not used, as no logit depends on it: {listed(left)}, another head", stacklevel=6)

    def norm(self, name: str, size: int, eps: float) -> LayerNorm:
        """A layer normalisation."""
        return LayerNorm(self.ops, self.vector(f"{name}.weight", size), self.vector(f"{name}.bias", size), eps)

    def rms_norm(self, name: str, size: int, eps: float) -> RMSNorm:
        """A root mean square normalisation."""
        return RMSNorm(self.ops, self.vector(f"{name}.weight", size), eps)


def _kind(x: NDArray[Any] | PackedBytes) -> str:
    """How numbers are stored; "?" is none of ours, which whoever reads it refuses."""
    if isinstance(x, PackedBytes):
        return f"packed {x.dtype}"
    return "float" if x.dtype in (np.float32, np.float16, np.uint16) else "?"


def _numbers(x: NDArray[Any] | PackedBytes) -> NDArray[Any]:
    return x.data if isinstance(x, PackedBytes) else x
