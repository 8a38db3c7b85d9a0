"""Who may ask: a wrapper around the app that holds every request against host, origin, key and size.

The server is reached from this machine alone, but so is it by every page that its browser shows: a foreign page must
neither read nor start anything. What protects, each by itself: the key, which only the address printed at the start
has, behind the # that browsers never send; `Host`, against names that are made to point here; `Origin` and
`Sec-Fetch-Site`, by which browsers say where a request comes from; JSON as the only type of a body, which foreign pages
cannot send unasked.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import Any

from nextword.files.json_text import json_text
from nextword.page.asgi import among, bounded, headers_of, is_json, names_us, says_more
from nextword.page.errors import Refused
from nextword.page.fields import BODY

HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)
POLICY = ("default-src 'none'; script-src 'self' {}; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
          "base-uri 'none'; form-action 'none'; frame-ancestors 'none'")


class Guarded:
    """An ASGI app that passes on what may be asked. names: of the host, with port; scripts: hashes for the policy."""

    def __init__(self, app: Any, key: str, names: Iterable[str], scripts: Iterable[str]) -> None:
        self._app, self._key = app, key.encode()
        self._names = {name.lower().encode() for name in names}
        self._origins = {b"http://" + name for name in self._names}
        policy = POLICY.format(" ".join(scripts)).replace("  ", " ").replace(" ;", ";")
        self._headers = [*HEADERS, (b"content-security-policy", policy.encode())]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # a WebSocket: the page has none
            await send({"type": "websocket.close", "code": 1008})
            return

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *self._headers]}
            await send(message)

        try:
            self._check(scope)
        except Refused as error:
            await refuse(error, with_headers)
            return
        await self._app(scope, bounded(receive, BODY, too_large), with_headers)

    def _check(self, scope: Any) -> None:
        """Raises Refused for what must not be asked."""
        headers = headers_of(scope)
        if not names_us(headers, self._names):
            raise Refused("host", "this server answers to its own address alone")
        changes = scope["method"] not in ("GET", "HEAD")
        api = scope["path"].startswith("/api/")
        if not (api or changes):
            return
        if not among(headers, b"origin", self._origins) or not among(headers, b"sec-fetch-site", (b"same-origin",)):
            raise Refused("origin", "this server answers to its own page alone")
        given = headers.get(b"x-nextword-key", [])
        if len(given) != 1 or not hmac.compare_digest(given[0], self._key):
            raise Refused("key", "the key is missing or wrong; open the address that nextword explain printed")
        if changes:
            if not is_json(headers):
                raise Refused("not_json", "the body must be application/json")
            if says_more(headers, BODY):
                raise too_large()


def too_large() -> Refused:
    """The error of a body of more than `BODY` bytes."""
    return Refused("too_large", f"the body must have at most {BODY} bytes", most=BODY)


async def refuse(error: Refused, send: Any) -> None:
    """Answer with an error."""
    body = json_text(error.answer()).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()),
               (b"cache-control", b"no-store"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
