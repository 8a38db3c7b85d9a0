"""Sequences on their way through the model: prefill in chunks, decode loop, batches of unequal length, stop rules."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from nextword import ops
from nextword.explain import Step
from nextword.layers import PANEL, Floats, Ints
from nextword.models.gpt2 import CHUNK, GPT2
from nextword.prefix import PrefixCache
from nextword.results import Generation, Timings, TokenLogprob
from nextword.rules import Edit, Rules
from nextword.sampling import choose
from nextword.settings import Sampling
from nextword.tokenizer import Decoder

if TYPE_CHECKING:
    from nextword.grammar import Grammar

Overflow = Literal["error", "stop", "slide"]

SHARED = 32  # a beginning of so many tokens in common is encoded once: copying it is cheaper than one more pass


class Row:
    """One sequence: its tokens, its text so far, how the next is chosen and when it ends.

    settings: with a seed. number: what draws are keyed by, with the seed. end: the end token, None for none.
    explain: candidates to explain at each step, 0 for none. text_of: shows a token in the explanation.
    """

    def __init__(self, prompt: Sequence[int] | Ints, settings: Sampling, rules: Rules, number: int = 0,
                 end: int | None = None, decoder: Decoder | None = None, grammar: "Grammar | None" = None,
                 explain: int = 0, text_of: Callable[[int], str] | None = None) -> None:
        self.settings, self.rules, self.number, self.end_token = settings, rules, number, end
        self.decoder, self.grammar, self.explain, self.text_of = decoder, grammar, explain, text_of
        self.stop_texts = [s for s in settings.stop if isinstance(s, str)]  # type: ignore[union-attr]
        self.stop_ids = frozenset(s for s in settings.stop if isinstance(s, int))  # type: ignore[union-attr]
        self.prompt = np.asarray(prompt, np.int64)
        self.waiting: Ints = self.prompt  # ids that the model has not seen yet
        self.tokens: list[int] = []
        self._new = np.empty(64, np.int64)  # the tokens as an array, which grows
        self.text = ""
        self.finish: str | None = None if settings.max_new_tokens else "length"
        self._released = 0
        self.logprobs: list[TokenLogprob] = []
        self.steps: list[Step] = []
        self.removed_mass: list[float] = []

    @property
    def remaining(self) -> int:
        """New tokens that may still come."""
        return self.settings.max_new_tokens - len(self.tokens)

    def take(self, logits: Floats) -> None:
        """Choose the next token and see whether it is the last."""
        count = len(self.tokens)
        final, edits = self.rules(logits, self.prompt, self._new[:count])
        removed = 0.0
        if self.grammar is not None:
            final, removed = self._constrain(final, edits)
        choice = choose(final, self.settings, self.number, count)
        token = choice.token
        if self.explain:
            self.steps.append(Step(logits, final, edits, self.settings, choice, self.explain, removed, self.text_of))
        if token == self.end_token:
            self.end("stop")
            return
        if self.settings.logprobs is not None or self.settings.best_of is not None:
            self.logprobs.append(token_logprob(logits, token, self.settings.logprobs or 0))
        self._push(token)

    def _constrain(self, x: Floats, edits: list[Edit]) -> tuple[Floats, float]:
        assert self.grammar is not None
        allowed = self.grammar.mask()
        masked = np.where(allowed, x, np.float32(-np.inf))
        if not np.isfinite(masked.max()):
            raise ValueError(f"sampling: regex or json_schema allows no token after {self.text!r} that the other rules "
                             "leave; relax logit_bias, bad_words, min_new_tokens or processors")
        removed = -np.expm1(ops.log_sum_exp(masked) - ops.log_sum_exp(x))
        self.removed_mass.append(float(max(0.0, removed)))
        edits.append(Edit("grammar", None, masked))
        return masked, self.removed_mass[-1]

    def _push(self, token: int) -> None:
        if len(self.tokens) == len(self._new):
            self._new = np.concatenate([self._new, np.empty_like(self._new)])
        self._new[len(self.tokens)] = token
        self.tokens.append(token)
        self.waiting = self._new[len(self.tokens) - 1 : len(self.tokens)]
        if token in self.stop_ids:
            self.end("stop")
            return
        if self.decoder is not None:
            try:
                piece = self.decoder.push(token)
            except IndexError:  # models pad their vocabulary: an id without a text
                piece = self.decoder.flush() + "\ufffd"
            self._add(piece)
        if self.grammar is not None and self.finish is None:
            self.grammar.accept(token)
            if self.grammar.finished:
                self.end("stop")
        if self.finish is None and not self.remaining:
            self.end("length")

    def end(self, reason: str) -> None:
        """Finish, with what the decoder still holds."""
        self.finish = reason
        if self.decoder is not None:
            self._add(self.decoder.flush())

    def _add(self, piece: str) -> None:
        seen = len(self.text)
        self.text += piece
        found = [at for s in self.stop_texts if (at := self.text.find(s, max(0, seen - len(s) + 1))) >= 0]
        if found:
            self.text, self.finish = self.text[: min(found)], "stop"

    def release(self) -> str:
        """Text that is certain: what might begin a stop string is held back until the row ends."""
        end = len(self.text)
        if self.finish is None:
            end -= max((n for s in self.stop_texts for n in range(1, len(s)) if self.text.endswith(s[:n])), default=0)
        piece = self.text[self._released : end]
        self._released = max(self._released, end)
        return piece

    @property
    def mean_logprob(self) -> float:
        """Log-probability a token, what best_of ranks by; nothing said ranks last."""
        return sum(t.logprob for t in self.logprobs) / len(self.logprobs) if self.logprobs else -np.inf

    def result(self, timings: Timings) -> Generation:
        """What came of it."""
        return Generation(
            self.text if self.decoder is not None else None, self.tokens, self.prompt.tolist(), self.finish or "length",
            self.settings.seed or 0, timings, self.logprobs if self.settings.logprobs is not None else None,
            self.steps if self.explain else None, self.removed_mass if self.grammar is not None else None,
        )  # fmt: skip


def token_logprob(logits: Floats, token: int, top: int) -> TokenLogprob:
    """Log-probabilities of a token and of the `top` most probable ones. logits: float32 [vocabulary]."""
    total = ops.log_sum_exp(logits)
    best = ops.top(logits, top) if top else np.empty(0, np.int64)
    return TokenLogprob(token, float(logits[token]) - total,
                        tuple((int(t), float(logits[t]) - total) for t in best))


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
        text = np.concatenate([row.prompt, np.array(row.tokens, np.int64)])
        row.waiting = text[-keep_on_slide(self.window, row.remaining) :]
        self.cache.lengths[slot] = 0
        self._donors[slot] = (slot, 0)
        return True

    def results(self) -> list[Generation]:
        """One Generation for each row."""
        decoded = sum(max(0, len(row.tokens) - 1) for row in self.rows)
        timings = Timings(self.prefill_tokens, self.prefill_seconds, decoded, self.decode_seconds)
        return [row.result(timings) for row in self.rows]


def common_beginning(prompts: Sequence[Ints]) -> int:
    """How many tokens two or more prompts all begin with, in whole panels of the cache; their last tokens do not count.

    >>> common_beginning([np.arange(80), np.arange(70)]), common_beginning([np.arange(80)])
    (64, 0)
    """
    if len(prompts) < 2:
        return 0
    return min(common_length(prompts[0][:-1], other[:-1]) for other in prompts) // PANEL * PANEL


def shared_beginnings(prompts: Sequence[Ints]) -> list[tuple[int, int]]:
    """For each prompt the earlier one with the longest beginning in common, and its length; 0 where it is too short to
    be worth waiting for. The last token is never shared: it gives the logits.

    >>> shared_beginnings([np.arange(50), np.arange(40), np.array([0, 1, 9])])
    [(0, 0), (0, 39), (2, 0)]
    """
    found = []
    for i, prompt in enumerate(prompts):
        donor, common = i, 0
        for j in range(i):
            length = common_length(prompts[j], prompt[:-1])
            if length >= SHARED and length > common:
                donor, common = j, length
            if common and common == len(prompt) - 1:
                break
        found.append((donor, common))
    return found


def common_length(a: NDArray[np.integer[Any]], b: NDArray[np.integer[Any]]) -> int:
    """How many tokens both begin with.

    >>> common_length(np.array([1, 2, 3]), np.array([1, 2, 4, 5]))
    2
    """
    shorter = min(len(a), len(b))
    different = np.flatnonzero(a[:shorter] != b[:shorter])
    return int(different[0]) if len(different) else shorter


def keep_on_slide(window: int, remaining: int) -> int:
    """Tokens kept when the window is full: as many as leave room for the remaining ones, at least half of it."""
    return window - min(remaining, window // 2)


def end_ids(end: int | None, settings: Sampling) -> Collection[int]:
    """The ids that end a text: what min_new_tokens forbids at first."""
    stops = [s for s in settings.stop if isinstance(s, int)]  # type: ignore[union-attr]
    return {*stops, *([] if end is None else [end])}
