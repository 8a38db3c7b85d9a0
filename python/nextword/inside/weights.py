"""A model's weights by name and as numbers: single elements, rows and columns of matrices in any format; and what
stands for the numbers that they are multiplied by, and for keys and values in a cache."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from nextword.arithmetic import bounds
from nextword.arithmetic.arrays import Doubles, Floats
from nextword.arithmetic.formats import multiplied
from nextword.machine.shown import quoted
from nextword.models.cache import KVCache
from nextword.models.model import Model
from nextword.models.steps import Lookup, Product

COLUMNS = 2048  # of a matrix that are read at once


class Weights:
    """The weights of a model, by the names of its files."""

    def __init__(self, model: Model) -> None:
        self.model, self.ops = model, model.ops
        self.tensors = model.tensors()

    @cached_property
    def _names(self) -> dict[int, str]:
        return {id(x): name for name, x in self.tensors.items()}

    @cached_property
    def _transposed(self) -> set[int]:
        """Of matrices that are called [cols, depth]."""
        found: set[int] = set()
        for step in self.model.steps().values():
            if isinstance(step, Product) and step.transposed:
                found.add(id(step.layer.weight))
            elif isinstance(step, Lookup) and step.by == "token":
                found.add(id(step.table))
        return found

    def name(self, x: Any) -> str:
        """Of a matrix or vector."""
        return self._names[id(x)]

    def index(self, weight: Any, depth: int, col: int) -> tuple[int, int]:
        """Where an element of a packed matrix stands in the tensor of its name."""
        return (col, depth) if id(weight) in self._transposed else (depth, col)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a tensor. Raises KeyError for an unknown name."""
        if name not in self.tensors:
            raise KeyError(f"inside: no weight {quoted(name)}; see model.tensors()")
        x = self.tensors[name]
        shape = tuple(int(n) for n in x.shape)
        return shape[::-1] if id(x) in self._transposed else shape

    def value(self, name: str, index: tuple[int, ...]) -> float:
        """An element of a tensor."""
        x = self.tensors[name]
        if isinstance(x, np.ndarray):
            return float(x[index])
        depth, col = index[::-1] if id(x) in self._transposed else index
        return float(self.columns(x, [col])[depth, 0])

    def columns(self, weight: Any, cols: Any) -> Doubles:
        """Some columns of a packed matrix: [depth, cols]."""
        return np.asarray(self.ops.embedding(np.asarray(cols, np.int64), None, weight, None).T, np.float64)

    def matrix(self, weight: Any) -> Floats:
        """All of it: [depth, cols]."""
        found: Floats = self.ops.unpack(weight)
        return found

    def products(self, x: Any, weight: Any) -> Floats:
        """x [rows, depth] @ weight, x as it is whatever the format of the matrix: float32 [rows, cols]."""
        rows, cols = np.asarray(x, np.float32), int(weight.shape[1])
        found = np.empty((len(rows), cols), np.float32)
        for at in range(0, cols, COLUMNS):
            some = np.arange(at, min(at + COLUMNS, cols))
            found[:, some] = rows @ self.ops.embedding(some, None, weight, None).T
        return found


def as_multiplied(x: Floats, weight: Any) -> Doubles:
    """The numbers that stand for rows x when they are multiplied by a packed matrix: themselves for float32."""
    return np.asarray(multiplied(np.ascontiguousarray(x), str(weight.dtype)), np.float64)


def product_bound(x: Doubles, w: Doubles, dtype: str, *terms: Any) -> Doubles:
    """How far a product with these columns may lie from x @ w plus the terms. x: as multiplied; w: as read."""
    if dtype == "float32":
        return bounds.matmul(x, w, *terms)
    read = bounds.U if dtype == "int8" else 0.0  # an integer times its scale, rounded to float32 when it is read
    return bounds.compact_matmul(x, w, dtype, *terms) + read * (np.abs(x) @ np.abs(w))


def as_held(model: Model, x: Floats) -> tuple[Doubles, Doubles | None]:
    """Keys or values of one head [tokens, width] as a cache of the model's kv_dtype holds them, and int8's scales."""
    tokens, width = x.shape
    if model.kv_dtype == "float32":
        return x.astype(np.float64), None
    cache = KVCache(model.ops, 1, 1, 1, width, tokens, dtype=model.kv_dtype)
    one = np.zeros(1, np.int64)
    rows = np.ascontiguousarray(x)
    keys, values, scales = cache.keys[0], cache.values[0], cache.scales[0]
    model.ops.append(rows, rows, keys, values, one, one, np.array([tokens], np.int64), scales)
    held = keys[0, 0].swapaxes(1, 2).reshape(-1, width)[:tokens]
    if model.kv_dtype == "bfloat16":
        return (held.astype(np.uint32) << 16).view(np.float32).astype(np.float64), None
    by = scales[0, 0, 0, :tokens].astype(np.float64)
    return held.astype(np.float64) * by[:, None], by
