"""One number made anew from the numbers that it is made of, for each kind of step; and how far that may be off."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nextword.arithmetic import bounds, reference
from nextword.arithmetic.arrays import Doubles
from nextword.inside.activations import Activations
from nextword.inside.weights import Weights, as_held, as_multiplied, product_bound
from nextword.models.steps import Activated, Lookup, Mixed, Normalised, Product, Scores, Softmax, Step, Sum

Index = tuple[int, ...]


@dataclass(frozen=True)
class Source:
    """An element that a number is made of: of an activation, or of a weight by its name in the model's files."""

    name: str
    index: Index
    value: float


@dataclass(frozen=True)
class Made:
    """exact: the number made of its sources in float64. bound: how far the model's may be from it, derived from how it
    is computed. terms: what is added up, where it is a sum. operands: the numbers of the formula by their names there.
    """

    formula: str
    exact: float
    bound: float
    sources: list[Source] = field(repr=False)
    terms: Doubles = field(repr=False)
    operands: dict[str, Any] = field(repr=False)


def row_of(x: Activations, name: str, position: int) -> Any:
    """One token's numbers of an activation, heads one after the other: float32 [numbers]."""
    if len(x.shape(name)) == 2:
        return x.row(name, position)
    return np.ascontiguousarray(x[name][:, position]).ravel()


def row_index(x: Activations, name: str, position: int) -> Callable[[int], Index]:
    """Where each of these numbers stands in the activation."""
    one = x.shape(name)
    return (lambda k: (position, k)) if len(one) == 2 else (lambda k: (k // one[2], position, k % one[2]))


def made(x: Activations, weights: Weights, name: str, step: Step, index: Index) -> Made:
    """An element of an activation, made by a step."""
    found: Made = _MAKERS[type(step)](x, weights, name, step, index)
    return found


def given(why: str, value: float) -> Made:
    """A number that is made of no others. why: what it is, in the place of a formula."""
    return Made(why, value, 0.0, [], np.empty(0), {})


def _many(name: str, at: Iterable[Index], values: Any) -> list[Source]:
    return [Source(name, one, value) for one, value in zip(at, np.asarray(values).tolist(), strict=True)]


def _lookup(x: Activations, weights: Weights, name: str, step: Lookup, index: Index) -> Made:
    position, d = index
    table = weights.name(step.table)
    at = (x.ids[position], d) if step.by == "token" else (position, d)
    value = weights.value(table, at)
    return Made(f"{table}{list(at)}", value, 0.0, [Source(table, at, value)], np.array([value]), {step.by: at[0]})


def _sum(x: Activations, weights: Weights, name: str, step: Sum, index: Index) -> Made:
    terms = np.array([x[term][index] for term in step.terms], np.float64)
    exact = float(terms.sum())
    bound = bounds.gamma(len(terms) - 1) * float(np.abs(terms).sum())
    formula = " + ".join(f"{term}{list(index)}" for term in step.terms)
    return Made(formula, exact, bound, [Source(term, index, float(x[term][index])) for term in step.terms], terms, {})


def _normalised(x: Activations, weights: Weights, name: str, step: Normalised, index: Index) -> Made:
    position, d = index
    layer, row = step.layer, np.asarray(row_of(x, step.of, position), np.float64)
    mean = float(row.mean())
    std = float(np.sqrt(row.var() + layer.eps))
    weight, bias = float(layer.weight[d]), float(layer.bias[d])
    normalised = (float(row[d]) - mean) / std
    limit = bounds.layer_norm(row[None], layer.weight.astype(np.float64), layer.bias.astype(np.float64), layer.eps)
    names = weights.name(layer.weight), weights.name(layer.bias)
    at = row_index(x, step.of, position)
    sources = [*_many(step.of, map(at, range(len(row))), row), Source(names[0], (d,), weight),
               Source(names[1], (d,), bias)]
    exact = normalised * weight + bias
    return Made(f"({step.of}{list(at(d))} - mean) / std * {names[0]}[{d}] + {names[1]}[{d}], mean and std of "
                f"{step.of}[{position}], std = sqrt(variance + {layer.eps:g})", exact,
                float(limit[0, d]) + 2.0**-48 * (abs(normalised * weight) + abs(bias)), sources,
                np.array([normalised * weight, bias]),
                {"mean": mean, "std": std, "normalised": normalised, "weight": weight, "bias": bias})


def _product(x: Activations, weights: Weights, name: str, step: Product, index: Index) -> Made:
    by_head = len(index) == 3
    position = index[1] if by_head else index[0]
    col = step.first + (index[0] * x.shape(name)[2] + index[2] if by_head else index[1])
    layer, row = step.layer, row_of(x, step.of, position)
    multiplied = as_multiplied(row[None], layer.weight)
    column = weights.columns(layer.weight, [col])
    bias = [] if layer.bias is None else [float(layer.bias[col])]
    terms = np.concatenate([multiplied[0] * column[:, 0], bias])
    limit = product_bound(multiplied, column, str(layer.weight.dtype), *(np.array([b]) for b in bias))
    at, table = row_index(x, step.of, position), weights.name(layer.weight)
    depths = range(len(row))
    sources = [*_many(step.of, map(at, depths), row),
               *_many(table, (weights.index(layer.weight, k, col) for k in depths), column[:, 0])]
    shown = f"{table}[{', '.join(map(str, ('k', col)[:: -1 if step.transposed else 1]))}]"
    rounded = "" if str(layer.weight.dtype) == "float32" else f" rounded to {_stands_for(layer.weight.dtype)}"
    formula = f"sum over k of {step.of}[{position}, k]{rounded} * {shown}"
    if bias:
        of_bias = weights.name(layer.bias)
        sources.append(Source(of_bias, (col,), bias[0]))
        formula += f" + {of_bias}[{col}]"
    rest = 2.0**-53 * (len(row) + 2) * float(np.abs(terms).sum())
    return Made(formula, float(terms.sum()), float(limit[0, 0]) + rest, sources, terms,
                {"x": multiplied[0], "weight": column[:, 0], **({"bias": bias[0]} if bias else {})})


def _stands_for(dtype: Any) -> str:
    return "bfloat16" if str(dtype) == "bfloat16" else "127 steps of its largest number"


def _activated(x: Activations, weights: Weights, name: str, step: Activated, index: Index) -> Made:
    value = float(x[step.of][index])
    exact = float(getattr(reference, step.form)(np.array([value], np.float32))[0])
    limit = getattr(bounds, step.form)(np.array([value]))
    return Made(f"{step.form}({step.of}{list(index)})", exact, float(limit[0]) + bounds.U * abs(exact) + bounds.TINY,
                [Source(step.of, index, value)], np.array([exact]), {"x": value})


def _scores(x: Activations, weights: Weights, name: str, step: Scores, index: Index) -> Made:
    head, query, key = index
    if key > query:
        return given(f"-inf: token {query} does not see token {key}, which comes after it", -np.inf)
    q, k = x[step.queries][head, query], x[step.keys][head, key]
    held, scales = as_held(x.model, k[None])
    terms = step.scale * q.astype(np.float64) * held[0]
    limit = bounds.scores(q[None].astype(np.float64), held, step.scale, scales)
    depths = range(len(q))
    sources = [*_many(step.queries, ((head, query, d) for d in depths), q),
               *_many(step.keys, ((head, key, d) for d in depths), k)]
    rounded = "" if x.model.kv_dtype == "float32" else f" as the cache holds it in {x.model.kv_dtype}"
    exact = float(terms.sum())
    return Made(f"{step.scale:.9g} * sum over d of {step.queries}[{head}, {query}, d] * {step.keys}[{head}, {key}, d]"
                f"{rounded}", exact, float(limit[0, 0]) + bounds.U * abs(exact) + 2.0**-45 * float(np.abs(terms).sum()),
                sources, terms, {"scale": step.scale, "query": q, "key": held[0]})


def _softmax(x: Activations, weights: Weights, name: str, step: Softmax, index: Index) -> Made:
    head, query, key = index
    if key > query:
        return given(f"0: token {query} does not see token {key}, which comes after it", 0.0)
    row = x[step.of][head, query, : query + 1].astype(np.float64)
    most = float(row.max())
    e = np.exp(row - most)
    exact = float(e[key] / e.sum())
    # The score is rounded where it is shown and where it is used, a unit of the largest each.
    limit = bounds.softmax(row[None], 2 * bounds.U * float(np.abs(row).max()))
    sources = _many(step.of, ((head, query, j) for j in range(query + 1)), row)
    return Made(f"exp({step.of}[{head}, {query}, {key}] - max) / sum over j <= {query} of exp({step.of}[{head}, "
                f"{query}, j] - max)", exact, float(limit[0, key]), sources, np.array([exact]),
                {"max": most, "exp": e, "sum": float(e.sum())})


def _mixed(x: Activations, weights: Weights, name: str, step: Mixed, index: Index) -> Made:
    head, query, d = index
    w, v = x[step.weights][head, query, : query + 1], x[step.values][head, : query + 1]
    held, scales = as_held(x.model, v)
    terms = w.astype(np.float64) * held[:, d]
    limit = bounds.mixed(w[None].astype(np.float64), held, 0 if scales is None else 1)
    keys = range(query + 1)
    sources = [*_many(step.weights, ((head, query, j) for j in keys), w),
               *_many(step.values, ((head, j, d) for j in keys), v[:, d])]
    rounded = "" if x.model.kv_dtype == "float32" else f" as the cache holds it in {x.model.kv_dtype}"
    rest = 2.0**-53 * (len(w) + 2) * float(np.abs(terms).sum())
    return Made(f"sum over j <= {query} of {step.weights}[{head}, {query}, j] * {step.values}[{head}, j, {d}]{rounded}",
                float(terms.sum()), float(limit[0, d]) + rest, sources, terms,
                {"weights": w, "values": held[:, d]})


_MAKERS: dict[type, Callable[..., Made]] = {
    Lookup: _lookup, Sum: _sum, Normalised: _normalised, Product: _product, Activated: _activated, Scores: _scores,
    Softmax: _softmax, Mixed: _mixed}  # fmt: skip
