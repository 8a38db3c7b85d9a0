"""Turn: a lock that several threads hold one after the other, who asked first first."""

import threading
from collections import deque
from types import TracebackType


class Turn:
    """`with turn:` waits until all who asked before have had their turn. Not for a thread that holds it already.

    A plain lock goes to whoever is awake, which mostly is the thread that has just given it back: one that computes
    pass after pass would shut the others out.

    >>> turn = Turn()
    >>> with turn:
    ...     print("mine")
    mine
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held = False
        self._waiting: deque[threading.Event] = deque()

    def __enter__(self) -> None:
        with self._lock:
            if not self._held:
                self._held = True
                return
            mine = threading.Event()
            self._waiting.append(mine)
        try:
            mine.wait()
        except BaseException:  # an interrupt: whoever is next must not wait for this one
            with self._lock:
                waits = not mine.is_set()
                if waits:
                    self._waiting.remove(mine)
            if not waits:
                self.__exit__(None, None, None)
            raise

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._held = False
