"""The calls of the page about one run: a number's sources, what adds to a logit, neurons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nextword.inside.cell import LARGEST, Cell
from nextword.inside.made import Source as Element
from nextword.page.calls import TOP, Page
from nextword.page.errors import Refused
from nextword.page.fields import Fields
from nextword.page.runs import Run
from nextword.page.texts import texts_of, typed
from nextword.page.view_answers import AttributeAnswer, CellAnswer, NeuronsAnswer, Source, Term

PARTS = 1000  # of an attribution; of more, the largest
PAIRS = (("x", "weight"), ("query", "key"), ("weights", "values"))  # operands whose products are a cell's terms


def cell(page: Page, name: str, body: Any) -> CellAnswer:
    """POST /api/run/R/cell"""
    run = page.runs[name]
    fields = Fields("cell", body, ["name", "index"])
    of = fields.text("name", 200)
    weight = page.lm.model.tensors().get(of)
    if of not in run.inside and weight is None:
        raise Refused("bad_argument", f"cell: name must be an activation or a weight, got {of[:60]!r}", argument="name")
    index = fields.integers("index", 3, -2**31, 2**31 - 1)
    found = run.inside.cell(of, index)
    terms = _terms(found)
    rest = float(found.terms.sum()) - sum(term["product"] for term in terms)
    python = f"lm.inside({_prompt(run)}).cell({of!r}, {list(found.index)}).value"
    shape = weight.shape if weight is not None else run.inside.shape(of)
    return {"name": of, "index": list(found.index), "shape": list(shape), "value": found.value,
            "formula": found.formula, "operands": [{"name": key, "value": float(x)} for key, x in found.operands.items()
                                                   if np.ndim(x) == 0],
            "terms": terms, "terms_total": len(found.terms), "rest": rest, "computed": found.exact,
            "bound": found.bound, "sources": _sources(found.sources), "python": python}


def _prompt(run: Run) -> str:
    """What a user writes for the prompt of a run."""
    text = typed(run.host.tokenizer, run.ids)
    return repr(text or run.ids)


def _terms(found: Cell) -> list[Term]:
    """The largest terms, with their factors where they are products."""
    pairs = [(found.operands[a], found.operands[b]) for a, b in PAIRS if {a, b} <= found.operands.keys()]
    pair = next((one for one in pairs if np.ndim(one[0]) == 1), None)
    told: list[Term] = []
    for k, product in found.largest(LARGEST):
        factors = (float(pair[0][k]), float(pair[1][k])) if pair is not None and k < len(pair[0]) else (None, None)
        told.append({"index": k, "left": factors[0], "right": factors[1], "product": product})
    return told


def _sources(elements: Sequence[Element]) -> list[Source]:
    """Where the elements stand, an activation or weight each: an axis along which they lie is null."""
    by_name: dict[str, list[tuple[int, ...]]] = {}
    for one in elements:
        by_name.setdefault(one.name, []).append(one.index)
    told: list[Source] = []
    for name, every in by_name.items():
        if len(every) == 2 and max(abs(a - b) for a, b in zip(*every, strict=True)) > 1:  # a pair, and nothing between
            told += [{"name": name, "index": list(index)} for index in every]
        else:
            told.append({"name": name,
                         "index": [axis[0] if len(set(axis)) == 1 else None for axis in zip(*every, strict=True)]})
    return told


def attribute(page: Page, name: str, body: Any) -> AttributeAnswer:
    """POST /api/run/R/attribute"""
    run = page.runs[name]
    fields = Fields("attribute", body, ["target", "against", "position", "by"])
    target = page.token(fields, "target")
    against = page.token(fields, "against") if fields.has("against") else None
    tokens = len(run.ids)
    position = fields.integer("position", -tokens, tokens - 1, -1)
    by: Any = fields.one_of("by", ("part", "head", "source", "neuron"), "part")
    found = run.inside.attribution(target, against, position, by)
    chosen = np.sort(np.argsort(-np.abs(found.parts), kind="stable")[:PARTS])
    told = [target] if against is None else [target, against]
    return {"target": target, "against": against, "position": found.position, "logit": found.logit,
            "parts": [{"name": found.names[k], "value": float(found.parts[k])} for k in chosen],
            "others": float(np.delete(found.parts, chosen).sum()), "bound": found.bound,
            "texts": texts_of(page.lm.tokenizer, told)}


def neurons(page: Page, name: str, body: Any) -> NeuronsAnswer:
    """POST /api/run/R/neurons"""
    run = page.runs[name]
    fields = Fields("neurons", body, ["layer", "position", "top"])
    layers, tokens = page.lm.model.layers, len(run.ids)
    layer = fields.integer("layer", -layers, layers - 1) % layers
    position = fields.integer("position", -tokens, tokens - 1, -1) % tokens
    found = run.inside.neurons(layer, position, fields.integer("top", 1, TOP, 20))
    act = page.lm.model.steps()[f"h.{layer}.mlp.act"]
    before = run.activation(act.of)[position]  # type: ignore[union-attr]
    every = [{"neuron": one.neuron, "before": float(before[one.neuron]), "activation": one.activation,
              "promoted": [t for t, _, _ in one.promoted], "suppressed": [t for t, _, _ in one.suppressed]}
             for one in found]
    told = {t for one in every for t in (*one["promoted"], *one["suppressed"])}
    return {"layer": layer, "position": position, "neurons": every, "texts": texts_of(page.lm.tokenizer, told)}
