"""Contrastive search (Su et al. 2022): probable tokens whose hidden state does not repeat those before it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextword.arithmetic.arrays import Floats
from nextword.decoding.beam_tree import Decode
from nextword.decoding.search import Ends, Process, checked, largest, read_prompt
from nextword.machine import memory
from nextword.machine.shown import is_integer
from nextword.models.model import Model
from nextword.models.passes import passes
from nextword.models.rows import Rows
from nextword.models.tap import Tap


@dataclass(frozen=True)
class ContrastiveCandidate:
    """A token that was weighed: score = (1 - penalty_alpha) * probability - penalty_alpha * similarity.

    similarity: the largest cosine between its hidden state and that of any token before it.
    """

    token: int
    probability: float
    similarity: float
    score: float


@dataclass(frozen=True)
class ContrastiveResult:
    """The continuation, and for each position the candidates, the most probable first.

    tokens: the new token ids, a stop id and those of a stop string included, the end token not. text: the new text up
    to what ended it; None without `decode`. finish_reason: "stop", "length" or "context" (window full).
    prefill_seconds: until the first logits. end: the end token, where one ended it.
    """

    tokens: list[int]
    text: str | None
    finish_reason: str
    steps: list[list[ContrastiveCandidate]]
    prefill_seconds: float = field(default=0.0, compare=False)
    end: int | None = None


CANDIDATE = 250  # bytes that a candidate takes, about


class _Hidden(Tap):
    """Keeps what goes into the last layer norm; all else is the business of the tap in use. One for each search."""

    looks = True

    def __init__(self, outer: Tap, name: str) -> None:
        self._outer = self._of_pass = outer
        self._name, self.replaces = name, outer.replaces
        self.wants = outer.wants  # type: ignore[method-assign]
        self.x: NDArray[Any] = np.empty(0, np.float32)

    def __call__(self, name: str, x: NDArray[Any]) -> NDArray[Any]:
        y = self._of_pass(name, x)
        if name == self._name:
            self.x = y
        return y

    def at(self, rows: Rows) -> Tap:
        """A pass of these rows begins."""
        self._of_pass = self._outer.at(rows)
        return self

    def only(self, some: Any) -> Tap:
        """What is kept is of all rows."""
        return self._of_pass.only(some)


def contrastive_search(
    model: Model, prompt_ids: Sequence[int] | NDArray[np.integer[Any]], *, penalty_alpha: float = 0.6, top_k: int = 4,
    max_new_tokens: int = 40, process: Process | None = None, decode: Decode | None = None,
    eos: int | Sequence[int] = (), stop: str | int | Sequence[str | int] = (),
) -> ContrastiveResult:
    """Continue a prompt with the token that is probable and unlike what stands before it, as in transformers 4.

    prompt_ids: token ids [tokens], at least one, at most the context window.
    penalty_alpha: 0 .. 1, how much likeness counts against probability; 0 is greedy decoding.
    top_k: how many of the most probable tokens are weighed at each position; each goes through the model.
    max_new_tokens: when to end at the latest; the context window, which holds the last token too, may end it before.
    process: (prompt and new tokens, logits float32 [vocabulary]) -> float32 [vocabulary]; -inf bans a token.
    decode, eos, stop: as for `nextword.decoding.beams.beam_search`.
    Raises ValueError or IndexError that names the argument; ValueError if the model or `process` gives NaN.

    >>> import nextword
    >>> lm = nextword.load()
    >>> ids = lm.tokenizer.encode("Once upon a time there was a")
    >>> contrastive_search(lm.model, ids, max_new_tokens=6, decode=lm.tokenizer.decode).text
    ' man who had three sons'
    """
    op = "contrastive_search"
    number = isinstance(penalty_alpha, int | float | np.integer | np.floating) and not isinstance(penalty_alpha, bool)
    if not number or not 0 <= penalty_alpha <= 1:
        raise ValueError(f"{op}: penalty_alpha must be a number 0 .. 1, got {penalty_alpha!r}")
    for name, value, least in (("top_k", top_k, 1), ("max_new_tokens", max_new_tokens, 0)):
        if not is_integer(value) or value < least:
            raise ValueError(f"{op}: {name} must be an integer >= {least}, got {value!r}")
    prompt = read_prompt(op, model, prompt_ids)
    ends = Ends(op, model.vocabulary, eos, stop, decode)
    room = model.limit - len(prompt)
    limit, reason = min(max_new_tokens, room), "length" if max_new_tokens <= room else "context"
    wide = min(top_k, model.vocabulary)
    memory.require(op, f"top_k={top_k} with {len(prompt) + limit} tokens",
                   model.cache_bytes(wide, len(prompt) + limit) + wide * model.vocabulary * 4
                   + wide * limit * CANDIDATE, "lower top_k or max_new_tokens")
    tokens: list[int] = []
    steps: list[list[ContrastiveCandidate]] = []
    started = time.perf_counter()
    hidden = _Hidden(model.tap, f"h.{model.layers - 1}.resid_post")
    cache = model.cache(wide, len(prompt) + limit)
    context = np.empty((len(prompt) + limit, model.width))  # directions of all hidden states
    held = 0
    for (found,) in passes(model, [np.array(prompt if limit else [], np.int64)], cache, [0], [1], hidden):
        logits = found
        context[held : held + len(hidden.x)] = _directions(model.norm(hidden.x))
        held += len(hidden.x)
    chosen, prefill_seconds = 0, time.perf_counter() - started
    while len(tokens) < limit:
        held = len(prompt) + len(tokens)
        row = logits[chosen]
        if not np.isfinite(row.max()):
            raise ValueError(f"{op}: the largest logit must be finite, got {row.max()}")
        if process is not None:
            row = checked(op, process(prompt + tokens, row.copy()), row)
        best = largest(row, top_k)
        if not len(best):
            raise ValueError(f"{op}: no token may follow after {len(tokens)} new ones; "
                             "process must leave one above -inf")
        for slot in range(len(best)):  # all that a slot holds but a candidate of an earlier step is right
            own = 0 if slot == chosen else max(0, int(cache.lengths[slot]) - 1)
            cache.copy(chosen, slot, held, own)
        logits = model([best[i : i + 1] for i in range(len(best))], cache, tap=hidden)
        near = _directions(model.norm(hidden.x))
        e = np.exp(row.astype(np.float64) - row.max())
        p, similar = e[best] / e.sum(), (near @ context[:held].T).max(axis=1)
        scores = (1 - penalty_alpha) * p - penalty_alpha * similar
        steps.append([ContrastiveCandidate(*x) for x in zip(*(a.tolist() for a in (best, p, similar, scores)),
                                                            strict=True)])
        chosen = int(scores.argmax())
        context[held] = near[chosen]
        tokens.append(int(best[chosen]))
        if ends.reached(tokens):
            reason = "stop"
            break
    kept, text = ends.cut(tokens)
    end = tokens[-1] if len(kept) < len(tokens) else None
    return ContrastiveResult(kept, text, reason, steps, prefill_seconds, end)


def _directions(x: Floats) -> NDArray[np.float64]:
    """Rows of length 1."""
    y = x.astype(np.float64)
    return np.asarray(y / np.maximum(np.sqrt((y * y).sum(axis=1, keepdims=True)), 1e-300))  # 0 is like nothing
