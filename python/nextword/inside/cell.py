"""One number of an activation or a weight, followed to the numbers that it is made of."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nextword.arithmetic.arrays import Doubles
from nextword.inside.activations import Activations
from nextword.inside.host import place
from nextword.inside.made import Index, Made, Source, given, made
from nextword.inside.tables import Table, escaped, number
from nextword.inside.weights import Weights
from nextword.machine.shown import listed, shown

LARGEST = 8  # terms of a sum that are shown


@dataclass(frozen=True)
class Cell:
    """A number and where it comes from.

    name, index: of an activation, or of a weight by its name in the model's files. value: the model's float32 number.
    formula: how it is made, in words of the names. sources: the elements that it is made of, each (name, index, value);
    each again a cell. None for weights, for what the causal mask hides, and for what an intervention has put there.
    exact: the number made of the sources in float64; |value - exact| <= bound, which is derived from how the model
    computes. terms: float64, what is added up where it is a sum. operands: the numbers of the formula by their names.
    """

    name: str
    index: Index
    value: float
    formula: str
    exact: float
    bound: float
    sources: list[Source] = field(repr=False)
    terms: Doubles = field(repr=False)
    operands: dict[str, Any] = field(repr=False)

    def largest(self, count: int = LARGEST) -> list[tuple[int, float]]:
        """The terms that are largest in size: their places among the terms and the terms; of equal ones, the first."""
        order = np.argsort(-np.abs(self.terms), kind="stable")[:count]
        return [(int(k), float(self.terms[k])) for k in order]

    def _repr_html_(self) -> str:
        where = escaped(f"{self.name}{list(self.index)}")
        rows: list[list[Any]] = [[f"term {k}", x] for k, x in self.largest()] if len(self.terms) > 1 else []
        if rows:
            rest = float(self.terms.sum()) - sum(x for _, x in self.largest())
            rows += [[f"the other {len(self.terms) - len(rows)}", rest]] if len(self.terms) > len(rows) else []
            rows += [["sum", float(self.terms.sum())]]
        rows += [[name, float(x)] for name, x in self.operands.items() if np.ndim(x) == 0]
        rows += [["may differ by", self.bound]]
        table = Table(["", "value"], rows, note=f"made of {len(self.sources):,} numbers")
        return (f'<div style="color:inherit"><b>{where} = {escaped(number(self.value))}</b>'
                f"<p><code>{escaped(self.formula)}</code></p>{table.html()}</div>")


def cell(x: Activations, weights: Weights, name: str, index: Sequence[int] | int) -> Cell:
    """An element of an activation or a weight; see `Cell`.

    index: a place for each axis; negative ones count from the end.
    Raises KeyError for a name that is neither, TypeError or IndexError for an index that is no place in it.
    """
    if name in x:
        at = _at(name, index, x.shape(name))
        return _of_activation(x, weights, name, at)
    if name not in weights.tensors:
        raise KeyError(f"cell: {shown(name)} is neither an activation nor a weight; there are {listed(x.names, 8)}, "
                       f"and {listed(weights.tensors, 8)}")
    at = _at(name, index, weights.shape(name))
    value = weights.value(name, at)
    return _cell(name, at, value, given("a weight of the model", value))


def _of_activation(x: Activations, weights: Weights, name: str, at: Index) -> Cell:
    value = float(x.row(name, at[0])[at[1]] if len(at) == 2 else x[name][at])
    step = x.model.steps().get(name)
    if step is None:
        found = given("not declared: its architecture does not say what it is made of", value)
    else:
        found = made(x, weights, name, step, at)
        if name in x.replaced and not (value == found.exact or abs(value - found.exact) <= found.bound):
            found = given("put there by an intervention", value)
    return _cell(name, at, value, found)


def _cell(name: str, at: Index, value: float, found: Made) -> Cell:
    return Cell(name, at, value, **vars(found))


def _at(name: str, index: Any, shape: tuple[int, ...]) -> Index:
    try:
        given = [operator.index(index)] if not hasattr(index, "__iter__") else list(index)
    except TypeError:
        raise TypeError(f"cell: index must be integers, got {shown(index)}") from None
    if len(given) != len(shape):
        raise IndexError(f"cell: index must be {len(shape)} integers, a place in {name} {list(shape)}, "
                         f"got {shown(index)}")
    return tuple(place("cell", f"index of {name}, axis {axis},", one, size)
                 for axis, (one, size) in enumerate(zip(given, shape, strict=True)))
