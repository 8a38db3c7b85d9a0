"""Guard: what holds one text at a time refuses a second thread instead of mixing two."""

import threading
from types import TracebackType


class Guard:
    """`with guard:` lets the calling thread in, again too; RuntimeError where another thread is inside.

    what: what is guarded and what to do instead, such as "session: it is in use by another thread; fork it". A copy is
    a new guard.

    >>> guard = Guard("text: it is in use by another thread")
    >>> with guard, guard:
    ...     print("in")
    in
    """

    __slots__ = ("_lock", "_what")

    def __init__(self, what: str) -> None:
        self._what = what
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise RuntimeError(self._what)

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type["Guard"], tuple[str]]:
        return Guard, (self._what,)
