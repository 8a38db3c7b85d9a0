"""Batch: the rows of one call of generate or stream, the memory that they take together, and what came of them."""

import time
from collections.abc import Iterator
from dataclasses import replace

from nextword.decoding.assembly import TOLD
from nextword.decoding.beginnings import common_beginning
from nextword.decoding.drafting import Pace
from nextword.decoding.prefix import PrefixCache
from nextword.decoding.results import Generation, Timings
from nextword.decoding.row import Row
from nextword.decoding.scheduler import Scheduler
from nextword.decoding.seats import Overflow, Seat
from nextword.decoding.speculation import Draft
from nextword.machine import memory
from nextword.models.cache import KVCache
from nextword.models.model import Model
from nextword.models.passes import CHUNK
from nextword.models.trace import tap_of


class Batch:
    """The rows of one call, from their prompts to their ends.

    store: where beginnings of prompts that were encoded before are looked up, and these are kept.
    draft: what guesses next tokens, for the model to check several in one pass; see speculation.
    op: how errors call what asked for it.

    All rows run at once if there is memory for them. If not, as many do as half of it takes, and the others wait until
    one ends: their bits are the same. Raises MemoryError, before it takes any, where one alone would not fit.

    cache: None, and made with the first step; or set before it, a cache whose slot 0 holds the first tokens of the only
    row's prompt, not the last.
    """

    def __init__(self, model: Model, rows: list[Row], overflow: Overflow, store: PrefixCache | None = None,
                 draft: Draft | None = None, op: str = "generate") -> None:
        self.model, self.rows, self.overflow, self.store, self.draft = model, rows, overflow, store, draft
        self.window, self._op = model.limit, op
        self.cache: KVCache | None = None
        going = [row for row in rows if row.finish is None]
        longest = max((len(row) + row.remaining for row in going), default=1)
        self._capacity = min(self.window, longest)
        # What all rows begin with is held once, unless a row may slide, which begins anew, or a store does the sharing.
        slides = overflow == "slide" and longest > self.window
        self._told = any(row.telling for row in going)  # of these, all logits are wanted
        alone = slides or self._told or store is not None
        self._common = 0 if alone else common_beginning([row.prompt for row in going])
        self._slots = memory.fitting(max(1, len(going)), self._needed)
        memory.require(op, f"{self._slots} texts of up to {self._capacity} tokens", self._needed(self._slots),
                       "ask for fewer or shorter ones: fewer prompts, a lower n, best_of or max_new_tokens")
        self._scheduler: Scheduler | None = None
        self._seats: list[Seat] = []

    def _needed(self, slots: int) -> int:
        """Bytes of the caches, and of what the widest pass computes: activations of its tokens, logits of its rows."""
        model, bytes_of = self.model, self.model.cache_bytes
        held = bytes_of(slots, self._capacity - self._common) + bytes_of(1, self._common)
        if isinstance(self.draft, Model):
            held += self.draft.cache_bytes(slots, min(self.draft.limit, self._capacity))
        return held + 4 * (max(CHUNK, slots) * model.widest + (slots + TOLD * self._told) * model.vocabulary)

    def steps(self) -> Iterator[object]:
        """Run to the end: a pass through the model at a time, and of what it said, a token of each row at a time."""
        if self._told and self.cache is not None:
            raise ValueError(f"{self._op}: prompt_logprobs must be None in a session, whose text is encoded already; "
                             "generate or score the text without a session")
        self._scheduler = scheduler = self._begun()
        self._seats = [scheduler.submit(row, self.overflow, None if self.cache is None else 0) for row in self.rows]
        yield from scheduler.steps()

    def _begun(self) -> Scheduler:
        """The scheduler, with what all rows begin with encoded."""
        start = time.perf_counter()
        if self.cache is not None:
            return Scheduler(self.model, self.cache, self.draft, self.store)
        if not self._common or tap_of(self.model).replaces:  # maybe not in all rows alike
            cache = self.model.cache(self._slots, self._capacity)
            return Scheduler(self.model, cache, self.draft, self.store)
        shared = next(row.prompt for row in self.rows if row.finish is None)[: self._common]
        cache = self.model.cache(self._slots, self._capacity, self.model.encoded(shared))
        scheduler = Scheduler(self.model, cache, self.draft, self.store)
        scheduler.prefill_tokens, scheduler.prefill_seconds = self._common, time.perf_counter() - start
        return scheduler

    def results(self) -> list[Generation]:
        """One Generation for each row."""
        s, decoded = self._scheduler, sum(max(0, len(row.tokens) - 1) for row in self.rows)
        timings = Timings(0, 0.0, 0, 0.0) if s is None else Timings(s.prefill_tokens, s.prefill_seconds, decoded,
                                                                    s.decode_seconds)
        results = [row.result(timings) for row in self.rows]
        if self.draft is None:
            return results
        paces = [seat.pace for seat in self._seats] or [Pace() for _ in self.rows]
        return [replace(result, drafted=pace.drafted, accepted=pace.accepted)
                for result, pace in zip(results, paces, strict=True)]
