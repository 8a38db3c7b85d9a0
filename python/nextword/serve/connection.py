"""A connection of the server: there are so many at once, and a request must come in time. Reads no request itself."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

from nextword.page.asgi import headers_of
from nextword.serve import bounds
from nextword.serve.errors import Refused
from nextword.serve.exchange import Exchange
from nextword.serve.guard import OPEN
from nextword.serve.pace import Paced


class Connection(Paced):
    """A connection whose next request must be there, with all its headers, in time.

    Beyond `bounds.CONNECTIONS` of them a new one is told so and closed, but for paths that say whether the server
    lives; beyond twice as many it is closed without a word.
    """

    app: Any
    _timer: Any = None

    def connection_made(self, transport: Any) -> None:
        """One more."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(bounds.HEADER_SECONDS, self._late)
        there = len(self.connections)
        self.app = _Bounded(self.app, transport, self.connections if there > bounds.CONNECTIONS else ())
        if there > 2 * bounds.CONNECTIONS:
            transport.close()

    def data_received(self, data: bytes) -> None:
        """Something came."""
        super().data_received(data)
        waits = self.cycle is None or self.cycle.response_complete
        if not waits and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        elif waits and self._timer is None:
            self._timer = self.loop.call_later(bounds.HEADER_SECONDS, self._late)

    def connection_lost(self, exc: Any) -> None:
        """One less."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _late(self) -> None:
        self._timer = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


class _Bounded:
    """The app of a connection. beside: all connections, for one that came beyond the bound: as long as they are so many
    it is told so."""

    def __init__(self, app: Any, transport: Any, beside: Sized) -> None:
        self._app, self._transport, self._connections = app, transport, beside

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope["nextword.abort"], scope["nextword.closing"] = self._transport.abort, self._transport.is_closing
        if scope["type"] != "http" or scope["path"] in OPEN or len(self._connections) <= bounds.CONNECTIONS:
            await self._app(scope, receive, send)
        else:
            said = Refused(503, f"the server has {bounds.CONNECTIONS} connections, as many as it takes", None,
                           "too_many_connections", (("retry-after", "1"), ("connection", "close")))
            exchange = Exchange(scope, receive, send, headers_of(scope))
            await exchange.answer(said.answer(), said.status, headers=said.headers)
