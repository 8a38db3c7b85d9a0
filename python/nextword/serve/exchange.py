"""One request and its response, over ASGI: the body within its bounds, answers as JSON, events, and a client that left.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from nextword.page.asgi import Headers, bounded, disconnected
from nextword.serve.bodies import Bodies, Body
from nextword.serve.bounds import BODY, BODY_SECONDS, LARGE, STALLED_SECONDS
from nextword.serve.errors import Refused
from nextword.serve.guard import too_large
from nextword.serve.reading import read

Request = TypeVar("Request", bound=msgspec.Struct)
Pairs = tuple[tuple[str, str], ...]
JSON = "application/json"
NOSNIFF = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))


class Exchange:
    """A request on its way. client: a word for its key; told: what its line in the log says beside the usual.

    bodies: what it shares with others; keeps: whether `told` keeps the body.
    """

    def __init__(self, scope: Any, receive: Any, send: Any, headers: Headers, bodies: Bodies | None = None,
                 keeps: bool = False) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers, self.client = headers, ""
        self.id = request_id(headers)
        self.started = time.perf_counter()
        self.status = 0  # of the response, once it has begun
        self.told: dict[str, Any] = {}
        self._receive, self._send = bounded(receive, BODY, too_large), send
        self._gone: asyncio.Future[Any] | None = None
        self._abort: Callable[[], object] = scope.get("nextword.abort", lambda: None)
        self._closing: Callable[[], bool] = scope.get("nextword.closing", lambda: False)
        self._body: Body = (bodies or Bodies()).one()
        self._keeps, self._whole = keeps, False

    async def body(self, kind: type[Request]) -> Request:
        """The body as a struct. Raises Refused for one that is too large, too slow or wrong."""
        parts: list[bytes] = []
        try:
            async with deadline(BODY_SECONDS):
                more = True
                while more:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise Refused(499, "the client went away", None, "cancelled")
                    parts.append(message.get("body", b""))
                    self._body.grow(len(parts[-1]))
                    more = message.get("more_body", False)
        except TimeoutError:
            raise Refused(408, f"the body must come within {BODY_SECONDS:g} s", None, "timeout") from None
        raw = b"".join(parts)
        self._whole = True
        if self._keeps:
            self.told["body"] = raw
        if len(raw) <= LARGE:
            self._body.decoded()
            return read(kind, raw)
        del parts
        await self._body.turn(self.gone)
        found: Request = await aside(read, kind, raw)
        self._body.decoded()
        return found

    def checked(self) -> None:
        """The body is no longer needed."""
        self._body.checked()

    @property
    def gone(self) -> asyncio.Future[Any]:
        """Done once the client is gone. To be asked for once the body is read."""
        if self._gone is None:
            self._gone = asyncio.ensure_future(disconnected(self._receive))
        return self._gone

    def close(self) -> None:
        """No longer look whether the client is there."""
        self._body.checked()
        if self._gone is not None:
            self._gone.cancel()

    async def answer(self, found: Any, status: int = 200, kind: str = JSON, headers: Pairs = ()) -> None:
        """Send the whole response. found: a struct, or bytes as they are."""
        data = found if isinstance(found, bytes) else msgspec.json.encode(found)
        await self._begin(status, kind, (*headers, ("content-length", str(len(data)))))
        await self._part(data, False)

    async def refuse(self, error: Refused) -> None:
        """Send an error; in a stream that has begun, as its last event."""
        if self.status:
            await self.event(error.answer())
            await self.end()
            return
        left = () if error.status < 400 or self.method in ("GET", "HEAD") else (("connection", "close"),)
        await self.answer(error.answer(), error.status, headers=(*error.headers, *(() if self._whole else left)))

    async def event(self, found: Any) -> None:
        """Send a server-sent event; the first begins the response. Raises Refused where the reader takes nothing."""
        data = found if isinstance(found, bytes) else msgspec.json.encode(found)
        if not self.status:
            await self._begin(200, "text/event-stream; charset=utf-8", ())
        await self._part(b"data: " + data + b"\n\n", True)

    async def end(self) -> None:
        """End the stream."""
        await self._part(b"", False)

    async def _begin(self, status: int, kind: str, headers: Pairs) -> None:
        self.checked()
        self.status = status
        told = (("content-type", kind), ("x-request-id", self.id), *headers)
        pairs = [*NOSNIFF, *((name.encode(), value.encode("latin-1")) for name, value in told)]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})

    async def _part(self, data: bytes, more: bool) -> None:
        if self._closing():  # what is written to it goes nowhere, and asyncio complains of it
            await asyncio.sleep(0)  # so that the server hears of it, too
            raise Refused(499, "the client went away", None, "cancelled")
        try:
            async with deadline(STALLED_SECONDS):
                await self._send({"type": "http.response.body", "body": data, "more_body": more})
        except TimeoutError:
            self._abort()  # to close it would wait for the reader
            raise Refused(499, f"the reader took nothing for {STALLED_SECONDS:g} s", None, "stalled") from None


def request_id(headers: Headers) -> str:
    """The request's own id, if it can be told in a header, or a new one.

    >>> request_id({b"x-request-id": [b"mine-1"]})
    'mine-1'
    """
    given = headers.get(b"x-request-id", [b""])[0]
    plain = 0 < len(given) <= 128 and all(0x21 <= byte < 0x7F for byte in given)
    return given.decode() if plain else f"req-{secrets.token_hex(12)}"


class deadline:  # noqa: N801 - it reads as a function
    """What is awaited in the block takes no longer. Raises TimeoutError."""

    __slots__ = ("_late", "_seconds", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds, self._late = seconds, False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._stop, task)

    def _stop(self, task: asyncio.Task[Any]) -> None:
        self._late = True
        task.cancel()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, at: Any) -> None:
        self._timer.cancel()
        if self._late and kind is asyncio.CancelledError:
            raise TimeoutError from None


async def aside(function: Callable[..., Any], *args: Any) -> Any:
    """What a function gives, worked out on a thread, so that the event loop goes on."""
    return await asyncio.get_running_loop().run_in_executor(None, lambda: function(*args))
