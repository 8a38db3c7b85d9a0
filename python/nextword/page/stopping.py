"""Work that ends when nobody waits for it any more: at a model's next layer, or the next check."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy
from typing import Any, TypeVar

from nextword.models.model import Model
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


def stoppable(model: SomeModel) -> SomeModel:
    """A model of the same parts that checks at each layer whether to go on; its bits are the same.

    A pass that nobody looks into runs in one call, and is not interrupted.
    """
    kind: Any = type(model)

    class Stoppable(kind):  # type: ignore[misc]
        def block(self, *args: Any) -> Any:
            check()
            return super().block(*args)

    other = copy(model)
    other.__class__ = Stoppable
    return other
