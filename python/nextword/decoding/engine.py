"""Engine: one thread that generates for many callers at once, in passes that they share."""

from __future__ import annotations

import atexit
import math
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

from nextword.decoding.admission import Admission, QueueFull
from nextword.decoding.budget import Budget
from nextword.decoding.calls import Call, Eos
from nextword.decoding.defaults import Defaults
from nextword.decoding.job import FORKED, Closed, Event, Hear, Job
from nextword.decoding.per_prompt import settings_of
from nextword.decoding.prefix import PrefixCache
from nextword.decoding.room import room
from nextword.decoding.scheduler import Scheduler
from nextword.decoding.seats import Overflow
from nextword.decoding.settings import Sampling
from nextword.decoding.speculation import Draft
from nextword.decoding.worker import Work, Worker
from nextword.machine.shown import is_integer, shown
from nextword.machine.turn import Turn
from nextword.models.model import Model
from nextword.text.ids import Special, is_batch
from nextword.text.tokenizer import Tokenizer

__all__ = ["Closed", "Engine", "Event", "Job", "QueueFull", "Stats"]


@dataclass(frozen=True)
class Stats:
    """What an engine has done and does.

    running: rows in slots; waiting: rows without one. kv_bytes: of slots and stored beginnings, touched or not.
    prompt_tokens went through the model, cached_tokens of prompts did not have to; hits: rows that had such.
    generated_tokens: new ones. passes, seconds: those through the model. cancelled, rejected, failed: jobs.
    """

    running: int
    waiting: int
    slots: int
    kv_bytes: int
    prompt_tokens: int
    cached_tokens: int
    hits: int
    generated_tokens: int
    passes: int
    seconds: float
    cancelled: int
    rejected: int
    failed: int


class Engine:
    """A thread that generates for many callers, made by `LanguageModel.engine`; texts share its passes.

    Every text has the bits of `LanguageModel.generate` alone, whoever else is there. A context manager: leaving it
    finishes what was submitted, or after an exception ends it.

    slots: rows that run at once; as many as fit into kv_memory, 64 at most, if None. kv_memory: bytes for keys and
    values, those of the stored beginnings among them; a quarter of what is free, at most 4 GiB, if None. pass_ms: what
    a pass beside growing texts is to take; see `nextword.decoding.budget`. max_queue, max_queue_tokens: rows, and
    tokens of prompts and texts, that may wait for slots; None for any number. store: True keeps beginnings of prompts,
    or a PrefixCache of the model; False keeps none. draft: "lookup" or a model that guesses tokens. turn: what engines
    share that are to compute one after the other. on_pass: is called on the thread after each pass with its seconds
    and tokens.

    Raises ValueError or TypeError that names the argument, MemoryError for more than there is.

    >>> import nextword
    >>> lm = nextword.load()
    >>> with lm.engine(slots=2) as engine:
    ...     jobs = [engine.submit(text, nextword.Sampling(max_new_tokens=3)) for text in ("Once upon", "The king")]
    ...     texts = [job.result()[0].text for job in jobs]
    >>> texts == [lm.generate(text, max_new_tokens=3).text for text in ("Once upon", "The king")]
    True
    """

    def __init__(self, model: Model, tokenizer: Tokenizer | None, defaults: Defaults, slots: int | None = None,
                 kv_memory: int | None = None, pass_ms: float = 25.0, max_queue: int | None = 256,
                 max_queue_tokens: int | None = None, store: PrefixCache | bool = True, draft: Draft | None = None,
                 turn: AbstractContextManager[Any] | None = None,
                 on_pass: Callable[[float, int], object] | None = None) -> None:
        self.model, self.tokenizer, self.defaults = model, tokenizer, defaults
        for name, value in (("slots", slots), ("kv_memory", kv_memory), ("max_queue", max_queue),
                            ("max_queue_tokens", max_queue_tokens)):
            if value is not None and (not is_integer(value) or value < 1):
                raise ValueError(f"engine: {name} must be None or an integer of at least 1, got {shown(value)}")
        if isinstance(pass_ms, bool) or not isinstance(pass_ms, int | float) or not 0 < pass_ms < math.inf:
            raise ValueError(f"engine: pass_ms must be a number of milliseconds above 0, got {shown(pass_ms)}")
        if not isinstance(store, bool) and not (isinstance(store, PrefixCache) and store.model is model):
            raise ValueError("engine: store must be True, False or a PrefixCache of this model, got "
                             f"{shown(store)}; make one with PrefixCache(lm.model)")
        _check("engine", "on_pass", "a function or None", on_pass, on_pass is None or callable(on_pass))
        found = room(model, draft if isinstance(draft, Model) else None, slots, kv_memory, store is True)
        kept = store if isinstance(store, PrefixCache) else PrefixCache(model, found.stored) if found.stored else None
        self.slots = found.slots
        scheduler = Scheduler(model, model.cache(found.slots), draft, kept)
        self._kv_bytes = model.cache_bytes(found.slots, scheduler.cache.capacity)
        admission = Admission(max_queue, max_queue_tokens)
        self._worker = Worker(scheduler, Budget(pass_ms), admission, turn or Turn(), on_pass)
        self._process = os.getpid()
        # The thread holds the worker alone, so that an engine that nobody holds any more ends.
        self._thread = threading.Thread(target=partial(Context().run, self._worker.run), name="nextword-engine",
                                        daemon=True)
        self._thread.start()
        weakref.finalize(self, _stop, self._worker, self._process).atexit = False
        _alive.add(self)

    def submit(self, prompts: Any, settings: Sampling | Sequence[Sampling] | None = None, client: str = "",
               priority: int = 0, hear: Hear | None = None, *, eos: Eos = "config", on_overflow: Overflow = "error",
               allowed_special: Special = (), explain: bool | int = False, op: str = "submit") -> Job:
        """Let texts join, from any thread.

        prompts: a text or token ids, or a list of those. settings: of all of them, or one for each. Both and eos,
        on_overflow, allowed_special and explain as `LanguageModel.generate` takes them, without searches.
        client: slots go to whom the fewest tokens were given, who waits; names that agree up to a slash are one client
            to all others. priority: the lowest number before all others.
        hear: is called on the engine's thread after each pass with the events of this job: what is new of its rows,
        their results, or an error. It must not wait. A function that it returns is called once after all jobs of the
        pass have heard. op: how errors call this.
        Raises ValueError, TypeError or IndexError as `generate` does, QueueFull, and Closed once the engine is closed.
        """
        job = self.prepared(prompts, settings, client, priority, hear, eos=eos, on_overflow=on_overflow,
                            allowed_special=allowed_special, explain=explain, op=op)
        self.enqueue(job)
        return job

    def prepared(self, prompts: Any, settings: Sampling | Sequence[Sampling] | None = None, client: str = "",
                 priority: int = 0, hear: Hear | None = None, *, eos: Eos = "config", on_overflow: Overflow = "error",
                 allowed_special: Special = (), explain: bool | int = False, op: str = "submit",
                 changes: dict[str, Any] | None = None) -> Job:
        """A job that `enqueue` takes: checked, and not yet on its way. changes: fields of all settings, by name."""
        _check(op, "client", "a text", client, isinstance(client, str))
        _check(op, "priority", "an integer", priority, is_integer(priority))
        _check(op, "hear", "a function or None", hear, hear is None or callable(hear))
        prompts = list(prompts) if is_batch(prompts) else [prompts]
        every, own = settings_of(op, prompts, settings, dict(changes or {}))
        if any(one.num_beams > 1 or one.penalty_alpha for one in every):
            raise ValueError(f"{op}: num_beams must be 1 and penalty_alpha 0, searches share no passes; use generate")
        if self.model.tap.looks:
            raise RuntimeError(f"{op}: activations are looked at, and the engine's passes are not this thread's alone; "
                               "use generate")
        call = Call(op, self.model, self.tokenizer, self.defaults, on_overflow, eos, explain, allowed_special)
        return Job(self, every, call.rows(prompts, every, own), call.on_overflow, client, priority, hear)

    def enqueue(self, job: Job) -> None:
        """Let a prepared job join, unless it has ended: without a text, or cancelled. Raises QueueFull and Closed."""
        worker = self._there()
        if job.done:
            return
        worker.admission.reserve(job, worker.scheduler.slots.free, worker.budget.rate)
        self._command(partial(worker.admission.add, job), partial(worker.admission.release, job))

    def run(self, steps: Iterable[Any]) -> Future[list[Any]]:
        """Do other work with the model in turns with the passes: each step of an iterator, on the engine's thread.

        Where texts grow meanwhile, they get as much time as the steps. The future's result is the list of what the
        iterator gave; cancelling it ends the work, in the middle of a pass if need be. Raises Closed, TypeError for no
        iterable, and QueueFull where as much work waits as rows may.
        """
        _check("run", "steps", "an iterable of steps", steps, isinstance(steps, Iterable))
        worker, future = self._there(), Future[list[Any]]()
        work = Work(iter(steps), future)
        worker.admission.reserve_work()
        future.add_done_callback(lambda _: worker.admission.release_work())
        self._command(partial(worker.work, work), partial(future.cancel))
        return future

    def cancel(self, job: Job) -> None:
        """See `Job.cancel`."""
        self._worker.commands.put(partial(self._worker.cancel, job))
        self._worker.stop_unwanted()

    @property
    def closed(self) -> bool:
        """Whether it takes no more work: closed, or of a process that this one was forked from."""
        return self._worker.closed or self._process != os.getpid()

    def close(self, drain: float = 30.0) -> None:
        """Take no more work, finish what was submitted within `drain` seconds, and end the rest with Closed.

        Another call may shorten the time. On the engine's own thread it does not wait. math.inf waits for all.
        """
        _check("close", "drain", "a number of seconds", drain, isinstance(drain, int | float) and not math.isnan(drain))
        if self._process != os.getpid():
            return
        worker = self._worker
        with worker.admission.lock:
            worker.closed = True
        worker.commands.put(partial(setattr, worker, "draining", True))
        if threading.current_thread() is self._thread:
            if drain <= 0:
                _stop(worker, self._process)
            return
        self._thread.join(min(max(0.0, drain), threading.TIMEOUT_MAX))
        _stop(worker, self._process)
        self._thread.join()

    def stats(self) -> Stats:
        """Counts so far, from any thread; they may be of different moments, a pass apart."""
        worker = self._worker
        store = worker.scheduler.store
        return Stats(len(worker.going), worker.admission.rows, self.slots,
                     self._kv_bytes + (0 if store is None else store.bytes), worker.prompt, worker.cached, worker.hits,
                     worker.generated, worker.passes, worker.seconds, worker.cancelled, worker.admission.rejected,
                     worker.failed)

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close(30.0 if kind is None else 0.0)

    def __repr__(self) -> str:
        now = self.stats()
        return f"Engine({self.model.kind}: {now.running} of {now.slots} slots, {now.waiting} rows wait)"

    def __reduce__(self) -> tuple[Any, ...]:
        """Raises TypeError: a thread stays in its process."""
        raise TypeError("pickle: an Engine is a thread of its process; make another with lm.engine()")

    def _there(self) -> Worker:
        if self._process != os.getpid():
            raise RuntimeError(FORKED)
        return self._worker

    def _command(self, command: Callable[[], None], undo: Callable[[], object] | None = None) -> None:
        """Send something that the thread will see to; not once it has been closed."""
        worker = self._worker
        with worker.admission.lock:
            closed = worker.closed
            if not closed:
                worker.commands.put(command)
        if closed:
            if undo is not None:
                undo()
            why = "" if worker.failure is None else f", by {type(worker.failure).__name__}: {worker.failure}"
            raise Closed(f"engine: it is closed{why}; make another with lm.engine()") from worker.failure


def _check(op: str, name: str, expected: str, value: object, right: bool) -> None:
    if not right:
        raise TypeError(f"{op}: {name} must be {expected}, got {shown(value)}")


_alive: weakref.WeakSet[Engine] = weakref.WeakSet()


def _stop(worker: Worker, process: int) -> None:
    """Let the thread end, in the middle of a pass if need be; jobs that are left fail."""
    if process == os.getpid():
        worker.commands.put(partial(setattr, worker, "stopping", Closed("engine: it was closed before this was done")))
        worker.stop_all()


@atexit.register
def _at_exit() -> None:
    """No thread is to be in a pass when the interpreter goes."""
    for engine in list(_alive):
        engine.close(0.0)
