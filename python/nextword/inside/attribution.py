"""Direct logit attribution: a logit, or the difference of two, as the exact sum of what each part of the model adds.

The last norm divides by a number that depends on all of its input; with that number taken as it is at this position,
the logit is linear in the stream, and the stream is a sum (Elhage et al. 2021).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from nextword.arithmetic import bounds
from nextword.arithmetic.arrays import Doubles
from nextword.inside import norms
from nextword.inside.activations import Activations
from nextword.inside.made import row_of
from nextword.inside.pictures import Bars, HeatMap, Pictured
from nextword.inside.weights import Weights, as_held, as_multiplied, product_bound
from nextword.models.layers import LayerNorm
from nextword.models.steps import Mixed, Normalised, Product, Sum

By = Literal["part", "head", "neuron", "source"]
BY = ("part", "head", "neuron", "source")
ROUNDING = "rounding of what is multiplied"  # in bfloat16, int8 and int4


@dataclass(frozen=True)
class Attribution(Pictured):
    """What each part adds to a logit.

    names: of the parts: an activation that is added to the stream, or a piece of it: `h.3.attn.z[2]` what head 2 of
    layer 3 adds, `h.3.mlp.act[17]` a neuron, `h.3.attn.v[:, 5]` what attention takes from token 5, and the biases by
    their names among the weights. parts: float64 [parts], in order. logit: the model's, or the difference of two.
    |parts.sum() - logit| <= bound, which is derived from how the model computes. by: what was split. token, against:
    ids. position: whose logits.
    """

    names: list[str] = field(repr=False)
    parts: Doubles = field(repr=False)
    logit: float
    bound: float
    by: By
    token: int
    against: int | None
    position: int
    texts: list[str] = field(default_factory=list, repr=False)
    said: str = ""  # the token in words

    def top(self, count: int = 10) -> list[tuple[str, float]]:
        """The parts that are largest in size, with their names."""
        order = np.argsort(-np.abs(self.parts), kind="stable")[:count]
        return [(self.names[k], float(self.parts[k])) for k in order]

    def grid(self) -> Doubles:
        """For by="head" [layers, heads], for "neuron" [layers, neurons], for "source" [layers, tokens]."""
        if self.by == "part":
            raise ValueError('grid: by must be "head", "neuron" or "source", got "part"')
        rows: dict[str, list[float]] = {}
        for name, value in zip(self.names, self.parts.tolist(), strict=True):
            if name.endswith("]"):
                rows.setdefault(name.partition("[")[0], []).append(value)
        return np.array(list(rows.values()))

    def picture(self) -> Any:
        """A heat map of heads or sources by layer; else the twenty largest parts as bars."""
        unit = "logit" if self.against is None else "difference of logits"
        title = f"What adds to the {unit} of {self.said}"
        note = (f"all parts sum to {self.parts.sum():.7g}, the model's {unit} is {self.logit:.7g}, "
                f"bound {self.bound:.2g}")
        if self.by in ("head", "source") and len({name.partition("[")[0] for name in self.names if "[" in name}):
            cols = self.texts if self.by == "source" else None
            grid = self.grid()
            return HeatMap(grid, [str(layer) for layer in range(len(grid))], cols, title, f"{unit}; {note}",
                           side="layer", top="head" if self.by == "head" else "source token")
        top = self.top(20)
        return Bars([name for name, _ in top], [value for _, value in top], title, unit, note)


class _Split:
    """A logit's parts at one position, as they are found, and how far their sum may be off."""

    def __init__(self, x: Activations, weights: Weights, position: int) -> None:
        self.x, self.weights, self.position = x, weights, position
        self.steps = x.model.steps()
        self.names: list[str] = []
        self.values: list[float] = []
        self.bound = self.size = 0.0  # size: what float64 adds up here, in absolute numbers
        self.depth = 16

    def add(self, name: str, value: float) -> None:
        self.names.append(name)
        self.values.append(value)

    def head_of(self, token: int, against: int | None) -> Doubles:
        """The direction in the stream that the logit reads; adds what does not depend on the stream."""
        x, position = self.x, self.position
        head = self.steps.get("logits")
        norm = self.steps.get(head.of) if isinstance(head, Product) else None
        if not isinstance(head, Product) or not isinstance(norm, Normalised) or x.replaced & {"logits", head.of}:
            why = "an intervention replaces them" if head and norm else f"a {x.model.title} does not declare them"
            raise ValueError(f"attribution: logits must be the head's of a normed stream, but {why}; look at x.lens()")
        layer, ids = head.layer, [token] if against is None else [token, against]
        columns = self.weights.columns(layer.weight, ids)
        row = np.asarray(row_of(x, head.of, position))
        given = as_multiplied(row[None], layer.weight)
        biases = [] if layer.bias is None else [layer.bias[ids].astype(np.float64)]
        self.bound += float(product_bound(given, columns, str(layer.weight.dtype), *biases).sum())
        column = columns[:, 0] if against is None else columns[:, 0] - columns[:, 1]
        self.size += float(np.abs(given[0]) @ np.abs(columns).sum(1))
        stream = np.asarray(row_of(x, norm.of, position), np.float64)
        self.bound += float(norms.limit(norm.layer, stream) @ np.abs(column))
        if isinstance(norm.layer, LayerNorm):
            self.add(self.weights.name(norm.layer.bias), float(norm.layer.bias.astype(np.float64) @ column))
        if layer.bias is not None:
            shares = layer.bias[ids].astype(np.float64)
            self.add(self.weights.name(layer.bias), float(shares[0] if against is None else shares[0] - shares[1]))
        if str(layer.weight.dtype) != "float32":
            self.add(ROUNDING, float((given[0] - row) @ column))
        return norms.before(norm.layer, stream, column)

    def expand(self, name: str, direction: Doubles, by: By) -> None:
        """The parts of an activation that stands in the stream."""
        step = self.steps.get(name)
        if name in self.x.replaced or not isinstance(step, Sum):
            self.leaf(name, direction, by)
            return
        if len(step.terms) > 1:  # the sum was rounded
            row = np.asarray(row_of(self.x, name, self.position), np.float64)
            self.bound += (len(step.terms) - 1) * bounds.U * 1.01 * float(np.abs(row) @ np.abs(direction))
        for term in step.terms:
            self.expand(term, direction, by)

    def leaf(self, name: str, direction: Doubles, by: By) -> None:
        """What is added to the stream, whole or split."""
        x, step = self.x, self.steps.get(name)
        row = np.asarray(row_of(x, name, self.position), np.float64)
        self.size += float(np.abs(row) @ np.abs(direction))
        split = isinstance(step, Product) and name not in x.replaced
        if split and isinstance(step, Product):
            by_head = len(x.shape(step.of)) == 3
            if by_head and by == "source" and step.of not in x.replaced:
                return self.sources(step, direction)
            if by_head and by in ("head", "source"):
                return self.pieces(step, direction, x.shape(step.of)[2])
            if not by_head and by == "neuron":
                return self.pieces(step, direction, 1)
        return self.add(name, float(row @ direction))

    def _linear(self, step: Product, direction: Doubles) -> tuple[Doubles, Doubles]:
        """The row that is multiplied, as it is multiplied, and what each of its numbers is worth in the logit."""
        layer = step.layer
        row = as_multiplied(np.asarray(row_of(self.x, step.of, self.position))[None], layer.weight)
        matrix = self.weights.matrix(layer.weight).astype(np.float64)
        biases = [] if layer.bias is None else [layer.bias.astype(np.float64)]
        self.bound += float(product_bound(row, matrix, str(layer.weight.dtype), *biases)[0] @ np.abs(direction))
        self.size += float(np.abs(row[0]) @ (np.abs(matrix) @ np.abs(direction)))
        self.depth = max(self.depth, *matrix.shape)
        if layer.bias is not None:
            self.add(self.weights.name(layer.bias), float(biases[0] @ direction))
        return row[0], matrix @ direction

    def pieces(self, step: Product, direction: Doubles, width: int) -> None:
        """Heads of this width, or neurons."""
        row, worth = self._linear(step, direction)
        for k, value in enumerate((row * worth).reshape(-1, width).sum(1).tolist()):
            self.add(f"{step.of}[{k}]", value)

    def sources(self, step: Product, direction: Doubles) -> None:
        """What attention takes from each token, all heads together."""
        x, mixed = self.x, self.steps.get(step.of)
        if not isinstance(mixed, Mixed):
            return self.pieces(step, direction, x.shape(step.of)[2])
        row, worth = self._linear(step, direction)
        z = np.asarray(row_of(x, step.of, self.position), np.float64)
        if str(step.layer.weight.dtype) != "float32":
            self.add(ROUNDING, float((row - z) @ worth))
        seen = self.position + 1
        given = np.zeros(len(x.ids))
        for head, of_head in enumerate(worth.reshape(x.shape(step.of)[0], -1)):
            w = x[mixed.weights][head, self.position, :seen].astype(np.float64)
            v, scales = as_held(x.model, x[mixed.values][head // mixed.group, :seen])
            self.bound += float(bounds.mixed(w[None], v, 0 if scales is None else 1)[0] @ np.abs(of_head))
            self.size += float(w @ (np.abs(v) @ np.abs(of_head)))
            given[:seen] += w * (v @ of_head)
        for k, value in enumerate(given.tolist()):
            self.add(f"{mixed.values}[:, {k}]", value)
        return None


def attribution(x: Activations, weights: Weights, token: int, against: int | None, position: int, by: By,
                texts: list[str], said: str) -> Attribution:
    """See `Inside.attribution`; ids and position are checked."""
    split = _Split(x, weights, position)
    direction = split.head_of(token, against)
    norm = split.steps[split.steps["logits"].of]  # type: ignore[union-attr]
    split.expand(norm.of, direction, by)  # type: ignore[union-attr]
    row = x.row("logits", position).astype(np.float64)
    logit = float(row[token] if against is None else row[token] - row[against])
    # What float64 rounds here: sums of `depth` products, thrice in a row at most, then of the parts.
    size = split.size + float(np.abs(split.values).sum())
    own = (3 * split.depth + len(split.values) + 16) * 2.0**-53 * 1.01 * size
    return Attribution(split.names, np.array(split.values), logit, split.bound + own, by, token, against, position,
                       texts, said)
