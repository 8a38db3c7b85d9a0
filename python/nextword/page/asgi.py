"""What every server here needs of an ASGI request: its headers, a bounded body, and to notice that its client left."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

Headers = dict[bytes, list[bytes]]


def headers_of(scope: Any) -> Headers:
    """The values of each header, by its name in small letters."""
    found: Headers = {}
    for name, value in scope["headers"]:
        found.setdefault(name.lower(), []).append(value)
    return found


def names_us(headers: Headers, names: Collection[bytes]) -> bool:
    """Whether the request is for one of these hosts, and says so once: names can be made to point here."""
    hosts = headers.get(b"host", [])
    return len(hosts) == 1 and hosts[0].lower() in names


def among(headers: Headers, name: bytes, allowed: Collection[bytes]) -> bool:
    """Whether a header, where there is one, has an allowed value."""
    return all(value.lower() in allowed for value in headers.get(name, []))


def is_json(headers: Headers) -> bool:
    """Whether the body says to be JSON, which foreign pages cannot send unasked."""
    return b"".join(headers.get(b"content-type", [])).split(b";")[0].strip().lower() == b"application/json"


def says_more(headers: Headers, most: int) -> bool:
    """Whether the body is announced as longer than so many bytes, or by what is no number."""
    sizes = headers.get(b"content-length", [])
    return any(not size.isdigit() or len(size) > 9 or int(size) > most for size in sizes)


def bounded(receive: Any, most: int, too_large: Callable[[], Exception]) -> Any:
    """A receiver that gives no more than `most` bytes. Raises `too_large()` for more."""
    size = 0

    async def less() -> Any:
        nonlocal size
        message = await receive()
        if message["type"] == "http.request":
            size += len(message.get("body", b""))
            if size > most:
                raise too_large()
        return message

    return less


async def disconnected(receive: Any) -> None:
    """Wait until the client is gone. To be called once the body is read."""
    while (await receive())["type"] != "http.disconnect":
        pass
