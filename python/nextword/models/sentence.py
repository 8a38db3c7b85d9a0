"""Vectors of texts, made of an encoder's hidden states: rows pooled, then layers and norms behind that."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from nextword.arithmetic.arrays import Floats, Ints
from nextword.models.layers import Linear

HOW = {"cls": "first", "lasttoken": "last", "max": "max", "mean": "mean"}  # by the names of `ops.pool`


class Layer:
    """activation(linear(x)), with a residual connection + x, or + residual(x)."""

    def __init__(self, linear: Linear, activation: str | None, residual: Linear | bool = False) -> None:
        self.linear, self.activation, self.residual = linear, activation, residual

    def __call__(self, x: Floats) -> Floats:
        ops = self.linear.ops
        y = self.linear(x) if self.activation is None else getattr(ops, self.activation)(self.linear(x))
        return y if self.residual is False else y + (x if self.residual is True else self.residual(x))


class Sentences:
    """Vectors of texts. ways: of pooling, whose results stand side by side: cls, lasttoken, max, mean,
    mean_sqrt_len_tokens, weightedmean. layers: behind it; None normalises."""

    def __init__(self, ops: ModuleType, ways: Sequence[str], layers: Sequence[Layer | None] = ()) -> None:
        self.ops, self.ways, self.layers = ops, tuple(ways), list(layers)

    def __call__(self, hidden: Floats, fresh: Ints, normalise: bool | None = None, skipped: int = 0) -> Floats:
        """hidden: [tokens, width] of texts one after the other; fresh: [texts], how many tokens each has. normalise:
        None as the layers say, True in any case, False not. skipped: tokens at the beginning of each text that do not
        count. Returns float32 [texts, cols]; a text's bits do not depend on the others."""
        gone = np.minimum(skipped, fresh - 1)  # the last token is there in any case
        if skipped:
            places = np.concatenate([np.arange(n) >= cut for n, cut in zip(fresh, gone, strict=True)] or [fresh > 0])
            hidden = np.ascontiguousarray(hidden[places])
        x = np.concatenate([self._pooled(hidden, fresh - gone, way, gone) for way in self.ways], axis=1)
        for layer in self.layers:
            if layer is not None:
                x = layer(x)
            elif normalise is not False:
                x = self.ops.normalise(x)
        return self.ops.normalise(x) if normalise and self.layers[-1:] != [None] else x

    def _pooled(self, hidden: Floats, fresh: Ints, way: str, gone: Ints) -> Floats:
        found: Any
        if way in HOW:
            found = self.ops.pool(hidden, fresh, HOW[way])
        elif way == "mean_sqrt_len_tokens":
            found = self.ops.pool(hidden, fresh, "mean") * np.sqrt(fresh.astype(np.float32))[:, None]
        else:  # by position
            weights = [np.arange(cut + 1, cut + 1 + n, dtype=np.float32)[:, None]
                       for n, cut in zip(fresh.tolist(), gone.tolist(), strict=True)]  # fmt: skip
            ends = np.cumsum(fresh)
            found = [(hidden[end - n : end] * w).sum(0) / w.sum()
                     for n, end, w in zip(fresh.tolist(), ends.tolist(), weights, strict=True)]
            found = np.array(found, np.float32).reshape(len(fresh), hidden.shape[1])
        return np.asarray(found)
