"""From prompts to text: prefill in chunks, decode loop, batches of unequal length, stop rules, streaming."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from nextword.layers import Floats
from nextword.models.gpt2 import GPT2, GPT2Config
from nextword.sampling import Sampling, choose, new_seed
from nextword.tokenizer import Decoder, Tokenizer

if TYPE_CHECKING:
    from nextword.session import Session

Prompt = str | Sequence[int] | NDArray[np.integer[Any]]
Overflow = Literal["error", "stop", "slide"]
Eos = int | None | Literal["config"]
Stop = str | int | Sequence[str | int]

CHUNK = 512  # tokens that a prefill takes through the model at once


@dataclass(frozen=True)
class Timings:
    """Seconds and tokens of a call, over all of its sequences; prefill ends with each sequence's first new token."""

    prefill_tokens: int
    prefill_seconds: float
    decode_tokens: int
    decode_seconds: float

    @property
    def prefill_tokens_per_second(self) -> float:
        """Prompt tokens per second; 0.0 if there were none."""
        return self.prefill_tokens / self.prefill_seconds if self.prefill_seconds else 0.0

    @property
    def decode_tokens_per_second(self) -> float:
        """New tokens per second after each sequence's first; 0.0 if there were none."""
        return self.decode_tokens / self.decode_seconds if self.decode_seconds else 0.0


@dataclass(frozen=True)
class Generation:
    """What became of one prompt.

    text: the new text, up to the stop string or stop id (None for a model without a vocabulary).
    tokens: the new token ids, a stop id and those of a stop string included, the end token not.
    finish_reason: "stop" (end token, stop string or stop id), "length" (max_new_tokens), "context" (window full).
    """

    text: str | None
    tokens: list[int]
    prompt_tokens: list[int]
    finish_reason: str
    seed: int
    timings: Timings


class Row:
    """One sequence on its way: its tokens, its text so far and when it ends."""

    def __init__(self, prompt: list[int], sampling: Sampling, number: int, limit: int, eos: int | None,
                 stop_texts: Sequence[str], stop_ids: frozenset[int], decoder: Decoder | None) -> None:
        self.prompt, self.sampling, self.number, self.limit = prompt, sampling, number, limit
        self.eos, self.stop_texts, self.stop_ids, self.decoder = eos, stop_texts, stop_ids, decoder
        self.waiting = prompt  # ids that the model has not seen yet
        self.tokens: list[int] = []
        self.text = ""
        self.finish: str | None = None if limit else "length"
        self._released = 0

    def take(self, logits: Floats) -> None:
        """Choose the next token and see whether it is the last."""
        token = choose(logits, self.sampling, self.number, len(self.tokens))
        if token == self.eos:
            self.end("stop")
            return
        self.tokens.append(token)
        self.waiting = [token]
        if token in self.stop_ids:
            self.end("stop")
            return
        if self.decoder is not None:
            try:
                piece = self.decoder.push(token)
            except IndexError:  # models pad their vocabulary: an id without a text
                piece = self.decoder.flush() + "\ufffd"
            self._add(piece)
        if self.finish is None and len(self.tokens) == self.limit:
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
    def result(self) -> Generation:
        """The whole generation; raises RuntimeError before the stream has ended."""
        if self._row.finish is None:
            raise RuntimeError("stream: result is there once the stream is exhausted; read it to its end first")
        return self._run.results()[0]


class Run:
    """Rows that share a cache, from their prompts to their ends."""

    def __init__(self, model: GPT2, rows: list[Row], on_overflow: Overflow) -> None:
        self.model, self.rows, self.on_overflow = model, rows, on_overflow
        self.window = model.config.n_positions
        capacity = min(self.window, max((len(r.prompt) + r.limit for r in rows), default=1))
        self.cache = model.cache(len(rows), capacity)
        self.prefill_seconds = self.decode_seconds = 0.0

    def steps(self) -> Iterator[None]:
        """Run to the end, one pass through the model at a time."""
        while live := [i for i, row in enumerate(self.rows) if row.finish is None]:
            start = time.perf_counter()
            filling = [i for i in live if not self.rows[i].tokens]
            self._step(filling or live)
            spent = time.perf_counter() - start
            if filling:
                self.prefill_seconds += spent
            else:
                self.decode_seconds += spent
            yield

    def _step(self, live: list[int]) -> None:
        batch: list[list[int]] = []
        slots: list[int] = []
        ready: list[tuple[int, int]] = []  # (row, which token of the batch gives its logits)
        room, count = max(CHUNK, len(live)), 0
        for slot in live:
            row = self.rows[slot]
            if not self._fits(slot):
                continue
            part = row.waiting[:room]
            if not part:
                break
            row.waiting = row.waiting[len(part) :]
            batch.append(part)
            slots.append(slot)
            room -= len(part)
            count += len(part)
            if not row.waiting:
                ready.append((slot, count - 1))
        if not batch:
            return
        logits = self.model([np.array(part, np.int64) for part in batch], self.cache, slots, [at for _, at in ready])
        for (slot, _), values in zip(ready, logits, strict=True):
            self.rows[slot].take(values)

    def _fits(self, slot: int) -> bool:
        row, held = self.rows[slot], int(self.cache.lengths[slot])
        if held + len(row.waiting) <= self.window:
            return True
        if self.on_overflow == "stop":
            row.end("context")
            return False
        # Learned positions cannot be shifted: keep the last tokens and encode them again.
        row.waiting = (row.prompt + row.tokens)[-keep_on_slide(self.window, row.limit - len(row.tokens)) :]
        self.cache.lengths[slot] = 0
        return True

    def results(self) -> list[Generation]:
        """One Generation for each row."""
        fresh = [max(0, len(r.tokens) - 1) for r in self.rows]
        timings = Timings(sum(len(r.prompt) for r in self.rows), self.prefill_seconds, sum(fresh), self.decode_seconds)
        return [Generation(r.text if r.decoder is not None else None, r.tokens, r.prompt, r.finish or "length",
                           r.sampling.seed, timings) for r in self.rows]


def keep_on_slide(window: int, remaining: int) -> int:
    """Tokens kept when the window is full: as many as leave room for the remaining ones, at least half of it."""
    return window - min(remaining, window // 2)


class LanguageModel:
    """A model, its tokenizer and its configuration: what `nextword.load` returns."""

    def __init__(self, model: GPT2, tokenizer: Tokenizer | None = None) -> None:
        self.model, self.tokenizer = model, tokenizer

    @property
    def config(self) -> GPT2Config:
        """The model's configuration."""
        return self.model.config

    def __repr__(self) -> str:
        c = self.config
        return (f"LanguageModel(gpt2: {c.n_layer} layers, {c.n_head} heads, width {c.n_embd}, "
                f"vocabulary {c.vocab_size}, context {c.n_positions})")

    def logits(self, ids: Prompt, last_only: bool = False) -> Floats:
        """Logits of every position, or of the last one.

        ids: token ids [tokens], at least one, or a text. Returns float32 [tokens, vocabulary], or [vocabulary] with
        `last_only`. Raises ValueError if there are none or more than the context window, IndexError for an unknown id.

        >>> import nextword
        >>> nextword.load().logits([281, 290, 300]).shape
        (3, 4096)
        """
        prompt = self._ids(ids, "logits")
        if not 1 <= len(prompt) <= self.config.n_positions:
            raise ValueError(f"logits: expected 1 .. {self.config.n_positions} tokens (the context window), "
                             f"got {len(prompt)}")
        cache = self.model.cache(1, len(prompt))
        parts = []
        for start in range(0, len(prompt), CHUNK):
            part = np.array(prompt[start : start + CHUNK], np.int64)
            last = start + CHUNK >= len(prompt)
            rows = ([len(part) - 1] if last else []) if last_only else None
            parts.append(self.model([part], cache, rows=rows))
        if last_only:
            return np.asarray(parts[-1][0])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    @overload
    def generate(self, prompt: str, **settings: Any) -> Generation: ...
    @overload
    def generate(self, prompt: NDArray[np.integer[Any]], **settings: Any) -> Generation: ...
    @overload
    def generate(self, prompt: Sequence[Prompt], **settings: Any) -> list[Generation]: ...
    @overload
    def generate(self, prompt: Sequence[int], **settings: Any) -> Generation: ...

    def generate(  # type: ignore[misc]  # the overloads leave the settings to this signature
        self, prompt: Any, *, max_new_tokens: int = 40, temperature: float = 0.0, top_k: int = 0, top_p: float = 1.0,
        seed: int | Sequence[int] | None = None, stop: Stop = (), on_overflow: Overflow = "error", eos: Eos = "config",
    ) -> Generation | list[Generation]:
        """Continue a prompt, or each of a list of prompts in one batch.

        prompt: a text or token ids (at least one); a list of those gives a list of results. A row of a batch has the
            same bits as that prompt alone.
        max_new_tokens: when to end at the latest. temperature, top_k, top_p: see `Sampling`; temperature 0 is greedy.
        seed: for sampling; None takes a new one, told in the result. In a batch, row r draws from (seed, r); a list
            gives each row a seed of its own, and row r then draws what its prompt alone would draw with that seed.
        stop: strings (also across token borders) or token ids that end the text. The text ends before it.
        on_overflow: what to do when prompt and new tokens exceed the context window. "error" raises ValueError at once,
            "stop" ends with finish_reason "context", "slide" goes on from the last tokens, encoded again.
        eos: the end token; "config" takes the configuration's `eos_token_id`, None never ends by one.
        Raises ValueError, TypeError or IndexError that names the argument.

        >>> import nextword
        >>> nextword.load().generate([281, 290, 300, 17, 42], max_new_tokens=3).tokens
        [574, 12, 278]
        """
        many = _is_batch(prompt)
        run = self._run(list(prompt) if many else [prompt], "generate", max_new_tokens, temperature, top_k, top_p, seed,
                        stop, on_overflow, eos)
        for _ in run.steps():
            pass
        results = run.results()
        return results if many else results[0]

    def stream(self, prompt: str | Sequence[int] | NDArray[np.integer[Any]], *, max_new_tokens: int = 40,
               temperature: float = 0.0, top_k: int = 0, top_p: float = 1.0, seed: int | None = None, stop: Stop = (),
               on_overflow: Overflow = "error", eos: Eos = "config") -> Stream:
        """Like `generate` for one prompt, but yields the text piece by piece as it comes, never half a character.

        Without a vocabulary it yields token ids. The stream's `result` is the Generation once it has ended.

        >>> import nextword
        >>> "".join(nextword.load().stream("Once upon a time", max_new_tokens=1)) != ""
        True
        """
        run = self._run([prompt], "stream", max_new_tokens, temperature, top_k, top_p, seed, stop, on_overflow, eos)
        return Stream(run, run.rows[0])

    def session(self, prompt: Prompt = "", capacity: int | None = None, **more: Any) -> "Session":
        """A text to continue, branch, take back and save, none of it encoded twice: see `nextword.session.Session`."""
        from nextword.session import Session
        return Session(self, prompt, capacity, **more)

    def resume(self, path: Any, **more: Any) -> "Session":
        """The session that `Session.save` wrote to a file."""
        from nextword.session import Session
        return Session.resume(self, path, **more)

    def _run(self, prompts: list[Any], op: str, max_new_tokens: int, temperature: float, top_k: int, top_p: float,
             seed: int | Sequence[int] | None, stop: Stop, on_overflow: Overflow, eos: Eos) -> Run:
        if not _is_integer(max_new_tokens) or max_new_tokens < 0:
            raise ValueError(f"{op}: max_new_tokens must be an integer >= 0, got {max_new_tokens!r}")
        if on_overflow not in ("error", "stop", "slide"):
            raise ValueError(f'{op}: on_overflow must be "error", "stop" or "slide", got {on_overflow!r}')
        end = self.config.eos_token_id if isinstance(eos, str) and eos == "config" else eos
        if end is not None and (not _is_integer(end) or end < 0 or (eos != "config" and end >= self.config.vocab_size)):
            raise ValueError(f"{op}: eos must be a token id 0 .. {self.config.vocab_size - 1}, "
                             f'None or "config", got {eos!r}')
        texts, ids = self._stops(op, stop)
        shared = not isinstance(seed, list | tuple | range | np.ndarray)
        seeds: Any = [new_seed() if seed is None else seed] * len(prompts) if shared else list(seed)  # type: ignore[arg-type]
        if len(seeds) != len(prompts):
            raise ValueError(f"{op}: seed must be one integer or one for each of the {len(prompts)} prompts, "
                             f"got {len(seeds)}")
        rows = []
        for number, (prompt, row_seed) in enumerate(zip(prompts, seeds, strict=True)):
            sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p, seed=row_seed)
            tokens = self._ids(prompt, op)
            self._check_prompt(op, tokens, max_new_tokens, on_overflow)
            decoder = self.tokenizer.decoder() if self.tokenizer else None
            rows.append(Row(tokens, sampling, number if shared else 0, int(max_new_tokens), end, texts, ids, decoder))
        return Run(self.model, rows, on_overflow)

    def _check_prompt(self, op: str, tokens: list[int], fresh: int, on_overflow: Overflow) -> None:
        window, size = self.config.n_positions, self.config.vocab_size
        if not tokens:
            raise ValueError(f"{op}: prompt must have at least one token, got none; start from the end token or a word")
        for token in tokens:
            if not 0 <= token < size:
                raise IndexError(f"{op}: prompt must hold token ids 0 .. {size - 1}, got {token}")
        if on_overflow == "error" and len(tokens) + max(0, fresh - 1) > window:
            raise ValueError(f"{op}: prompt of {len(tokens)} tokens and max_new_tokens={fresh} must fit into the "
                             f'context window of {window}; shorten one, or pass on_overflow="stop" or "slide"')
        if on_overflow == "stop" and len(tokens) > window:
            raise ValueError(f"{op}: prompt must fit into the context window of {window} tokens, got {len(tokens)}; "
                             'shorten it, or pass on_overflow="slide"')

    def _stops(self, op: str, stop: Stop) -> tuple[list[str], frozenset[int]]:
        every: list[Any] = list(stop) if isinstance(stop, list | tuple | set | frozenset | np.ndarray) else [stop]
        texts = [s for s in every if isinstance(s, str)]
        ids = [s for s in every if _is_integer(s)]
        if len(texts) + len(ids) != len(every) or "" in texts:
            raise ValueError(f"{op}: stop must hold non-empty strings or token ids, got {stop!r}")
        if texts and self.tokenizer is None:
            raise ValueError(f"{op}: stop strings need a vocabulary, which this model's folder does not have; "
                             "pass token ids")
        return texts, frozenset(int(i) for i in ids)

    def _ids(self, prompt: Any, op: str) -> list[int]:
        if isinstance(prompt, str):
            if self.tokenizer is None:
                raise ValueError(f"{op}: a text needs a vocabulary, which this model's folder does not have; "
                                 "pass token ids")
            return self.tokenizer.encode(prompt)
        if isinstance(prompt, np.ndarray) and prompt.ndim == 1 and np.issubdtype(prompt.dtype, np.integer):
            return [int(i) for i in prompt]
        if isinstance(prompt, list | tuple | range) and all(map(_is_integer, prompt)):
            return [int(i) for i in prompt]
        raise TypeError(f"{op}: prompt must be a text or a list of integer token ids, got {type(prompt).__name__}")


def _is_integer(x: Any) -> bool:
    return isinstance(x, int | np.integer) and not isinstance(x, bool)


def _is_batch(prompt: Any) -> bool:
    return isinstance(prompt, list | tuple) and (not prompt or not isinstance(prompt[0], int | np.integer))
