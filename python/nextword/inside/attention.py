"""Attention of a prompt: weights of layers and heads, how spread they are, how they follow each other through layers,
and what each head writes to the stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nextword.arithmetic.arrays import Doubles, Floats
from nextword.inside.activations import Activations
from nextword.inside.host import place
from nextword.inside.pictures import HeatMap, Pictured
from nextword.inside.weights import Weights, as_held, as_multiplied, product_bound
from nextword.machine import memory
from nextword.models.steps import Product


class Attention(Pictured):
    """The attention of some layers and heads.

    layers, heads: which. texts: of the tokens. Arrays have the axes [layers, heads, ...]; an axis of one that was asked
    for by its number is left out, so that `x.attention(3, 2).weights` is [queries, keys].
    """

    def __init__(self, x: Activations, texts: Sequence[str], layer: int | None, head: int | None) -> None:
        model = x.model
        self._x, self.texts = x, list(texts)
        self.layers = [*range(model.layers)] if layer is None else [place("attention", "layer", layer, model.layers)]
        self.heads = [*range(model.heads)] if head is None else [place("attention", "head", head, model.heads)]
        self._axes = tuple(axis for axis, one in enumerate((layer, head)) if one is not None)

    def __repr__(self) -> str:
        return f"Attention(layers {self.layers}, heads {self.heads}, {len(self.texts)} tokens)"

    def _of(self, layer: int) -> Floats:
        return self._x[f"h.{layer}.attn.weights"][self.heads]

    def _whole(self, parts: list[Any]) -> Any:
        return np.squeeze(np.stack(parts), self._axes)

    @property
    def weights(self) -> Floats:
        """How much each token takes of each: float32 [layers, heads, queries, keys]; each row sums to 1."""
        size = len(self.layers) * len(self.heads) * len(self.texts) ** 2
        memory.require("attention", f"the weights of {len(self.layers)} layers", 8 * size, "ask for one layer or head")
        found: Floats = self._whole([self._of(layer) for layer in self.layers])
        return found

    @property
    def entropy(self) -> Doubles:
        """Of each row in bits, 0 where one token has all, log2 of their number where all have the same: float64
        [layers, heads, queries]."""
        parts = []
        for layer in self.layers:
            heads = (one.astype(np.float64) for one in self._of(layer))
            parts.append(np.stack([-(w * np.log2(np.where(w > 0, w, 1))).sum(-1) for w in heads]))
        found: Doubles = self._whole(parts)
        return found

    def value_weighted(self) -> Doubles:
        """Each weight times the length of the value that it takes, as the cache holds it (Kobayashi et al. 2020): what
        a token really gives. float64 [layers, heads, queries, keys]."""
        size = len(self.layers) * len(self.heads) * len(self.texts) ** 2
        memory.require("value_weighted", f"{len(self.layers)} layers", 16 * size, "ask for one layer or head")
        parts, model = [], self._x.model
        for layer in self.layers:
            v = self._x[f"h.{layer}.attn.v"]
            group = model.heads // len(v)  # heads that read the same values
            lengths = np.stack([np.linalg.norm(as_held(model, v[head // group])[0], axis=1) for head in self.heads])
            parts.append(self._of(layer) * lengths[:, None, :])
        found: Doubles = self._whole(parts)
        return found

    def rollout(self) -> Doubles:
        """How much of each token has come to each position after each layer, if a layer passes half of its input on and
        mixes half by the mean weights of its heads (Abnar and Zuidema 2020): float64 [layers, queries, keys], of the
        model's layers from the first up to the last that was asked for; each row sums to 1."""
        tokens, last = len(self.texts), self.layers[-1]
        memory.require("rollout", f"{last + 1} layers", 16 * (last + 1) * tokens**2, "ask for an earlier layer")
        found, before = [], np.eye(tokens)
        for layer in range(last + 1):
            mean = self._x[f"h.{layer}.attn.weights"].mean(0, dtype=np.float64)
            before = (0.5 * mean + 0.5 * np.eye(tokens)) @ before
            found.append(before)
        return np.stack(found)

    def picture(self) -> HeatMap:
        """One head's weights; the mean over what was asked for, if that is several heads."""
        mean = np.mean([self._of(layer).mean(0, dtype=np.float64) for layer in self.layers], axis=0)
        one = len(self.layers) * len(self.heads) == 1
        layers = f"layer {self.layers[0]}" if len(self.layers) == 1 else f"{len(self.layers)} layers"
        heads = f"head {self.heads[0]}" if len(self.heads) == 1 else f"{len(self.heads)} heads"
        return HeatMap(mean, rows=self.texts, cols=self.texts, unit="attention weight", scale="share",
                       title=f"Attention: {'' if one else 'mean of '}{layers}, {heads}", side="query", top="key")


@dataclass(frozen=True)
class HeadOutputs:
    """What each head of a layer adds to the stream.

    values: float32 [heads, tokens, width]. bias: float32 [width], of the output projection, which is no head's.
    bound: float64 [tokens, width]; values.sum(0) + bias lies so near the layer's `attn.out`, by how both are computed.
    Indexing and `np.asarray` give the values.
    """

    values: Floats = field(repr=False)
    bias: Floats = field(repr=False)
    bound: Doubles = field(repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """heads, tokens, width."""
        return self.values.shape

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array(self.values, dtype)

    def __getitem__(self, index: Any) -> Any:
        return self.values[index]

    def __len__(self) -> int:
        return len(self.values)


def head_outputs(x: Activations, weights: Weights, layer: int) -> HeadOutputs:
    """See `Inside.head_outputs`."""
    model = x.model
    name = f"h.{place('head_outputs', 'layer', layer, model.layers)}.attn.out"
    step = model.steps().get(name)
    if not isinstance(step, Product) or len(x.shape(step.of)) != 3:
        raise ValueError(f"head_outputs: a {model.title} does not declare how {name} is made of its heads")
    heads, tokens, width = x.shape(step.of)
    memory.require("head_outputs", f"{heads} heads of {tokens} tokens", 16 * heads * tokens * model.width,
                   "shorten the prompt")
    z = np.ascontiguousarray(x[step.of].swapaxes(0, 1)).reshape(tokens, heads * width)
    rows, matrix = as_multiplied(z, step.layer.weight), weights.matrix(step.layer.weight).astype(np.float64)
    split = rows.reshape(tokens, heads, width).swapaxes(0, 1) @ matrix.reshape(heads, width, -1)
    values = split.astype(np.float32)
    bias = np.zeros(model.width, np.float32) if step.layer.bias is None else step.layer.bias
    limit = product_bound(rows, matrix, str(step.layer.weight.dtype), bias)
    # Each head is rounded to float32, then their sum of heads + 1 terms, in whatever order.
    size = np.abs(values).sum(0, dtype=np.float64) + np.abs(bias)
    return HeadOutputs(values, bias, limit + (heads + 2) * 2.0**-24 * 1.01 * size)
