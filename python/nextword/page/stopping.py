"""Work that ends when nobody waits for it any more: within a pass through the model, or at the next check."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from typing import Any, TypeVar

from nextword.machine import stop as machine
from nextword.machine.stop import Stop, StoppedError, stopped_by
from nextword.models.model import Model
from nextword.page.errors import Refused

SomeModel = TypeVar("SomeModel", bound=Model)


@contextmanager
def until(stop: Stop) -> Iterator[None]:
    """Work in this block ends once it is set, with Refused "cancelled"."""
    with stopped_by(stop):
        try:
            yield
        except StoppedError:
            raise gone() from None


def check() -> None:
    """Raises Refused "cancelled" once the Stop of the innermost `until` is set."""
    stop = machine.current()
    if stop is not None and stop.is_set():
        raise gone()


def gone() -> Refused:
    """What work ends with that nobody waits for."""
    return Refused("cancelled", "the client went away")


def in_turns(model: SomeModel, turn: AbstractContextManager[Any]) -> SomeModel:
    """A model of the same parts each of whose passes waits for its turn; its bits are the same."""
    kind: Any = type(model)

    class InTurns(kind):  # type: ignore[misc]
        def __call__(self, *args: Any, **more: Any) -> Any:
            with turn:
                return super().__call__(*args, **more)

    other = copy(model)
    other.__class__ = InTurns
    return other
