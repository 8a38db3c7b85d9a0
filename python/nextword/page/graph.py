"""What the model's activations are made of, as the page gets it: one layer stands for all."""

from __future__ import annotations

import re
from dataclasses import fields

from nextword.models.layers import RMSNorm
from nextword.models.model import Model
from nextword.models.steps import (
    Activated,
    Gated,
    Lookup,
    Mixed,
    Normalised,
    Product,
    Rotated,
    Scores,
    Softmax,
    Step,
    Sum,
)
from nextword.page.answers import Made

HOW: dict[type, str] = {Sum: "sum", Product: "linear", Activated: "activated", Gated: "gated", Rotated: "rotated",
                        Scores: "scores", Softmax: "softmax", Mixed: "mixed"}  # fmt: skip
SOURCES = ("of", "up", "terms", "queries", "keys", "weights", "values")  # fields of steps that name activations


def made(model: Model) -> list[Made]:
    """The steps of layer 0 and those of no layer, in order; layers are called N.

    >>> import nextword
    >>> [one for one in made(nextword.load().model) if one["name"] in ("wpe", "h.N.mlp.act")]
    [{'name': 'wpe', 'how': 'place', 'of': []}, {'name': 'h.N.mlp.act', 'how': 'activated', 'of': ['h.N.mlp.fc']}]
    """
    return [{"name": _any(name), "how": _how(step), "of": [_any(one) for one in _sources(step)]}
            for name, step in model.steps().items() if not re.match(r"h\.[1-9]", name)]  # fmt: skip


def form(model: Model) -> str:
    """The operation that a neuron passes, as `ops` calls it.

    >>> import nextword
    >>> form(nextword.load().model)
    'gelu_tanh'
    """
    act = model.steps()["h.0.mlp.act"]
    assert isinstance(act, (Activated, Gated))
    return act.form


def _how(step: Step) -> str:
    if isinstance(step, Lookup):
        return step.by
    if isinstance(step, Normalised):
        return "rms_norm" if isinstance(step.layer, RMSNorm) else "layer_norm"
    return HOW[type(step)]


def _sources(step: Step) -> list[str]:
    found: list[str] = []
    for name in (field.name for field in fields(step)):
        if name in SOURCES:
            value = getattr(step, name)
            found += [value] if isinstance(value, str) else value
    return found


def _any(name: str) -> str:
    return re.sub(r"^h\.\d+\.", "h.N.", name)
