"""The calls of the page as messages: what frames in a notebook ask, and what they are answered.

A message of a frame is {view, id, method, path, body}, body a text of JSON; {view, id, stop: true} ends that call and
{view, stop: true} all of a view that is gone. An answer is {view, id} with `json`; with `header` and a buffer; of a
stream several with `event` and `data`, and one with `done`; or with `error` and `status`. All JSON is text, the same as
over HTTP. Nothing else is answered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from nextword.files.json_text import json_text
from nextword.machine.stop import Stop
from nextword.page.answers import Start
from nextword.page.calls import Page
from nextword.page.errors import Refused, refused
from nextword.page.fields import parsed
from nextword.page.routes import Route, route_of
from nextword.page.stopping import until
from nextword.page.tensors import Binary
from nextword.page.turns import LANES

Reply = Callable[[dict[str, Any], list[bytes]], None]
Key = tuple[str, int]  # of a call: its view and its number there


class Desk:
    """Answers the frames of one page, one call at a time, on a thread of its own. `hear` may be called by any."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._thread = ThreadPoolExecutor(1, "nextword page")
        self._calls: dict[Key, tuple[str, Stop]] = {}  # those that are not answered: lane, what ends them
        self._lock = threading.Lock()

    def hear(self, message: Any, start: Start, reply: Reply) -> None:
        """Take a message. start: what the frame's widget was made with. What is no message of a frame is left alone."""
        told = message if isinstance(message, dict) else {}
        view, number = told.get("view"), told.get("id")
        if not isinstance(view, str) or len(view) > 40:
            return
        if told.get("stop") is True:
            self._stop(view, number)
            return
        if isinstance(number, bool) or not isinstance(number, int):
            return
        key = (view, number)

        def answer(more: dict[str, Any], buffers: list[bytes]) -> None:
            reply({"view": view, "id": number, **more}, buffers)

        try:
            route, body = self._checked(told)
            stop = self._enter(key, route.lane)
        except Refused as error:
            answer(_failure(error), [])
            return
        self._thread.submit(self._work, key, route, body, start, stop, answer)

    def _checked(self, told: dict[str, Any]) -> tuple[Route, Any]:
        route, body = route_of(told.get("method"), told.get("path")), told.get("body", "")
        if not isinstance(body, str):
            raise Refused("not_json", "the body must be a text of JSON")
        return route, parsed(str(told["path"])[:80], body.encode("utf-8", "surrogatepass")) if body else None

    def _enter(self, key: Key, lane: str) -> Stop:
        """Wait for a turn. Raises Refused where too many wait, as the server does."""
        with self._lock:
            before = sum(one == lane for one, _ in self._calls.values()) - 1  # one of them has its turn
            if before >= LANES[lane]:
                raise Refused("busy", f"{before} requests wait already; try again", waiting=before)
            if key in self._calls:
                raise Refused("bad_argument", "a call must have a number of its own", argument="id")
            stop = Stop()
            self._calls[key] = lane, stop
            return stop

    def _stop(self, view: str, number: Any) -> None:
        with self._lock:
            for key, (_, stop) in self._calls.items():
                if key[0] == view and number in (None, key[1]):
                    stop.set()

    def _work(self, key: Key, route: Route, body: Any, start: Start, stop: Stop, answer: Reply) -> None:
        try:
            if stop.is_set():
                raise Refused("cancelled", "the frame is gone")
            with until(stop):
                found = route.function(self._page, body)
                if route.streams:
                    for event, data in found:
                        if stop.is_set():
                            raise Refused("cancelled", "the frame is gone")
                        answer({"event": event, "data": _text(data)}, [])
                    answer({"done": True}, [])
                elif isinstance(found, Binary):
                    answer({"header": _text(found.header)}, [found.data])
                else:
                    answer({"json": _text({**found, "start": start} if "start" in found else found)}, [])
        except Exception as error:
            said = refused(error)
            if said.code == "internal":
                import logging

                logging.getLogger("nextword.page").error("a call failed", exc_info=error)
            answer(_failure(said), [])
        finally:
            with self._lock:
                del self._calls[key]


def _failure(error: Refused) -> dict[str, Any]:
    return {"error": error.answer()["error"], "status": error.status}


def _text(found: Any) -> str:
    return json_text(found, ensure_ascii=False, separators=(",", ":"))
