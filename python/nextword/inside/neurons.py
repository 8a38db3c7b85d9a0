"""The neurons of a layer at one position: how active they are, and which tokens they make more and less probable."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nextword.inside import norms
from nextword.inside.activations import Activations
from nextword.inside.host import Host, place, shown_token
from nextword.inside.made import row_of
from nextword.inside.tables import Table, visible
from nextword.inside.weights import Weights, as_multiplied
from nextword.machine.shown import is_integer, shown
from nextword.models.steps import Product

TOKENS = 5  # promoted and suppressed ones of each neuron


@dataclass(frozen=True)
class Neuron:
    """One neuron at one position.

    neuron: which. activation: the model's float32 number. promoted, suppressed: (token, text, change of its logit), the
    most changed first: what the neuron's share of the stream adds to the logits at this position, with the scale of the
    last norm as it is there.
    """

    neuron: int
    activation: float
    promoted: list[tuple[int, str, float]]
    suppressed: list[tuple[int, str, float]]


@dataclass(frozen=True)
class Neurons:
    """The neurons of a layer that write most to the stream at a position, the one that writes most first."""

    layer: int
    position: int
    neurons: list[Neuron] = field(repr=False)

    def __iter__(self) -> Any:
        return iter(self.neurons)

    def __len__(self) -> int:
        return len(self.neurons)

    def __getitem__(self, index: int) -> Neuron:
        return self.neurons[index]

    def _table(self) -> Table:
        rows: list[list[Any]] = []
        for one in self.neurons:
            told = [" ".join(f"{visible(text)} {change:+.2f}" for _, text, change in some)
                    for some in (one.promoted, one.suppressed)]
            rows.append([str(one.neuron), one.activation, *told])
        return Table(["neuron", "activation", "promoted (logit)", "suppressed (logit)"], rows,
                     f"Neurons of layer {self.layer} at position {self.position}")

    def _repr_html_(self) -> str:
        return self._table().html()

    def plot(self, ax: Any = None) -> Any:
        """Their activations as bars in matplotlib's axes, new ones if None, which it returns."""
        from nextword.inside.pictures import Bars

        return Bars([str(one.neuron) for one in self.neurons], [one.activation for one in self.neurons],
                    f"layer {self.layer}, position {self.position}", "activation").plot(ax)


def neurons(x: Activations, weights: Weights, host: Host, layer: int, position: int, top: int) -> Neurons:
    """See `Inside.neurons`."""
    model, steps = x.model, x.model.steps()
    layer = place("neurons", "layer", layer, model.layers)
    position = place("neurons", "position", position, len(x.ids))
    name = f"h.{layer}.mlp.out"
    step = steps.get(name)
    if not isinstance(step, Product) or name in x.replaced:
        why = "an intervention replaces it" if step else f"a {model.title} does not declare it"
        raise ValueError(f"neurons: {name} must be made of neurons, but {why}")
    if not is_integer(top) or top < 1:
        raise ValueError(f"neurons: top must be an integer >= 1, got {shown(top)}")
    activations = row_of(x, step.of, position)
    given = as_multiplied(activations[None], step.layer.weight)[0]
    matrix = weights.matrix(step.layer.weight).astype(np.float64)
    written = np.abs(given) * np.linalg.norm(matrix, axis=1)
    best = np.argsort(-written, kind="stable")[: int(top)]
    stream = x[f"h.{model.layers - 1}.resid_post"][position].astype(np.float64)
    parts = matrix[best] * given[best, None]
    changes = weights.products(norms.behind(model.norm, stream, parts), model.head.weight)
    count = min(TOKENS, model.vocabulary)
    found = []
    for neuron, row in zip(best.tolist(), changes, strict=True):
        up, down = (model.ops.top(np.ascontiguousarray(sign * row), count) for sign in (np.float32(1), np.float32(-1)))
        told = [[(int(t), shown_token(host, int(t)), float(row[t])) for t in some] for some in (up, down)]
        found.append(Neuron(neuron, float(activations[neuron]), *told))
    return Neurons(layer, position, found)
