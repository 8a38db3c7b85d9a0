"""The server as an ASGI app: a request is admitted, read, answered, counted and logged. There is no middleware."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Callable
from typing import Any

from nextword.files.json_text import json_text
from nextword.page.asgi import headers_of
from nextword.serve.bodies import Bodies
from nextword.serve.errors import Refused, refused
from nextword.serve.exchange import Exchange
from nextword.serve.guard import Guard
from nextword.serve.jobs import shutting_down
from nextword.serve.state import State
from nextword.serve.table import endpoint

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT")


class App:
    """state: of the server; guard: who may ask; log: takes the line of each request."""

    def __init__(self, state: State, guard: Guard, log: Callable[[str], object]) -> None:
        self.state, self._guard, self._log = state, guard, log
        self._bodies = Bodies()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":  # there are none
                await send({"type": "websocket.close", "code": 1008})
            return
        exchange = Exchange(scope, receive, send, headers_of(scope), self._bodies, self.state.log_prompts)
        name = "other"
        self.state.busy += 1
        try:
            name = await self._answer(exchange)
        except asyncio.CancelledError:
            exchange.told["error"] = "cancelled"
            if not self.state.draining:
                raise
            name = await self._failed(exchange, shutting_down())  # the server's end, which waits no longer
        except Exception as error:
            name = await self._failed(exchange, error)
        finally:
            self.state.busy -= 1
            exchange.close()
            self._told(exchange, name)

    async def _answer(self, exchange: Exchange) -> str:
        found = endpoint(exchange.path)
        exchange.told["endpoint"] = "other" if found is None else found[0]
        exchange.client = self._guard.admit(exchange.method, exchange.path, exchange.headers)
        if found is None:
            raise Refused(404, f"there is no {exchange.path[:100]}", None, "not_found")
        name, one = found
        allowed = ("GET", "HEAD") if one.method == "GET" else ("POST",)
        if exchange.method not in allowed:
            raise Refused(405, f"{name} takes {one.method} alone", None, "method_not_allowed",
                          (("allow", ", ".join(allowed)),))
        if one.works and self.state.draining:
            raise shutting_down()
        asked = None
        if one.body is not None:
            self._guard.body(exchange.headers)
            asked = await exchange.body(one.body)
        await one.does(exchange, self.state, asked)
        return name

    async def _failed(self, exchange: Exchange, error: Exception) -> str:
        said = refused(error)
        if said.status == 500:
            logging.getLogger("nextword.serve").error("a request failed", exc_info=error)
        exchange.told["error"] = said.code
        try:
            if said.status != 499:  # the client is there
                await exchange.refuse(said)
        except (Refused, OSError):
            pass
        return str(exchange.told.get("endpoint", "other"))

    def _told(self, exchange: Exchange, name: str) -> None:
        code = exchange.status if exchange.told.get("error") != "cancelled" else 499
        self.state.metrics.count("requests_total", "requests, by what they asked for and how they ended",
                                 (("code", str(code or 499)), ("endpoint", name)))
        body = exchange.told.pop("body", None)
        line = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "id": exchange.id,
                "client": exchange.client, "method": exchange.method if exchange.method in METHODS else "other",
                **exchange.told, "status": code or 499, "seconds": round(time.perf_counter() - exchange.started, 6)}
        if self.state.log_prompts and body is not None:
            line["body"] = body.decode("utf-8", "replace")
        self._log(json_text(line))


def to_stderr(line: str) -> None:
    """The log's usual place."""
    with contextlib.suppress(OSError, ValueError):  # nobody reads it, the disk is full, or it is closed
        print(line, file=sys.stderr, flush=True)
