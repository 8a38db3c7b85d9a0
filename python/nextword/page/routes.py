"""What answers a call that does not come over HTTP: the tables of `table.py` by method and path."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from nextword.page.calls import Page
from nextword.page.errors import Refused
from nextword.page.table import CALLS, READS, RUN_CALLS, RUN_STREAMS, STREAMS

PATH = 4096  # characters of a path with its query


class Route(NamedTuple):
    """A call: what waits with it (`turns.LANES`), what answers it, whether by events."""

    lane: str
    function: Callable[[Page, Any], Any]  # page, body -> answer or iterator of events
    streams: bool = False


def route_of(method: Any, path: Any) -> Route:
    """The call of a method and a path as the page writes it. Raises Refused where there is none.

    >>> route_of("POST", "/api/generate").streams, route_of("GET", "/api/run/0123456789abcdef/heads?size=8").lane
    (True, 'read')
    """
    if not (isinstance(method, str) and isinstance(path, str)) or len(path) > PATH:
        raise Refused("not_found", "there is no such call")
    where = urlsplit(path)
    found = re.fullmatch(r"/api/(?:run/([0-9a-f]{16})/)?([a-z_]+)", where.path)
    run, name = (found[1], found[2]) if found else (None, "")
    if method == "GET" and run is None and name == "model":
        return Route("read", lambda page, body: page.model())
    if method == "GET" and run is not None and name in READS:
        read, query = READS[name], dict(parse_qsl(where.query, keep_blank_values=True))
        return Route("read", lambda page, body: read(page, run, query))
    if method == "POST" and run is None and name in CALLS:
        return Route("run", CALLS[name])
    if method == "POST" and run is not None and name in RUN_CALLS:
        call = RUN_CALLS[name]
        return Route("run", lambda page, body: call(page, run, body))
    if method == "POST" and run is None and name in STREAMS:
        return Route("run", STREAMS[name], streams=True)
    if method == "POST" and run is not None and name in RUN_STREAMS:
        stream = RUN_STREAMS[name]
        return Route("run", lambda page, body: stream(page, run, body), streams=True)
    raise Refused("not_found", f"there is no {method[:10]} {path[:80]}")
