"""Awaited: what a LanguageModel generates for tasks of event loops, and its engine; see decoding/engine."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nextword.decoding.calls import Eos
from nextword.decoding.defaults import Defaults
from nextword.decoding.per_prompt import chosen
from nextword.decoding.seats import Overflow
from nextword.decoding.settings import Sampling
from nextword.machine.stop import Stop, stopped_by
from nextword.models.model import Model
from nextword.text.ids import Prompt, Special, is_batch
from nextword.text.no_vocabulary import tells_why
from nextword.text.tokenizer import Tokenizer

if TYPE_CHECKING:  # what runs for many is imported where it is used, and asyncio with it: most programs do without
    from nextword.decoding.engine import Engine
    from nextword.decoding.job import Job
    from nextword.tasks.async_stream import AsyncStream

_making = threading.Lock()


def _after_fork() -> None:
    """In a forked process: a thread that was making an engine is not there."""
    global _making
    _making = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Awaited:
    """What a LanguageModel generates for many callers at once."""

    model: Model
    tokenizer: Tokenizer | None
    _defaults: Defaults
    _engine: Engine | None

    def engine(self, slots: int | None = None, kv_memory: int | None = None, pass_ms: float = 25.0,
               max_queue: int | None = 256, max_queue_tokens: int | None = None, **more: Any) -> Engine:
        """A thread that generates for many callers at once, in passes that they share, with a bounded queue.

        Arguments: see `nextword.decoding.engine.Engine`; draft as `generate` takes it.

        >>> import nextword
        >>> with nextword.load().engine(slots=4) as engine:
        ...     job = engine.submit(["The king", "The queen"], nextword.Sampling(max_new_tokens=2))
        ...     [len(result.tokens) for result in job.result()]
        [2, 2]
        """
        from nextword.decoding.engine import Engine

        more["draft"] = self._drafter("engine", more.get("draft"), [])  # type: ignore[attr-defined]
        return Engine(self.model, self.tokenizer, self._defaults, slots, kv_memory, pass_ms, max_queue,
                      max_queue_tokens, **more)

    @tells_why
    async def agenerate(self, prompt: Any, *, sampling: Sampling | Sequence[Sampling] | None = None,
                        on_overflow: Overflow = "error", eos: Eos = "config", explain: bool | int = False,
                        allowed_special: Special = (), **settings: Any) -> Any:
        """Like `generate`, for a task of an event loop; whatever tasks wait at once share the model's passes.

        Arguments, results, bit for bit, and errors are those of `generate`, but for `prefix` and `draft`: the model's
        engine keeps beginnings of prompts by itself, and an engine with a draft is `engine(draft=...)`. It is made at
        first use, with the memory that is its default, and goes with the model. A task that is cancelled ends its rows.
        Searches (num_beams, penalty_alpha) run beside it on threads of their own.

        >>> import asyncio, nextword
        >>> lm = nextword.load()
        >>> async def both():
        ...     return await asyncio.gather(*(lm.agenerate(text, max_new_tokens=3) for text in ("The king", "Once")))
        >>> [result.tokens for result in asyncio.run(both())] == [lm.generate(text, max_new_tokens=3).tokens
        ...                                                       for text in ("The king", "Once")]
        True
        """
        import asyncio

        from nextword.tasks.async_stream import awaited

        _only_generates("agenerate", settings)
        if settings.get("num_beams", 1) not in (1, None) or settings.get("penalty_alpha") or any(
                one.num_beams > 1 or one.penalty_alpha for one in _each(sampling)):
            with stopped_by(Stop()) as stop:
                try:
                    return await asyncio.to_thread(
                        self.generate, prompt, sampling=sampling, on_overflow=on_overflow,  # type: ignore[attr-defined]
                        eos=eos, explain=explain, allowed_special=allowed_special, **settings)
                except asyncio.CancelledError:
                    stop.set()
                    raise
        job = self._prepared("agenerate", prompt, sampling, settings, on_overflow=on_overflow, eos=eos,
                             explain=explain, allowed_special=allowed_special)
        results = chosen(job.every, job.rows, await awaited(job))
        return results if is_batch(prompt) else results[0]

    @tells_why
    def astream(self, prompt: Prompt, *, sampling: Sampling | None = None, on_overflow: Overflow = "error",
                eos: Eos = "config", explain: bool | int = False, allowed_special: Special = (),
                **settings: Any) -> AsyncStream:
        """Like `stream`, for `async for` in a task of an event loop; it shares the passes of `agenerate`.

        Arguments and errors as there and in `stream`. Who leaves the loop early, and drops the stream or calls its
        `aclose`, ends the text. `result` is the Generation once the stream has ended.

        >>> import asyncio, nextword
        >>> async def told():
        ...     return [piece async for piece in nextword.load().astream("Once upon a time", max_new_tokens=3)]
        >>> "".join(asyncio.run(told())) == nextword.load().generate("Once upon a time", max_new_tokens=3).text
        True
        """
        from nextword.tasks.async_stream import AsyncStream

        _only_generates("astream", settings)
        job = self._prepared("astream", prompt, sampling, settings, on_overflow=on_overflow, eos=eos, explain=explain,
                             allowed_special=allowed_special, one=True)
        return AsyncStream(job)

    def _prepared(self, op: str, prompt: Any, sampling: Any, settings: dict[str, Any], one: bool = False,
                  **more: Any) -> Job:
        """A job for the engine that all tasks share, made where there is none."""
        with _making:
            if self._engine is None or self._engine.closed:
                self._engine = self.engine(max_queue=None)
            engine = self._engine
        job = engine.prepared([prompt] if one else prompt, sampling, changes=settings, op=op, **more)
        if one and len(job.rows) > 1:
            raise ValueError(f"{op}: one text is told as it comes; num_beams and n must be 1, best_of None and "
                             "penalty_alpha 0; use agenerate for more")
        return job


def _each(sampling: Any) -> list[Sampling]:
    given = sampling if isinstance(sampling, list | tuple) else [sampling]
    return [one for one in given if isinstance(one, Sampling)]


def _only_generates(op: str, settings: dict[str, Any]) -> None:
    """Refuse what belongs to an engine, not to a text."""
    for name, instead in (("prefix", "store"), ("draft", "draft")):
        if settings.pop(name, None) is not None:
            raise ValueError(f"{op}: {name} must be None, as all tasks share one engine; make another with "
                             f"lm.engine({instead}=...)")
