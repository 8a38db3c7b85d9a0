"""Models, health, metrics and the description of the API: answered by the event loop, whatever the models do."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from nextword.serve import answers, metrics
from nextword.serve.exchange import Exchange
from nextword.serve.jobs import shutting_down
from nextword.serve.served import Served
from nextword.serve.state import State

MODELS = "/v1/models/"


def _card(served: Served) -> answers.ModelCard:
    return answers.ModelCard(served.name, served.created, served.window)


async def models(exchange: Exchange, state: State, asked: None) -> None:
    """All models."""
    await exchange.answer(answers.Models([_card(one) for one in state.models.values()]))


async def model(exchange: Exchange, state: State, asked: None) -> None:
    """The model that the path names."""
    await exchange.answer(_card(state.model(exchange.path.removeprefix(MODELS))))


async def live(exchange: Exchange, state: State, asked: None) -> None:
    """That the process answers."""
    await exchange.answer(answers.Health("draining" if state.draining else "ok"))


async def ready(exchange: Exchange, state: State, asked: None) -> None:
    """That requests are taken."""
    if state.draining:
        raise shutting_down()
    await exchange.answer(answers.Health("ok"))


async def page(exchange: Exchange, state: State, asked: None) -> None:
    """The metrics, for Prometheus."""
    await exchange.answer(state.metrics.text(_now(state)).encode(), kind=metrics.TYPE)


GAUGES = (("running", "rows in slots", "running"), ("waiting", "rows that wait for slots", "waiting"),
          ("slots", "rows that run at once, at most", "slots"), ("kv_bytes", "bytes for keys and values", "kv_bytes"))
COUNTERS = (("prefix_hits_total", "prompts of which a beginning was held", "hits"),
            ("passes_total", "passes through the model", "passes"),
            ("pass_seconds_total", "seconds of passes", "seconds"), ("cancelled_total", "jobs cancelled", "cancelled"),
            ("rejected_total", "jobs that found the queue full", "rejected"),
            ("failed_total", "jobs that ended by an error", "failed"))
KINDS = (("prompt", "prompt_tokens"), ("generated", "generated_tokens"), ("cached", "cached_tokens"))


def _now(state: State) -> Iterator[Any]:
    for name, served in state.models.items():
        stats, label = served.engine.stats(), ("model", name)
        told = [(GAUGES, "gauge"), (COUNTERS, "counter")]
        for rows, kind in told:
            for metric, help, field in rows:
                yield metric, kind, help, (label,), lambda stats=stats, field=field: getattr(stats, field)
        for kind, field in KINDS:
            yield ("tokens_total", "counter", "tokens by what was done for them", (label, ("kind", kind)),
                   lambda stats=stats, field=field: getattr(stats, field))


async def openapi(exchange: Exchange, state: State, asked: None) -> None:
    """The description of this API."""
    await exchange.answer(_description())


@cache
def _description() -> bytes:
    return files("nextword.serve").joinpath("openapi.json").read_bytes()
