"""Work that ends when nobody waits for it any more: at the next activation that a model shows, or the next check."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy
from typing import Any, TypeVar

from nextword.models.model import Model
from nextword.models.trace import Tap
from nextword.page.errors import Refused

_stop: ContextVar[threading.Event | None] = ContextVar("nextword.page.stop", default=None)
SomeModel = TypeVar("SomeModel", bound=Model)


@contextmanager
def until(stop: threading.Event) -> Iterator[None]:
    """Work in this block ends once the event is set."""
    token = _stop.set(stop)
    try:
        yield
    finally:
        _stop.reset(token)


def check() -> None:
    """Raises Refused "cancelled" once the event of the innermost `until` is set."""
    event = _stop.get()
    if event is not None and event.is_set():
        raise Refused("cancelled", "the client went away")


class Watched(Tap):
    """Another tap that checks, at each activation, whether to go on."""

    def __init__(self, tap: Tap) -> None:
        self._tap, self.looks, self.replaces, self.wants = tap, tap.looks, tap.replaces, tap.wants  # type: ignore[method-assign]

    def __call__(self, name: str, x: Any) -> Any:
        """Check, then pass on."""
        check()
        return self._tap(name, x)


def stoppable(model: SomeModel) -> SomeModel:
    """A model of the same parts, whose passes under a tap check whether to go on; its bits are the same."""
    kind: Any = type(model)

    class Stoppable(kind):  # type: ignore[misc]
        def graph(self, inputs: Any, past: Any, tap: Tap) -> Any:
            check()
            return super().graph(inputs, past, Watched(tap) if tap.looks else tap)

    other = copy(model)
    other.__class__ = Stoppable
    return other
