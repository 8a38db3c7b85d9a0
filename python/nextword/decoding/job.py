"""Job: one caller's texts on their way through an engine, as the caller sees them. Runs nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, InvalidStateError
from concurrent.futures import TimeoutError as Late  # another one than Python's own before 3.11
from dataclasses import dataclass, field
from typing import Any

from nextword.decoding.per_prompt import chosen
from nextword.decoding.results import Generation, TokenLogprob
from nextword.decoding.row import Row
from nextword.decoding.seats import Overflow
from nextword.decoding.settings import Sampling

FORKED = ("engine: its thread belongs to the process that made it, and this one was forked from that; make another "
          "with lm.engine()")  # fmt: skip


class Closed(RuntimeError):  # noqa: N818 - a state
    """The engine takes no more work, or was closed before this was done."""


@dataclass(frozen=True, slots=True)
class Event:
    """What is new of a row of a job.

    row: its number among the rows of the job, -1 for an error. text: what was added and is certain. tokens: those that
    were added, with their log-probabilities if they are asked for. result: its Generation once it has ended.
    error: what ended the whole job; CancelledError for one that was cancelled.
    """

    row: int
    text: str
    tokens: Sequence[int | TokenLogprob]
    result: Generation | None = None
    error: BaseException | None = field(default=None)


# What it returns, if that can be called, is called once after all jobs of the pass have heard, however many return it.
Hear = Callable[[Sequence[Event]], object]


class Job:
    """Texts that an engine generates for a caller.

    every: the settings of each prompt. rows: those of all texts of all prompts; those of a prompt follow each other.
    cached: tokens of each row's prompt that did not go through the model, once its text has begun. unwanted: whether it
    has been cancelled. admitted: when its first row got a slot, by `time.perf_counter`; None
    before.
    """

    def __init__(self, engine: Any, every: list[Sampling], rows: list[Row], overflow: Overflow, client: str,
                 priority: int, hear: Hear | None) -> None:
        self.every, self.rows, self.overflow = every, rows, overflow
        self.client, self.priority, self.hear = client, priority, hear
        self.cached = [0] * len(rows)
        self.unwanted = False
        self.submitted = time.perf_counter()
        self.admitted: float | None = None
        self.results: list[Generation | None] = [None] * len(rows)
        self.left = len(rows)  # without a result
        self.future: Future[list[Generation]] = Future()
        if not rows:
            self.future.set_result([])
        self._engine, self._process = engine, os.getpid()  # which lives as long as anybody waits for it

    @property
    def tokens(self) -> int:
        """Tokens of all prompts and texts, at most."""
        return sum(len(row) + row.remaining for row in self.rows)

    @property
    def done(self) -> bool:
        """Whether it has ended, with results, an error or by being cancelled."""
        return self.future.done()

    def start(self) -> None:
        """Let it join its engine, once. Raises QueueFull and Closed."""
        self._engine.enqueue(self)

    def cancel(self) -> None:
        """End it, from any thread: its rows are in no pass after the one that runs, which ends at once if nobody
        else is in it. One that has ended stays so."""
        if self._process == os.getpid() and not self.done:
            self.unwanted = True
            self._engine.cancel(self)

    def result(self, timeout: float | None = None) -> list[Generation]:
        """The Generations of all rows, in their order, once all have ended.

        Raises what a row or the pass raised, CancelledError if the job was cancelled, Closed if its engine was closed
        before; TimeoutError after `timeout` seconds, while the job goes on.
        """
        if self._process != os.getpid() and not self.done:
            raise RuntimeError(FORKED)
        try:
            return self.future.result(timeout)
        except Late:
            if self.done:
                return self.future.result()
            raise TimeoutError(f"engine: the job has not ended within {timeout} s; it goes on") from None

    def chosen(self, timeout: float | None = None) -> list[Any]:
        """What `generate` gives for each prompt: a Generation, or with n > 1 a list, the most probable first if best_of
        chose them. Raises as `result` does."""
        return chosen(self.every, self.rows, self.result(timeout))

    def tell(self, events: Sequence[Event]) -> object:
        """Pass on what is new; with the last row's result the job has ended. What `hear` raises ends it, too. Returns
        what `hear` does."""
        if self.done:
            return None
        after: object = None
        try:
            if self.hear is not None:
                after = self.hear(events)
        except BaseException as error:
            self.hear = None
            settle(self.future, error)
            return None
        if not self.left:
            self.hear = None  # which may know the job: it is to go as soon as nobody wants it
            settle(self.future, None, [result for result in self.results if result is not None])
        return after

    def fail(self, error: BaseException) -> None:
        """End it with an error."""
        if self.done:
            return
        try:
            if self.hear is not None:
                after = self.hear([Event(-1, "", (), None, error)])
                if callable(after):
                    after()
        except BaseException as other:
            error = other
        self.hear = None
        if isinstance(error, CancelledError):
            self.future.cancel()
            self.future.set_running_or_notify_cancel()
        else:
            settle(self.future, error)


def settle(future: Future[list[Any]], error: BaseException | None, found: list[Any] | None = None) -> None:
    """Let those who wait have what was found, or an error, unless one of them has cancelled the future, maybe now."""
    try:
        if error is None:
            future.set_result(found or [])
        else:
            future.set_exception(error)
    except InvalidStateError:
        pass
