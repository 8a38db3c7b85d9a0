"""Stop: passes through a model that another thread may end, long ones within a hundredth of a second or two."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from nextword._core import Stop, StoppedError

__all__ = ["Stop", "StoppedError", "check", "current", "stopped_by"]

_current: ContextVar[Stop | None] = ContextVar("nextword.machine.stop", default=None)


@contextmanager
def stopped_by(stop: Stop) -> Iterator[Stop]:
    """Passes that this block runs end once any thread has called `stop.set()`: they raise StoppedError, and what is
    held of each sequence is what was held before. `stop.clear()` lets them run again. Of nested blocks the innermost
    counts.

    Signals are looked for as ever. A pass that takes a millisecond or less runs to its end once it has begun.

    >>> import numpy as np
    >>> import nextword
    >>> model = nextword.load().model
    >>> cache = model.cache(1, 32)
    >>> with stopped_by(Stop()) as stop:
    ...     stop.set()  # in a program, another thread does
    ...     try:
    ...         model([np.array([281, 290])], cache)
    ...     except StoppedError as error:
    ...         print(error)
    model: the pass was stopped; what is held of each sequence is what was held before it
    >>> cache.lengths.tolist()
    [0]
    """
    token = _current.set(stop)
    try:
        yield stop
    finally:
        _current.reset(token)


def current() -> Stop | None:
    """What may end passes here: that of the innermost block."""
    return _current.get()


def check() -> None:
    """Raises StoppedError where the pass is to end."""
    stop = _current.get()
    if stop is not None and stop.is_set():
        raise StoppedError("model: the pass was stopped; what is held of each sequence is what was held before it")
