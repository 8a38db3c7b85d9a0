"""One number made anew from the numbers that it is made of, for each kind of step; and how far that may be off."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nextword.arithmetic import bounds, reference
from nextword.arithmetic.arrays import Doubles
from nextword.inside import norms
from nextword.inside.activations import Activations
from nextword.inside.weights import Weights, as_held, as_multiplied, product_bound
from nextword.models.layers import LayerNorm
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
    position, d = index[-2:]
    layer, of_row = step.layer, row_index(x, step.of, position)
    first = index[0] * x.shape(name)[2] if len(index) == 3 else 0  # of the head among the token's numbers
    row = np.asarray(row_of(x, step.of, position), np.float64)[first : first + len(layer.weight)]
    at = norms.of_row(layer, row)
    weight, bias = float(at.weight[d]), float(at.bias[d])
    normalised = (float(row[d]) - at.mean) / at.divisor
    name_of_weight = weights.name(layer.weight)
    sources = [*_many(step.of, (of_row(first + k) for k in range(len(row))), row), Source(name_of_weight, (d,), weight)]
    whole = f"{step.of}[{', '.join(map(str, index[:-1]))}]"
    start, exact = f"{step.of}{list(of_row(first + d))}", normalised * weight + bias
    if isinstance(layer, LayerNorm):
        name_of_bias = weights.name(layer.bias)
        sources.append(Source(name_of_bias, (d,), bias))
        formula = (f"({start} - mean) / std * {name_of_weight}[{d}] + {name_of_bias}[{d}], mean and std of {whole}, "
                   f"std = sqrt(variance + {layer.eps:g})")
        terms, operands = [normalised * weight, bias], {"mean": at.mean, "std": at.divisor}
    else:
        formula = f"{start} / rms * {name_of_weight}[{d}], rms = sqrt(mean of squares of {whole} + {layer.eps:g})"
        terms, operands = [normalised * weight], {"rms": at.divisor}
    operands |= {"normalised": normalised, "weight": weight, **({"bias": bias} if len(terms) > 1 else {})}
    return Made(formula, exact, float(norms.limit(layer, row)[d]) + 2.0**-48 * (abs(normalised * weight) + abs(bias)),
                sources, np.array(terms), operands)


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


def _gated(x: Activations, weights: Weights, name: str, step: Gated, index: Index) -> Made:
    gate, up = float(x[step.of][index]), float(x[step.up][index])
    opened = float(getattr(reference, step.form)(np.array([gate], np.float32))[0])
    limit = float(getattr(bounds, step.form)(np.array([gate]))[0]) + bounds.U * abs(opened) + bounds.TINY
    exact = opened * up
    return Made(f"{step.form}({step.of}{list(index)}) * {step.up}{list(index)}", exact,
                limit * abs(up) + bounds.U * (abs(exact) + limit * abs(up)) + bounds.TINY,
                [Source(step.of, index, gate), Source(step.up, index, up)], np.array([exact]),
                {"gate": gate, "opened": opened, "up": up})


def _rotated(x: Activations, weights: Weights, name: str, step: Rotated, index: Index) -> Made:
    head, position, d = index
    half = x.shape(name)[2] // 2
    pair = d % half
    cos, sin = (float(one) for one in step.turns.table[position, pair])
    a, b = (float(x[step.of][head, position, one]) for one in (d, d - half if d >= half else d + half))
    terms = np.array([a * cos, b * sin if d >= half else -b * sin])
    at = [(head, position, d), (head, position, d - half if d >= half else d + half)]
    exact = float(terms.sum())
    # Both products are rounded, then their sum.
    bound = bounds.gamma(2) * float(np.abs(terms).sum()) + 3 * bounds.TINY
    return Made(f"{step.of}{list(at[0])} * cos {'+' if d >= half else '-'} {step.of}{list(at[1])} * sin, the angle "
                f"{position} * {step.turns.frequencies[pair]:.9g}", exact, bound,
                [Source(step.of, at[0], a), Source(step.of, at[1], b)], terms, {"cos": cos, "sin": sin})


def _hidden(step: Scores | Softmax, query: int, key: int) -> str:
    """Why a query does not see a key; nothing if it does."""
    if key > query:
        return f"token {query} does not see token {key}, which comes after it"
    if step.window and key <= query - step.window:
        return f"token {query} sees the {step.window} tokens up to it alone, and token {key} comes before these"
    return ""


def _seen(window: int, query: int) -> range:
    """The keys that a query sees."""
    return range(max(0, query - window + 1) if window else 0, query + 1)


def _over(keys: range) -> str:
    """In words of a formula."""
    return f"sum over {f'{keys.start} <= ' if keys.start else ''}j <= {keys.stop - 1}"


def _scores(x: Activations, weights: Weights, name: str, step: Scores, index: Index) -> Made:
    head, query, key = index
    if why := _hidden(step, query, key):
        return given(f"-inf: {why}", -np.inf)
    other = head // step.group
    q, k = x[step.queries][head, query], x[step.keys][other, key]
    held, scales = as_held(x.model, k[None])
    terms = step.scale * q.astype(np.float64) * held[0]
    limit = bounds.scores(q[None].astype(np.float64), held, step.scale, scales)
    depths = range(len(q))
    sources = [*_many(step.queries, ((head, query, d) for d in depths), q),
               *_many(step.keys, ((other, key, d) for d in depths), k)]
    rounded = "" if x.model.kv_dtype == "float32" else f" as the cache holds it in {x.model.kv_dtype}"
    exact = float(terms.sum())
    return Made(f"{step.scale:.9g} * sum over d of {step.queries}[{head}, {query}, d] * {step.keys}[{other}, {key}, d]"
                f"{rounded}", exact, float(limit[0, 0]) + bounds.U * abs(exact) + 2.0**-45 * float(np.abs(terms).sum()),
                sources, terms, {"scale": step.scale, "query": q, "key": held[0]})


def _softmax(x: Activations, weights: Weights, name: str, step: Softmax, index: Index) -> Made:
    head, query, key = index
    if why := _hidden(step, query, key):
        return given(f"0: {why}", 0.0)
    keys = _seen(step.window, query)
    row = x[step.of][head, query, keys.start : keys.stop].astype(np.float64)
    most = float(row.max())
    e = np.exp(row - most)
    exact = float(e[key - keys.start] / e.sum())
    # The score is rounded where it is shown and where it is used, a unit of the largest each.
    limit = bounds.softmax(row[None], 2 * bounds.U * float(np.abs(row).max()))
    sources = _many(step.of, ((head, query, j) for j in keys), row)
    return Made(f"exp({step.of}[{head}, {query}, {key}] - max) / {_over(keys)} of exp({step.of}[{head}, "
                f"{query}, j] - max)", exact, float(limit[0, key - keys.start]), sources, np.array([exact]),
                {"max": most, "exp": e, "sum": float(e.sum())})


def _mixed(x: Activations, weights: Weights, name: str, step: Mixed, index: Index) -> Made:
    head, query, d = index
    other, keys = head // step.group, _seen(step.window, query)
    some = slice(keys.start, keys.stop)
    w, v = x[step.weights][head, query, some], x[step.values][other, some]
    held, scales = as_held(x.model, v)
    terms = w.astype(np.float64) * held[:, d]
    limit = bounds.mixed(w[None].astype(np.float64), held, 0 if scales is None else 1)
    sources = [*_many(step.weights, ((head, query, j) for j in keys), w),
               *_many(step.values, ((other, j, d) for j in keys), v[:, d])]
    rounded = "" if x.model.kv_dtype == "float32" else f" as the cache holds it in {x.model.kv_dtype}"
    rest = 2.0**-53 * (len(w) + 2) * float(np.abs(terms).sum())
    return Made(f"{_over(keys)} of {step.weights}[{head}, {query}, j] * {step.values}[{other}, j, {d}]{rounded}",
                float(terms.sum()), float(limit[0, d]) + rest, sources, terms,
                {"weights": w, "values": held[:, d]})


_MAKERS: dict[type, Callable[..., Made]] = {
    Lookup: _lookup, Sum: _sum, Normalised: _normalised, Product: _product, Activated: _activated, Gated: _gated,
    Rotated: _rotated, Scores: _scores, Softmax: _softmax, Mixed: _mixed}  # fmt: skip
