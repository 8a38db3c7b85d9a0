"""AsyncStream: a job of an engine as an event loop sees it: awaited, or read piece by piece."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from functools import partial
from typing import Any

from nextword.decoding.explain import Step
from nextword.decoding.job import Event, Job
from nextword.decoding.results import Generation


class Mailbox:
    """What other threads want to be called on an event loop, which is woken once for all of it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._lock = threading.Lock()
        self._calls: list[Callable[[], None]] = []

    def put(self, call: Callable[[], None]) -> Callable[[], None]:
        """From any thread. Returns what wakes the loop; an engine calls that once a pass."""
        with self._lock:
            self._calls.append(call)
        return self.wake

    def wake(self) -> None:
        """Let the loop look. Raises RuntimeError where it has ended."""
        loop = self._loop()
        try:
            if loop is None:
                raise RuntimeError("the event loop has ended")
            loop.call_soon_threadsafe(self._look)
        except RuntimeError:
            with self._lock:
                self._calls.clear()
            raise

    def _look(self) -> None:
        with self._lock:
            calls, self._calls = self._calls, []
        for call in calls:
            call()


_boxes: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Mailbox] = weakref.WeakKeyDictionary()


def mailbox() -> Mailbox:
    """That of the running event loop."""
    loop = asyncio.get_running_loop()
    return _boxes.setdefault(loop, Mailbox(loop))


async def awaited(job: Job) -> list[Generation]:
    """Let a prepared job join, and wait for the results of all of its rows. Who is cancelled meanwhile cancels it."""
    box, done = mailbox(), asyncio.get_running_loop().create_future()

    def settle(error: BaseException | None) -> None:
        if not done.done():
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(_of_asyncio(error))

    def hear(events: Sequence[Event]) -> object:
        error = events[-1].error
        return box.put(partial(settle, error)) if error is not None or not job.left else None

    job.hear = hear
    job.start()
    if not job.rows:
        return []
    try:
        await done
    except BaseException:
        job.cancel()
        raise
    return [result for result in job.results if result is not None]


class _Told:
    """What has been told and not read yet. The engine knows this alone, so that a stream that is dropped ends."""

    def __init__(self) -> None:
        self.pieces: deque[Any] = deque()
        self.ended = False
        self.error: BaseException | None = None
        self.waiter: asyncio.Future[None] | None = None

    def add(self, events: Sequence[Event], texts: bool) -> None:
        if self.ended:  # by its reader
            return
        for event in events:
            self.error = event.error
            self.ended = self.ended or event.result is not None or event.error is not None
            if texts:
                self.pieces += [event.text] if event.text else []
            else:
                self.pieces += [token if isinstance(token, int) else token.token for token in event.tokens]
        self.wake()

    def wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class AsyncStream:
    """Yields pieces of text as they come (token ids for a model without a vocabulary), to one task at a time.

    It begins with the first piece that is asked for. `result` is the Generation, there once the stream has ended.
    """

    def __init__(self, job: Job) -> None:
        self._job, self._told, self._begun = job, _Told(), False

    def __aiter__(self) -> AsyncStream:
        return self

    async def __anext__(self) -> Any:
        told = self._told
        if told.waiter is not None:
            raise RuntimeError("astream: another task reads it; make a stream for each")
        if not self._begun:
            self._begin()
        while not told.pieces:
            if told.error is not None:
                error, told.error = told.error, None
                raise _of_asyncio(error)
            if told.ended:
                raise StopAsyncIteration
            told.waiter = asyncio.get_running_loop().create_future()
            try:
                await told.waiter
            except BaseException:
                self._end()
                raise
            finally:
                told.waiter = None
        return told.pieces.popleft()

    def _begin(self) -> None:
        self._begun = True
        if self._told.ended:
            return
        box, told, texts = mailbox(), self._told, self._job.rows[0].decoder is not None
        self._job.hear = lambda events: box.put(partial(told.add, events, texts))
        try:
            self._job.start()
        except BaseException:
            told.ended = True
            raise

    def _end(self) -> None:
        if not self._told.ended:
            self._told.ended = True
            self._told.pieces.clear()
            if self._begun:
                self._job.cancel()

    async def aclose(self) -> None:
        """End the text; there are no more pieces."""
        self._end()
        self._told.error = None
        self._told.wake()

    def __del__(self) -> None:
        if self._begun:
            self._job.cancel()

    @property
    def steps(self) -> list[Step]:
        """With explain=True: why each token so far was chosen."""
        return self._job.rows[0].steps

    @property
    def result(self) -> Generation:
        """The whole generation; raises RuntimeError before the stream has ended."""
        found = self._job.results[0]
        if found is None:
            raise RuntimeError("astream: result is there once the stream is exhausted; read it to its end first")
        return found


def _of_asyncio(error: BaseException) -> BaseException:
    """An error as tasks know it."""
    return asyncio.CancelledError() if isinstance(error, CancelledError) else error
