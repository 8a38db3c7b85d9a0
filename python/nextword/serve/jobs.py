"""Texts that a request generates: submitted to the engine, heard of on the event loop, cancelled once nobody waits."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from concurrent.futures import CancelledError
from functools import partial
from typing import Any

from nextword.decoding.admission import QueueFull
from nextword.decoding.job import Closed, Event, Job
from nextword.decoding.results import Generation
from nextword.decoding.settings import Sampling
from nextword.machine import memory
from nextword.serve.bounds import ENTRY
from nextword.serve.errors import Refused, refused
from nextword.serve.exchange import Exchange, aside
from nextword.serve.metrics import Metrics
from nextword.serve.served import Served
from nextword.serve.state import State
from nextword.tasks.async_stream import mailbox

LEAVING = "the client went away"


class Running:
    """A job and what is heard of it."""

    def __init__(self, exchange: Exchange, metrics: Metrics) -> None:
        self._exchange, self._metrics = exchange, metrics
        self._box = mailbox()
        self._heard: deque[Sequence[Event]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._last: dict[int, float] = {}  # when a row last told of tokens
        self.job: Job | None = None

    def hear(self, events: Sequence[Event]) -> object:
        """What the engine calls on its thread; it wakes the loop once a pass for all jobs."""
        return self._box.put(partial(self._add, events))

    def _add(self, events: Sequence[Event]) -> None:
        self._heard.append(events)
        self._wake()

    def _wake(self, _: object = None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def passes(self, fields: tuple[str, ...] = ()) -> AsyncIterator[Sequence[Event]]:
        """The events of each pass, until all rows have ended. Raises Refused. fields: see `refused`."""
        assert self.job is not None
        left = len(self.job.rows)
        self._exchange.gone.add_done_callback(self._wake)
        while left:
            events = await self._next()
            for event in events:
                if event.error is not None:
                    raise engine_error(event.error, fields)
                left -= event.result is not None
                self._time(event)
            yield events

    def results(self) -> list[Generation]:
        """What became of the rows, once `passes` has ended."""
        assert self.job is not None
        return [one for one in self.job.results if one is not None]

    async def _next(self) -> Sequence[Event]:
        while not self._heard:
            if self._exchange.gone.done():
                raise Refused(499, LEAVING, None, "cancelled")
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._heard.popleft()

    def _time(self, event: Event) -> None:
        if not event.tokens:
            return
        now = time.perf_counter()
        before = self._last.get(event.row)
        if before is None:
            self._metrics.observe("time_to_first_token_seconds", "from a request to each text's first token",
                                  now - self._exchange.started)
        else:
            self._metrics.observe("inter_token_seconds", "between the tokens of a text",
                                  (now - before) / len(event.tokens))
        self._last[event.row] = now


@contextlib.asynccontextmanager
async def running(exchange: Exchange, state: State, served: Served, prompts: list[list[int]], settings: Sampling,
                  ends: frozenset[int], priority: int, user: str, fields: tuple[str, ...]) -> AsyncIterator[Running]:
    """A job of these prompts, cancelled at the end of the block unless it has ended. ends: the tokens that end a text.
    Raises Refused."""
    metrics, rows = state.metrics, len(prompts) * max(settings.n, settings.best_of or 1)
    one = Running(exchange, metrics)
    _affordable(prompts, settings)
    with state.texts(exchange.client, rows):
        try:
            one.job = await aside(lambda: served.engine.submit(
                prompts, settings, f"{exchange.client}/{user}", priority, one.hear, eos=sorted(ends), op="completions"))
        except Exception as error:
            raise engine_error(error, fields) from error
        exchange.checked()
        try:
            yield one
        finally:
            one.job.cancel()
            if one.job.admitted is not None:
                metrics.observe("request_queue_seconds", "from submission to the first slot",
                                one.job.admitted - one.job.submitted)


def _affordable(prompts: list[list[int]], settings: Sampling) -> None:
    """Raises MemoryError where there is no memory for the log-probabilities of an answer."""
    new, old = settings.logprobs, settings.prompt_logprobs
    if new is None and old is None:
        return
    entries = 0 if new is None else len(prompts) * settings.n * settings.max_new_tokens * (2 + new)
    entries += 0 if old is None else settings.n * sum(map(len, prompts)) * (2 + old)
    memory.require("completions", f"an answer of {entries:,} log-probabilities", entries * ENTRY,
                   "ask for fewer prompts, texts, tokens or logprobs")


def engine_error(error: BaseException, fields: tuple[str, ...] = ()) -> Refused:
    """What an error of an engine becomes."""
    if isinstance(error, QueueFull):
        wait = str(max(1, math.ceil(error.seconds)))
        return Refused(429, str(error), None, "queue_full", (("retry-after", wait),))
    if isinstance(error, Closed):
        return shutting_down()
    if isinstance(error, CancelledError):
        return Refused(499, LEAVING, None, "cancelled")
    return refused(error, fields)


def shutting_down() -> Refused:
    """The error of a server that ends."""
    return Refused(503, "the server is shutting down", None, "shutting_down", (("retry-after", "5"),))


async def work(exchange: Exchange, served: Served, steps: Iterable[Any]) -> list[Any]:
    """What an iterator gives, step by step in turns with the engine's passes. Raises Refused."""
    try:
        future = asyncio.wrap_future(served.engine.run(steps))
    except (Closed, QueueFull) as error:
        raise engine_error(error) from None
    exchange.checked()
    try:
        await asyncio.wait({future, exchange.gone}, return_when=asyncio.FIRST_COMPLETED)
        if not future.done():
            raise Refused(499, LEAVING, None, "cancelled")
        found: list[Any] = future.result()
        return found
    except (RuntimeError, ValueError, MemoryError, asyncio.CancelledError) as error:
        if isinstance(error, asyncio.CancelledError) and not future.done():
            raise
        raise engine_error(CancelledError() if isinstance(error, asyncio.CancelledError) else error) from error
    finally:
        future.cancel()
