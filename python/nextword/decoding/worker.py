"""Worker: the thread's side of an engine. It runs a scheduler for the jobs that come, pass by pass."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any

from nextword.decoding.admission import Admission
from nextword.decoding.budget import Budget
from nextword.decoding.job import Closed, Event, Job, settle
from nextword.decoding.results import Timings
from nextword.decoding.scheduler import Scheduler
from nextword.decoding.seats import Seat
from nextword.machine.stop import Stop, StoppedError, stopped_by

Command = Callable[[], None]


class Going:
    """A row that runs: its job and number there, and what has been told and counted of it."""

    __slots__ = ("decode_seconds", "job", "number", "prefill_seconds", "prefill_tokens", "told")

    def __init__(self, job: Job, number: int) -> None:
        self.job, self.number = job, number
        self.told = self.prefill_tokens = 0
        self.prefill_seconds = self.decode_seconds = 0.0


class Work:
    """Work that goes step by step, and what it gave. stop: ends the step that runs."""

    __slots__ = ("found", "future", "steps", "stop")

    def __init__(self, steps: Iterator[Any], future: Future[list[Any]]) -> None:
        self.steps, self.future, self.stop = steps, future, Stop()
        self.found: list[Any] = []
        future.add_done_callback(lambda future: self.stop.set() if future.cancelled() else None)


class Worker:
    """Runs a scheduler for jobs. All but `commands`, what is read for statistics, and `admission.reserve` is its
    thread's own.

    turn: held during a pass. on_pass: is called after each with its seconds and tokens.
    """

    def __init__(self, scheduler: Scheduler, budget: Budget, admission: Admission, turn: AbstractContextManager[Any],
                 on_pass: Callable[[float, int], object] | None) -> None:
        self.scheduler, self.budget, self.admission, self.turn = scheduler, budget, admission, turn
        self.on_pass = on_pass
        self.commands: SimpleQueue[Command] = SimpleQueue()
        self.stop = Stop()  # set by other threads once nobody wants the pass that runs
        self.closed = False  # no more jobs come; set and read under `admission.lock`
        self.failure: BaseException | None = None
        self.stopping: BaseException | None = None  # what ends all jobs that are left, now
        self.draining = False
        self.going: dict[Seat, Going] = {}
        self.works: deque[Work] = deque()
        self.working: Work | None = None  # whose step runs
        self.prompt = self.generated = self.cached = self.hits = self.passes = self.cancelled = self.failed = 0
        self.seconds = 0.0
        self._owed = 0.0  # seconds that the last piece of other work took, less those of passes since

    def run(self) -> None:
        """Until it is told to stop. Whatever ends it ends all jobs, and is told."""
        try:
            while self._turned():
                pass
            self._end(self.stopping or Closed("engine: it was closed"))
        except BaseException as error:
            self.failure = error
            failed = Closed(f"engine: its thread has ended, by {type(error).__name__}: {error}")
            failed.__cause__ = error
            self._end(failed)
            raise

    def _turned(self) -> bool:
        """What has been asked, rows that may come, one pass, a piece of other work. False once it is to stop."""
        self.stop.clear()  # before the commands: who sets it has sent his
        busy = bool(self.admission or self.going or self.works)
        if not busy and self.draining:
            return False
        try:
            self.commands.get(block=not busy)()
            while True:
                self.commands.get_nowait()()
        except Empty:
            pass
        if self.stopping is not None:
            return False
        self._admit()
        if self.going:
            self._pass()
            self.scheduler.parts = []  # whose rows nobody may want by the time of the next pass
        self._work()
        return True

    def _end(self, error: BaseException) -> None:
        """No more jobs come, and those that are there fail."""
        with self.admission.lock:
            self.closed = True
        while True:  # jobs and works whose commands have not been looked at
            try:
                self.commands.get_nowait()()
            except Empty:
                break
        for job in {going.job: None for going in self.going.values()} | dict.fromkeys(self.admission.jobs()):
            self._drop(job, error)
        for work in self.works:
            _close(work.steps)
            settle(work.future, error)
        self.works.clear()

    # Commands

    def stop_unwanted(self) -> None:
        """From any thread: end the pass that runs if all its jobs have been cancelled."""
        if all(going.job.unwanted for going in tuple(self.going.values())):
            self.stop.set()

    def stop_all(self) -> None:
        """From any thread, which has sent the command to stop: end the pass or the step that runs."""
        self.stop.set()
        work = self.working
        if work is not None:
            work.stop.set()

    def cancel(self, job: Job) -> None:
        """A caller wants no more of a job."""
        if not job.done:
            self.cancelled += 1
            self._drop(job, CancelledError())

    def _drop(self, job: Job, error: BaseException) -> None:
        """End a job by an error; its slots are free at once."""
        self.admission.drop(job)
        for seat in [seat for seat, going in self.going.items() if going.job is job]:
            self._leave(seat)
            self.scheduler.cancel(seat)
        job.fail(error)

    def _leave(self, seat: Seat) -> Going:
        going = self.going.pop(seat)
        self.admission.left(going.job.client, 1)
        return going

    # Rows

    def _admit(self) -> None:
        """Give the free slots to those whose turn it is."""
        while self.admission and self.scheduler.slots.free > len(self.scheduler.waiting):
            job, number = self.admission.next()
            job.admitted = job.admitted or time.perf_counter()
            seat = self.scheduler.submit(job.rows[number], job.overflow)
            self.going[seat] = Going(job, number)
            if seat.row.finish is not None:  # nothing to generate
                self._tell()

    def _pass(self) -> None:
        """One pass, and what came of it."""
        scheduler = self.scheduler
        begun = {seat for seat in self.going if seat.row.tokens}
        if len(begun) < len(self.going) or any(going.job.overflow == "slide" for going in self.going.values()):
            scheduler.budget = len(begun) + self.budget.tokens(len(begun), self.admission.rows)
        error: BaseException | None = None
        with self.turn:
            start = time.perf_counter()
            try:
                with stopped_by(self.stop):
                    for _ in scheduler.step():
                        pass
            except BaseException as raised:
                if isinstance(raised, StoppedError) and not any(seat.error for seat in self.going):
                    return  # whoever still wants the pass gets it by the next one
                error = raised
            spent = time.perf_counter() - start
        self._count(begun, spent, error is None)
        if error is not None:
            self._failed(error)
        self._tell()

    def _count(self, begun: set[Seat], spent: float, whole: bool) -> None:
        """What the pass read and took, by row; who is still being read goes behind the others that are."""
        parts = self.scheduler.parts
        total = sum(len(ids) for _, ids, _ in parts)
        if not total:
            return
        self.passes += 1
        self.seconds += spent
        self._owed -= spent
        for seat, ids, last in parts:
            going, count = self.going[seat], len(ids)
            if seat in begun:
                going.decode_seconds += spent * count / total
                continue
            going.prefill_seconds += spent * count / total
            going.prefill_tokens += count
            self.prompt += count
            if last and seat.row.tokens:
                saved = max(0, len(seat.row.prompt) - going.prefill_tokens)
                going.job.cached[going.number] = saved
                self.cached += saved
                self.hits += saved > 0
            elif seat in self.scheduler.running:
                self.scheduler.running[seat] = self.scheduler.running.pop(seat)
        if whole:
            self.budget.learn(total, spent)
        if self.on_pass is not None:
            self.on_pass(spent, total)

    def _failed(self, error: BaseException) -> None:
        """End the jobs that an error concerns: the row's whose own rules raised it, else all of the pass."""
        own = [seat for seat in self.going if seat.error is not None]
        seats = own or [seat for seat, _, _ in self.scheduler.parts] or list(self.going)
        for job in {self.going[seat].job: None for seat in seats}:
            self.failed += 1
            self._drop(job, error)

    def _tell(self) -> None:
        """Tell each job once what is new of its rows."""
        told: dict[Job, list[Event]] = {}
        for seat, going in list(self.going.items()):
            row = seat.row
            tokens = row.tokens if row.settings.logprobs is None else row.logprobs
            if row.finish is None and len(tokens) == going.told:
                continue
            fresh, going.told = tokens[going.told :], len(tokens)
            self.generated += len(fresh)
            self.admission.served(going.job.client, len(fresh))
            text = row.release()
            result = None if row.finish is None else self._result(seat, self._leave(seat))
            event = Event(going.number, text, fresh, result)
            told.setdefault(going.job, []).append(event)
        afters: dict[Callable[[], object], list[Job]] = {}
        for job, events in told.items():
            after = job.tell(events)
            if callable(after):
                afters.setdefault(after, []).append(job)
        for after, jobs in afters.items():
            try:
                after()
            except BaseException as error:
                for job in jobs:
                    job.fail(error)
        for job in told:
            if job.done:  # with all its rows, or since its caller could not hear
                self._drop(job, Closed("engine: its job has ended"))

    def _result(self, seat: Seat, going: Going) -> Any:
        row = seat.row
        result = row.result(Timings(going.prefill_tokens, going.prefill_seconds, max(0, len(row.tokens) - 1),
                                    going.decode_seconds))  # fmt: skip
        if self.scheduler.drafts:
            result = replace(result, drafted=seat.pace.drafted, accepted=seat.pace.accepted)
        going.job.results[going.number] = result
        going.job.left -= 1
        return result

    # Other work

    def work(self, work: Work) -> None:
        """Take up work that goes step by step."""
        self.works.append(work)

    def _work(self) -> None:
        """A step of the work whose turn it is, unless texts that grow are owed the time of the last one."""
        if not self.works or (self.going and self._owed > 0):
            return
        self.working = work = self.works.popleft()
        start = time.perf_counter()
        try:
            if self.stop.is_set():  # whatever is to end is seen to first
                self.works.appendleft(work)
            elif work.future.cancelled():
                _close(work.steps)
            else:
                with self.turn, stopped_by(work.stop):
                    start = time.perf_counter()
                    work.found.append(next(work.steps))
                self.works.append(work)
        except StopIteration:
            settle(work.future, None, work.found)
        except BaseException as error:
            if isinstance(error, StoppedError) and work.stop.is_set():
                self.works.append(work)  # its end is on its way
            else:
                settle(work.future, error)
        finally:
            self.working = None
        self._owed = time.perf_counter() - start


def _close(steps: Iterator[Any]) -> None:
    """Let the steps clean up. What they raise there nobody waits for."""
    close = getattr(steps, "close", None)
    if close is not None:
        with suppress(Exception):
            close()
