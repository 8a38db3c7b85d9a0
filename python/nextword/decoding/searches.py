"""Beam and contrastive search as `generate` calls them: its settings in, its Generations out. The searches are in beams
and contrastive."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from nextword.arithmetic.arrays import Floats, Ints
from nextword.decoding.beams import beam_search
from nextword.decoding.calls import Call
from nextword.decoding.contrastive import contrastive_search
from nextword.decoding.results import Generation, Timings, TokenLogprob
from nextword.decoding.row import token_logprobs
from nextword.decoding.settings import Sampling
from nextword.models.model import Model
from nextword.text.ids import text_after


def searched(model: Model, logits: Callable[[Ints], Floats], prompt: Any, one: Sampling,
             call: Call) -> Generation | list[Generation]:
    """The n best texts of a beam search, or the one of a contrastive search, for one prompt.

    logits: what gives the logits of all positions of a text, for log-probabilities.
    """
    rules, stops, tokenizer = call.rules(one), call.stops(one), call.tokenizer
    if call.on_overflow == "slide":
        raise ValueError('generate: on_overflow must be "error" or "stop" for a search, got "slide"')
    tokens = call.prompt(prompt, one.max_new_tokens)
    texts = [s for s in one.stop if isinstance(s, str)]  # type: ignore[union-attr]
    common: dict[str, Any] = {
        "max_new_tokens": one.max_new_tokens, "eos": sorted(call.ends), "stop": [*texts, *sorted(stops)],
        "decode": None if tokenizer is None else lambda ids: text_after(tokenizer, ids),
        "process": lambda text, x: rules(x, tokens, np.array(text[len(tokens) :], np.int64))[0],
    }  # fmt: skip
    started = time.perf_counter()

    def logprobs(new: list[int], end: int | None) -> list[TokenLogprob] | None:
        """Log-probabilities by the model of tokens that were chosen otherwise, and of the end token behind them."""
        if one.logprobs is None:
            return None
        new = new if end is None else [*new, end]
        rows = logits(np.concatenate([tokens, np.array(new, np.int64)])[:-1] if new else tokens)
        return token_logprobs(rows[len(tokens) - 1 :][: len(new)], np.array(new, np.int64), one.logprobs)

    def told(text: str | None, new: list[int], reason: str, end: int | None, steps: int, prefill: float,
             **more: Any) -> Generation:
        spent = time.perf_counter() - started - prefill
        timings = Timings(len(tokens), prefill, max(0, steps - 1), spent)
        return Generation(text, new, tokens.tolist(), reason, one.seed or 0, timings, logprobs(new, end), row=one.row,
                          **more)

    if one.penalty_alpha:
        best = contrastive_search(model, tokens, penalty_alpha=one.penalty_alpha, top_k=one.top_k or 4, **common)
        return told(best.text, best.tokens, best.finish_reason, best.end, len(best.steps), best.prefill_seconds)
    early: Any = one.early_stopping
    found = beam_search(
        model, tokens, num_beams=one.num_beams, num_return_sequences=one.n, length_penalty=one.length_penalty,
        early_stopping=early, num_beam_groups=one.num_beam_groups, diversity_penalty=one.diversity_penalty, **common)
    every = [told(beam.text, beam.tokens, beam.finish_reason, beam.end, len(found.tree), found.prefill_seconds,
                  score=beam.score, beams=found) for beam in found.beams]
    return every if one.n > 1 else every[0]
