"""What norms do to one row, for whoever follows numbers or directions through them: in float64, with the divisor taken
as it is at that row."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nextword.arithmetic import bounds
from nextword.arithmetic.arrays import Doubles
from nextword.models.layers import LayerNorm, Norm


class Row(NamedTuple):
    """A row on its way through a norm: (row - mean) / divisor * weight + bias; mean and bias 0 where it has none."""

    mean: float
    divisor: float
    weight: Doubles
    bias: Doubles


def of_row(layer: Norm, row: Doubles) -> Row:
    """How the norm takes this row [width].

    >>> import nextword
    >>> model = nextword.load().model
    >>> of_row(model.norm, np.array([1.0, -1.0] * 128)).mean
    0.0
    """
    weight = layer.weight.astype(np.float64)
    if isinstance(layer, LayerNorm):
        return Row(float(row.mean()), float(np.sqrt(row.var() + layer.eps)), weight, layer.bias.astype(np.float64))
    return Row(0.0, float(np.sqrt(np.mean(row * row) + layer.eps)), weight, np.zeros(len(weight)))


def limit(layer: Norm, row: Doubles) -> Doubles:
    """How far the model's result may lie from the exact one: [width]."""
    weight = layer.weight.astype(np.float64)
    if isinstance(layer, LayerNorm):
        found = bounds.layer_norm(row[None], weight, layer.bias.astype(np.float64), layer.eps)
    else:
        found = bounds.rms_norm(row[None], weight, layer.eps)
    return np.asarray(found[0])


def before(layer: Norm, row: Doubles, direction: Doubles) -> Doubles:
    """The direction in front of the norm that a direction [..., width] behind it reads."""
    at = of_row(layer, row)
    return _centred(layer, at.weight * direction) / at.divisor


def behind(layer: Norm, row: Doubles, parts: Doubles) -> Doubles:
    """What parts [..., width] of the row are behind the norm."""
    at = of_row(layer, row)
    return _centred(layer, parts) / at.divisor * at.weight


def _centred(layer: Norm, x: Doubles) -> Doubles:
    return np.asarray(x - x.mean(-1, keepdims=True) if isinstance(layer, LayerNorm) else x)
