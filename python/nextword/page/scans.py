"""The calls of the page that change a run part by part, and tell what each does: events as the numbers come."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from nextword.inside import ablations
from nextword.page.calls import Page
from nextword.page.errors import Refused
from nextword.page.fields import Fields
from nextword.page.runs import Run
from nextword.page.steps import Event
from nextword.page.stopping import check
from nextword.page.texts import texts_of

STRETCH = 64  # numbers of an event
LAYERS = 1000


def scan(page: Page, name: str, body: Any) -> Iterator[Event]:
    """POST /api/run/R/scan"""
    run = _plain(page, "scan", name)
    fields = Fields("scan", body, ["over", "target", "measure", "how", "layers"])
    over: Any = fields.one_of("over", ablations.OVERS, "heads")
    measure: Any = fields.one_of("measure", ("logit", "logprob", "kl"), "logit")
    how: Any = fields.one_of("how", ("zero", "mean"), "zero")
    target = page.token(fields, "target") if fields.has("target") else int(run.last.argmax())
    found = ablations.scan(page.lm, run.ids, target, over, measure, layers=_layers(page, fields), how=how)

    def rows() -> Iterator[Event]:
        for layer in found.layers:
            for first in range(0, len(found.cols), STRETCH):
                check()
                some = islice(found.changes, min(STRETCH, len(found.cols) - first))
                yield "row", {"layer": layer, "first": first, "values": list(some)}
        yield "end", {"target": target, "before": found.before, "texts": texts_of(page.lm.tokenizer, [target])}

    return rows()


def patch(page: Page, name: str, body: Any) -> Iterator[Event]:
    """POST /api/run/R/patch"""
    run = _plain(page, "patch", name)
    fields = Fields("patch", body, ["other", "at", "over", "measure", "layers"])
    other = _plain(page, "patch", fields.text("other", 40))
    given = fields.raw("measure")
    if given is not None and (not isinstance(given, list) or len(given) not in (1, 2)):
        raise Refused("bad_argument", "patch: measure must be a list of one or two tokens", argument="measure")
    measure = None if given is None else [page.token(Fields("patch", {"measure": one}, ["measure"]), "measure")
                                          for one in given]
    at: Any = fields.text("at", 40, "resid_post")
    over: Any = fields.one_of("over", ("position", "head", "layer"), "position")
    layers = _layers(page, fields)

    def row(layer: int) -> Any:
        return page.lm.patch(run.ids, other.ids, at, over, measure, layers=[layer], progress=lambda *_: check())

    first = row(layers[0])  # what is wrong with the request is told before the first event

    def rows() -> Iterator[Event]:
        for layer in layers:
            found = first if layer == layers[0] else row(layer)
            yield "row", {"layer": layer, "first": 0, "values": found.values[0].tolist()}
        yield "end", {"measure": list(first.measure), "clean": first.clean, "corrupted": first.corrupted,
                      "texts": texts_of(page.lm.tokenizer, first.measure)}

    return rows()


def _layers(page: Page, fields: Fields) -> list[int]:
    count = page.lm.model.layers
    asked = fields.integers("layers", LAYERS, 0, count - 1) if fields.has("layers") else []
    return sorted(set(asked)) or list(range(count))


def _plain(page: Page, op: str, name: str) -> Run:
    """A run without interventions."""
    run = page.runs[name]
    if run.interventions:
        raise Refused("bad_argument", f"{op}: run must be one without interventions", argument="run")
    return run
