"""One thing at a time: the model works for one request, a few wait, and more are told to come again."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from nextword.machine.stop import Stop
from nextword.page.errors import Refused
from nextword.page.stopping import until

Result = TypeVar("Result")
LANES = {"run": 4, "read": 64}  # how many wait: for what runs the model, and for what reads a run


class Turns:
    """Whose turn it is. Used from one event loop."""

    def __init__(self) -> None:
        self._busy = False
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []  # first come, first served

    @asynccontextmanager
    async def take(self, lane: str, gone: asyncio.Future[Any]) -> AsyncIterator[None]:
        """A turn, once it comes. Raises Refused "busy" where too many wait, "cancelled" once `gone` is done."""
        if self._busy:
            await self._wait(lane, gone)
        self._busy = True
        try:
            yield
        finally:
            self._next()

    async def _wait(self, lane: str, gone: asyncio.Future[Any]) -> None:
        before = sum(one == lane for one, _ in self._waiting)
        if before >= LANES[lane]:
            raise Refused("busy", f"{before} requests wait already; try again", waiting=before)
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = (lane, mine)
        self._waiting.append(place)
        try:
            await asyncio.wait({mine, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not mine.done():
                raise Refused("cancelled", "the client went away")
        except BaseException:
            if mine.done():  # it came, and is not taken
                self._next()
            else:
                self._waiting.remove(place)
            raise

    def _next(self) -> None:
        """Hand the turn on: it stays busy for whoever waits longest."""
        if self._waiting:
            self._waiting.pop(0)[1].set_result(None)
        else:
            self._busy = False


class Work:
    """A request's work, step by step on threads in one context, until the client is gone."""

    def __init__(self, gone: asyncio.Future[Any]) -> None:
        self._gone, self._stop, self._context = gone, Stop(), contextvars.copy_context()

    async def do(self, function: Callable[..., Result], *args: Any) -> Result:
        """What a function gives. Raises Refused "cancelled" where the client went away meanwhile."""
        step = asyncio.get_running_loop().run_in_executor(None, self._context.run, partial(self._run, function, *args))
        try:
            await asyncio.wait({step, self._gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not step.done():
                self._stop.set()
                await asyncio.wait({step})
        return step.result()

    def _run(self, function: Callable[..., Result], *args: Any) -> Result:
        with until(self._stop):
            return function(*args)
