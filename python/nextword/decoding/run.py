"""Sequences on their way through the model: prefill in chunks, decode loop, batches of unequal length, streaming."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from nextword.arithmetic.arrays import Floats, Ints
from nextword.decoding.beginnings import common_beginning, shared_beginnings
from nextword.decoding.explain import Step
from nextword.decoding.prefix import PrefixCache
from nextword.decoding.results import Generation, Timings
from nextword.decoding.row import Row
from nextword.decoding.speculation import Asked, Draft, Speculation
from nextword.machine import memory
from nextword.machine.guard import Guard
from nextword.models.gpt2 import CHUNK, GPT2
from nextword.models.trace import tap_of

Overflow = Literal["error", "stop", "slide"]


_UNKNOWN = object()


class Stream:
    """Yields pieces of text as they come (token ids for a model without a vocabulary); `result` is the Generation,
    there once the stream is exhausted. One thread may take a piece at a time: RuntimeError else."""

    def __init__(self, run: "Run", row: Row) -> None:
        self._run, self._row = run, row
        self._steps = run.steps()
        self._shown = 0
        self._replacing: Any = _UNKNOWN  # the trace that replaces activations in its steps, None without one
        self.guard = Guard("stream: it is in use by another thread; make a stream for each thread")

    def __iter__(self) -> Iterator[Any]:
        while (pieces := self._next()) is not None:
            yield from pieces

    def _next(self) -> Sequence[Any] | None:
        """What the next step adds, maybe nothing; None at the end."""
        with self.guard:
            tap = tap_of(self._run.model)
            now = tap if tap.replaces else None
            if self._replacing is not _UNKNOWN and self._replacing is not now:
                raise RuntimeError("stream: it cannot go on, as activations are replaced now that were not when it "
                                   "began, or the reverse; make a stream for each")
            self._replacing = now
            if next(self._steps, self) is self:
                return None
            if self._row.decoder is not None:
                piece = self._row.release()
                return [piece] if piece else []
            fresh, self._shown = self._row.tokens[self._shown :], len(self._row.tokens)
            return fresh

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


@dataclass
class Checked:
    """A row's draft and what the model says of it: logits [1 + drafted, vocabulary], before, in and after it.

    held: tokens of the cache's slot without the draft. accepted: drafted tokens that were right so far.
    """

    slot: int
    draft: Ints
    logits: Floats
    held: int
    accepted: int = 0


class Run:
    """Rows that share a cache, from their prompts to their ends. Row i lives in slot i.

    prefix: where beginnings of prompts that were encoded before are looked up, and these are kept.
    draft: what guesses next tokens, for the model to check several in one pass; see speculation.
    op: how errors call what asked for the run. Raises MemoryError, before it takes any, for more memory than there is.
    """

    def __init__(self, model: GPT2, rows: list[Row], on_overflow: Overflow, prefix: PrefixCache | None = None,
                 draft: Draft | None = None, op: str = "generate") -> None:
        self.model, self.rows, self.on_overflow, self.prefix = model, rows, on_overflow, prefix
        self.window = model.config.n_positions
        longest = max((len(r.prompt) + r.remaining for r in rows), default=1)
        self._capacity = min(self.window, longest)
        # What all rows begin with is held once, unless a row may slide, which begins anew, or a store does the sharing.
        slides = on_overflow == "slide" and longest > self.window
        self._common = 0 if slides or prefix is not None else common_beginning([r.prompt for r in rows if not r.finish])
        memory.require(op, f"{len(rows)} texts of up to {self._capacity} tokens", self._needed(),
                       "ask for fewer or shorter ones: fewer prompts, a lower n, best_of or max_new_tokens")
        self.cache = model.cache(len(rows) if not self._common else 1, self._capacity if not self._common else 1)
        self.prefill_tokens = 0
        self.prefill_seconds = self.decode_seconds = 0.0
        self._donors = shared_beginnings([r.prompt if not r.finish and len(r.prompt) <= self.window else r.prompt[:0]
                                          for r in rows])
        self._speculation = None if draft is None else Speculation(draft, len(rows), longest)

    def _needed(self) -> int:
        """Bytes of the cache, and of what the widest pass computes: activations of its tokens, logits of its rows."""
        rows, c = len(self.rows), self.model.config
        held = self.model.cache_bytes(rows, self._capacity - self._common) + self.model.cache_bytes(1, self._common)
        return held + 4 * (max(CHUNK, rows) * (4 * c.n_embd + c.inner) + rows * c.vocab_size)

    def steps(self) -> Iterator[None]:
        """Run to the end: a pass through the model at a time, and of what it said, a token of each row at a time."""
        if self._common:
            self._share()
            yield
        while live := [i for i, row in enumerate(self.rows) if row.finish is None]:
            start = time.perf_counter()
            filling = [i for i in live if not self.rows[i].tokens]
            count, checked = self._pass(filling or live)
            self.prefill_tokens += count if filling else 0
            while True:
                checked = [one for one in checked if self._take(one)]
                spent = time.perf_counter() - start
                if filling:
                    self.prefill_seconds += spent
                else:
                    self.decode_seconds += spent
                yield
                if not checked:
                    break
                start = time.perf_counter()

    def _share(self) -> None:
        """Encode what all rows begin with."""
        start = time.perf_counter()
        before = next(row.prompt for row in self.rows if not row.finish)[: self._common]
        self.cache = self.model.cache(len(self.rows), self._capacity, self.model.encoded(before))
        for row in self.rows:
            row.waiting = row.prompt[self._common :]
        self.prefill_seconds += time.perf_counter() - start
        self.prefill_tokens += self._common

    def _pass(self, live: list[int]) -> tuple[int, list[Checked]]:
        """Send what rows have waiting through the model, and the drafts of those that have all of it in.

        Returns how many tokens it took, and the logits of those rows.
        """
        parts = self._parts(live)
        if not parts:
            return 0, []
        drafts = self._drafts(parts)
        batch: list[Ints] = []
        wanted: list[int] = []  # tokens of the batch that give logits
        checked: list[tuple[int, Ints]] = []
        count = 0
        for slot, part in parts:
            draft = drafts.get(slot, part[:0])
            batch.append(np.concatenate([part, draft]) if len(draft) else part)
            count += len(batch[-1])
            if not len(self.rows[slot].waiting):
                wanted += range(count - len(draft) - 1, count)
                checked.append((slot, draft))
        logits = self.model(batch, self.cache, [slot for slot, _ in parts], wanted)
        found, at = [], 0
        for slot, draft in checked:
            self.cache.lengths[slot] -= len(draft)  # what is drafted is no part of the text yet
            row, end = self.rows[slot], at + 1 + len(draft)
            if self.prefix is not None and not row.tokens and len(row.prompt) <= self.window:
                self.prefix.remember(row.prompt.tolist(), self.cache, slot)
            found.append(Checked(slot, draft, logits[at:end], int(self.cache.lengths[slot])))
            at = end
        return count, found

    def _parts(self, live: list[int]) -> list[tuple[int, Ints]]:
        """What goes through the model next of each row that can go on: (slot, ids), in whole at most a chunk."""
        parts: list[tuple[int, Ints]] = []
        room = max(CHUNK, len(live))
        for slot in live:
            row = self.rows[slot]
            if not self._fits(slot) or not self._begun(slot):
                continue
            part = row.waiting[:room]
            if not len(part):
                break
            row.waiting = row.waiting[len(part) :]
            parts.append((slot, part))
            room -= len(part)
        return parts

    def _drafts(self, parts: list[tuple[int, Ints]]) -> dict[int, Ints]:
        """Drafts by slot, for rows whose text has begun: so long that with one more token they reach no limit."""
        if self._speculation is None:
            return {}
        asked = []
        for slot, part in parts:
            row, seen = self.rows[slot], int(self.cache.lengths[slot]) + len(part)
            if row.tokens and not len(row.waiting):
                asked.append(Asked(slot, row, len(row) - seen, min(row.remaining - 1, self.window - seen)))
        return self._speculation.drafts(asked, len(parts))

    def _take(self, one: Checked) -> bool:
        """The row takes its next token; returns whether that is the drafted one, so that the next logits hold, too."""
        row, right = self.rows[one.slot], False
        self.cache.lengths[one.slot] = one.held + one.accepted
        token = row.take(one.logits[one.accepted])
        if one.accepted < len(one.draft) and token == one.draft[one.accepted]:
            one.accepted += 1
            right = row.finish is None
        if not right and self._speculation is not None:
            self._speculation.paces[one.slot].learn(len(one.draft), one.accepted)
        return right

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
        self.cache.forget(slot)
        self._donors[slot] = (slot, 0)
        return True

    def results(self) -> list[Generation]:
        """One Generation for each row."""
        decoded = sum(max(0, len(row.tokens) - 1) for row in self.rows)
        timings = Timings(self.prefill_tokens, self.prefill_seconds, decoded, self.decode_seconds)
        results = [row.result(timings) for row in self.rows]
        if self._speculation is None:
            return results
        return [replace(result, drafted=pace.drafted, accepted=pace.accepted)
                for result, pace in zip(results, self._speculation.paces, strict=True)]


def keep_on_slide(window: int, remaining: int) -> int:
    """Tokens kept when the window is full: as many as leave room for the remaining ones, at least half of it."""
    return window - min(remaining, window // 2)
