"""Sequences on their way through the model: prefill in chunks, decode loop, batches of unequal length, streaming."""

import time
from collections.abc import Iterator
from typing import Any, Literal

from nextword.beginnings import common_beginning, shared_beginnings
from nextword.explain import Step
from nextword.layers import Ints
from nextword.models.gpt2 import CHUNK, GPT2
from nextword.prefix import PrefixCache
from nextword.results import Generation, Timings
from nextword.row import Row

Overflow = Literal["error", "stop", "slide"]


class Stream:
    """Yields pieces of text as they come (token ids for a model without a vocabulary); `result` is the Generation,
    there once the stream is exhausted."""

    def __init__(self, run: "Run", row: Row) -> None:
        self._run, self._row = run, row
        self._steps = run.steps()
        self._shown = 0

    def __iter__(self) -> Iterator[Any]:
        for _ in self._steps:
            if self._row.decoder is not None:
                piece = self._row.release()
                if piece:
                    yield piece
            else:
                fresh, self._shown = self._row.tokens[self._shown :], len(self._row.tokens)
                yield from fresh

    @property
    def steps(self) -> list[Step]:
        """With explain=True: why each token so far was chosen."""
        return self._row.steps

    @property
    def result(self) -> Generation:
        """The whole generation; raises RuntimeError before the stream has ended."""
        if self._row.finish is None:
            raise RuntimeError("stream: result is there once the stream is exhausted; read it to its end first")
        return self._run.results()[0]


class Run:
    """Rows that share a cache, from their prompts to their ends. Row i lives in slot i.

    prefix: where beginnings of prompts that were encoded before are looked up, and these are kept.
    """

    def __init__(self, model: GPT2, rows: list[Row], on_overflow: Overflow, prefix: PrefixCache | None = None) -> None:
        self.model, self.rows, self.on_overflow, self.prefix = model, rows, on_overflow, prefix
        self.window = model.config.n_positions
        longest = max((len(r.prompt) + r.remaining for r in rows), default=1)
        self._capacity = min(self.window, longest)
        # What all rows begin with is held once, unless a row may slide, which begins anew, or a store does the sharing.
        slides = on_overflow == "slide" and longest > self.window
        self._common = 0 if slides or prefix is not None else common_beginning([r.prompt for r in rows if not r.finish])
        self.cache = model.cache(len(rows) if not self._common else 1, self._capacity if not self._common else 1)
        self.prefill_tokens = 0
        self.prefill_seconds = self.decode_seconds = 0.0
        self._donors = shared_beginnings([r.prompt if not r.finish and len(r.prompt) <= self.window else r.prompt[:0]
                                          for r in rows])

    def steps(self) -> Iterator[None]:
        """Run to the end, one pass through the model at a time."""
        if self._common:
            self._share()
            yield
        while live := [i for i, row in enumerate(self.rows) if row.finish is None]:
            start = time.perf_counter()
            filling = [i for i in live if not self.rows[i].tokens]
            count = self._step(filling or live)
            spent = time.perf_counter() - start
            if filling:
                self.prefill_seconds += spent
                self.prefill_tokens += count
            else:
                self.decode_seconds += spent
            yield

    def _share(self) -> None:
        """Encode what all rows begin with."""
        start = time.perf_counter()
        before = next(row.prompt for row in self.rows if not row.finish)[: self._common]
        self.cache = self.model.cache(len(self.rows), self._capacity, self.model.encoded(before))
        for row in self.rows:
            row.waiting = row.prompt[self._common :]
        self.prefill_seconds += time.perf_counter() - start
        self.prefill_tokens += self._common

    def _step(self, live: list[int]) -> int:
        """One pass; returns how many tokens it took."""
        batch: list[Ints] = []
        slots: list[int] = []
        ready: list[tuple[int, int]] = []  # (row, which token of the batch gives its logits)
        room, count = max(CHUNK, len(live)), 0
        for slot in live:
            row = self.rows[slot]
            if not self._fits(slot) or not self._begun(slot):
                continue
            part = row.waiting[:room]
            if not len(part):
                break
            row.waiting = row.waiting[len(part) :]
            batch.append(part)
            slots.append(slot)
            room -= len(part)
            count += len(part)
            if not len(row.waiting):
                ready.append((slot, count - 1))
        if not batch:
            return 0
        logits = self.model(batch, self.cache, slots, [at for _, at in ready])
        for (slot, _), values in zip(ready, logits, strict=True):
            if self.prefix is not None and not self.rows[slot].tokens and len(self.rows[slot].prompt) <= self.window:
                self.prefix.remember(self.rows[slot].prompt.tolist(), self.cache, slot)
            self.rows[slot].take(values)
        return count

    def _begun(self, slot: int) -> bool:
        """Whether the row can go on: a beginning that it shares with an earlier row is there, and is copied."""
        donor, common = self._donors[slot]
        row = self.rows[slot]
        if self.prefix is not None and row.waiting is row.prompt and len(row.prompt) <= self.window:
            row.waiting = row.prompt[self.prefix.fetch(row.prompt[:-1].tolist(), self.cache, slot) :]
        if not common or self.cache.lengths[slot]:
            return True
        if self.cache.lengths[donor] < common:
            return False
        self.cache.copy(donor, slot, common)
        self.cache.lengths[slot] = common
        self.rows[slot].waiting = self.rows[slot].waiting[common:]
        return True

    def _fits(self, slot: int) -> bool:
        row, held = self.rows[slot], int(self.cache.lengths[slot])
        if held + len(row.waiting) <= self.window:
            return True
        if self.on_overflow == "stop":
            row.end("context")
            return False
        # Learned positions cannot be shifted: keep the last tokens and encode them again.
        row.waiting = row.ids(len(row) - keep_on_slide(self.window, row.remaining))
        self.cache.lengths[slot] = 0
        self._donors[slot] = (slot, 0)
        return True

    def results(self) -> list[Generation]:
        """One Generation for each row."""
        decoded = sum(max(0, len(row.tokens) - 1) for row in self.rows)
        timings = Timings(self.prefill_tokens, self.prefill_seconds, decoded, self.decode_seconds)
        return [row.result(timings) for row in self.rows]


def keep_on_slide(window: int, remaining: int) -> int:
    """Tokens kept when the window is full: as many as leave room for the remaining ones, at least half of it."""
    return window - min(remaining, window // 2)
