"""The page over HTTP: the routes of `table.py` as an ASGI app. Who may ask is `guarded.py`'s, the numbers `calls.py`'s.

Every request below /api/ has the key as the header `X-Nextword-Key`; bodies are JSON (`Content-Type:
application/json`).
JSON answers are as `answers.py` says; arrays come as bytes with the header `X-Tensor`; streams are server-sent events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from nextword.files.json_text import json_text
from nextword.page import fields
from nextword.page.asgi import disconnected
from nextword.page.calls import Page
from nextword.page.errors import Refused, refused
from nextword.page.files import INDEX, File, files, hashes, index
from nextword.page.guarded import Guarded
from nextword.page.table import CALLS, READS, RUN_CALLS, RUN_STREAMS, STREAMS
from nextword.page.tensors import Binary
from nextword.page.turns import Turns, Work

Request = Any  # starlette's, which is imported where it is used
END = object()


def app_of(page: Page, key: str, port: int, hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")) -> Any:
    """The ASGI app of a page. key: what requests must have; port, hosts: where it is reached.

    Raises ImportError with the way out where starlette is not installed.
    """
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.routing import Route

    routes = [Route("/", static(INDEX)), *(Route(f"/page/{name}", static(name)) for name in files())]
    turns = Turns()

    def add(path: str, method: str, lane: str, function: Callable[..., Any], reply: Any = answer) -> None:
        routes.append(Route(f"/api/{path}", partial(reply, lane, function), methods=[method]))

    def add_all(page: Page, before: str) -> None:
        add(f"{before}model", "GET", "read", lambda request, body: page.model())
        for calls, reply in ((CALLS, answer), (STREAMS, events)):
            for name, call in calls.items():
                add(f"{before}{name}", "POST", "run", lambda request, body, call=call: call(page, body), reply)
        for run_calls, reply in ((RUN_CALLS, answer), (RUN_STREAMS, events)):
            for name, run_call in run_calls.items():
                add(f"{before}run/{{run}}/{name}", "POST", "run", lambda request, body, call=run_call:
                    call(page, request.path_params["run"], body), reply)
        for name, read in READS.items():
            add(f"{before}run/{{run}}/{name}", "GET", "read", lambda request, body, read=read:
                read(page, request.path_params["run"], request.query_params))

    add_all(page, "")
    if page.against is not None:
        add_all(page.against, "against/")
    app = Starlette(routes=routes, exception_handlers={HTTPException: unknown})
    app.state.turns = turns
    names = [f"{host}:{port}" for host in hosts] + (list(hosts) if port == 80 else [])
    return Guarded(app, key, names, hashes(index()))


def static(name: str) -> Any:
    """An endpoint that gives a file."""
    from starlette.responses import Response

    async def endpoint(request: Request) -> Response:
        file: File = files()[name]
        headers = {"etag": file.tag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == file.tag:
            return Response(status_code=304, headers=headers)
        return Response(file.data, media_type=file.kind, headers=headers)

    return endpoint


async def unknown(request: Request, error: Exception) -> Any:
    """What has no route."""
    code = "method" if getattr(error, "status_code", 404) == 405 else "not_found"
    return failure(Refused(code, f"there is no {request.method} {request.url.path[:80]}"))


def failure(error: BaseException) -> Any:
    """An error as a response. What is no one's argument is a fault of the program, and goes to the log as well."""
    from starlette.responses import Response

    said = refused(error)
    if said.code == "internal":
        import logging

        logging.getLogger("nextword.page").error("a request failed", exc_info=error)
    return Response(json_text(said.answer()), said.status, media_type="application/json",
                    headers={"cache-control": "no-store"})


async def asked(request: Request) -> tuple[Any, asyncio.Future[Any]]:
    """The body of a request, and what is done once its client is gone."""
    body = fields.parsed(request.url.path, await request.body()) if request.method == "POST" else None
    return body, asyncio.ensure_future(disconnected(request.receive))


async def answer(lane: str, function: Callable[..., Any], request: Request) -> Any:
    """An endpoint that answers with JSON or bytes."""
    from starlette.responses import Response

    gone = None
    try:
        body, gone = await asked(request)
        async with request.app.state.turns.take(lane, gone):
            found = await Work(gone).do(lambda: encoded(function(request, body)))
    except Exception as error:
        return failure(error)
    finally:
        if gone is not None:
            gone.cancel()
    data, kind, more = found
    return Response(data, media_type=kind, headers={"cache-control": "no-store", **more})


def encoded(found: Any) -> tuple[bytes, str, dict[str, str]]:
    """An answer as bytes, their type and further headers."""
    if isinstance(found, Binary):
        return found.data, "application/octet-stream", {"x-tensor": json_text(found.header)}
    return json_text(found, ensure_ascii=False, separators=(",", ":")).encode(), "application/json", {}


async def events(lane: str, function: Callable[..., Any], request: Request) -> Any:
    """An endpoint that answers with server-sent events. What is wrong with the request is an error as of any other."""
    try:
        body, gone = await asked(request)
    except Exception as error:
        return failure(error)
    return Events(lane, partial(function, request, body), request, gone)


class Events:
    """A response: the events of an iterator, each sent as it comes; it goes no further once the client is gone."""

    def __init__(self, lane: str, begin: Callable[[], Any], request: Request, gone: asyncio.Future[Any]) -> None:
        self._lane, self._begin, self._request, self._gone = lane, begin, request, gone

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send them."""
        begun = False

        async def event(name: str, data: Any) -> None:
            text = f"event: {name}\ndata: {json_text(data, ensure_ascii=False)}\n\n"
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})

        try:
            async with self._request.app.state.turns.take(self._lane, self._gone):
                work = Work(self._gone)
                steps = iter(await work.do(self._begin))
                begun = True
                headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store")]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                while (step := await work.do(next, steps, END)) is not END:
                    await event(*step)
        except Exception as error:
            if not begun:
                await failure(error)(scope, receive, send)
                return
            await event("error", refused(error).answer()["error"])
        finally:
            self._gone.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})
