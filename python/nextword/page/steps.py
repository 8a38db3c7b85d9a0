"""Why a token is chosen, for the page: settings as they were sent, the candidates, and the number line of the draw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nextword.arithmetic.arrays import Floats
from nextword.decoding.calls import Call
from nextword.decoding.defaults import Defaults
from nextword.decoding.explain import Step
from nextword.decoding.sampling import choose, probabilities
from nextword.decoding.settings import Sampling
from nextword.models.tap import Rule
from nextword.models.trace import trace
from nextword.page.answers import GenerateEvent, Span, StepAnswer
from nextword.page.errors import Refused
from nextword.page.fields import Fields
from nextword.page.stopping import check
from nextword.page.texts import texts_of

if TYPE_CHECKING:
    from nextword.tasks.language_model import LanguageModel

Event = tuple[str, Any]
SEEDS = 2**53 - 1  # the largest whole number that a browser's numbers hold
# Settings that the page may send. Those that run code, search or need more memory than a row stay out.
ALLOWED = ("logit_bias", "repetition_penalty", "frequency_penalty", "presence_penalty", "no_repeat_ngram_size",
           "bad_words", "min_new_tokens", "temperature", "top_k", "top_p", "min_p", "typical_p", "uniform",
           "max_new_tokens", "stop")
MOST = 100  # entries of logit_bias, bad_words and stop


def settings_of(fields: Fields, **fixed: Any) -> Sampling:
    """The settings of a request. Keys of logit_bias are texts, or ids as #12."""
    given = dict(fields.table("settings"))
    for name, value in given.items():
        if name not in ALLOWED:
            raise Refused("bad_argument", f"{fields.op}: settings must be of {', '.join(ALLOWED)}, got {name[:40]!r}",
                          argument=name[:40])
        if isinstance(value, list | dict | str) and len(value) > MOST:
            raise Refused("bad_argument", f"{fields.op}: {name} must have at most {MOST} entries", argument=name)
    if isinstance(given.get("logit_bias"), dict):
        given["logit_bias"] = {int(k[1:]) if k[:1] == "#" and k[1:].isdecimal() and len(k) < 12 else k: v
                               for k, v in given["logit_bias"].items()}
    try:
        return Sampling(**{**given, **fixed})
    except (ValueError, TypeError) as error:
        named = str(error).removeprefix("sampling: ").partition(" ")[0]
        raise Refused("bad_argument", str(error), argument=named if named in ALLOWED else "settings") from None


def step_answer(lm: LanguageModel, ids: Sequence[int], logits: Floats, settings: Sampling, seed: int, step: int,
                candidates: int) -> StepAnswer:
    """The choice that `generate` makes at this step of a text, without running the model again.

    ids: of prompt and text so far; step: how many of them are the text's. logits: of the last of them.
    """
    settings, prompt = settings.changed(seed=seed), len(ids) - step
    if prompt < 0:
        raise Refused("bad_argument", f"choose: step must be at most {len(ids)}, got {step}", argument="step")
    call = Call("choose", lm.model, lm.tokenizer, Defaults.read(lm.model, lm.generation_config), "stop", "config",
                candidates, ())
    every = np.array(ids, np.int64)
    final, edits = call.rules(settings)(logits, every[:prompt], every[prompt:])
    choice = choose(final, settings, 0, step)
    found = Step(logits, final, edits, settings, choice, candidates, 0.0, None)
    answer = told(lm, found, seed, step)
    answer["spans"] = spans(found, final, settings)
    return answer


def told(lm: LanguageModel, step: Step, seed: int, number: int) -> StepAnswer:
    """A step as the page gets it, without the number line, for which all logits are needed."""
    every = step.candidates
    return {"token": step.token, "p": step.probability, "kept": step.kept, "drawn": step.drawn, "seed": seed,
            "step": number, "spans": None, "texts": texts_of(lm.tokenizer, (c.token for c in every)),
            "candidates": [{"id": c.token, "logit": c.logit, "biased": c.biased, "penalised": c.penalised,
                            "scaled": c.scaled, "softmax": c.softmax, "p": c.probability, "cut_by": c.cut_by}
                           for c in every]}


def spans(step: Step, final: Floats, settings: Sampling) -> list[Span]:
    """The parts of [0, 1) that candidates have. final: the logits after all rules."""
    ids, p = probabilities(final, settings)
    ends = np.cumsum(p)
    at = {int(t): i for i, t in enumerate(ids)}
    return [{"id": c.token, "low": float(ends[at[c.token]] - p[at[c.token]]), "high": float(ends[at[c.token]])}
            for c in sorted(step.candidates, key=lambda c: c.token) if c.token in at]


def generated(lm: LanguageModel, ids: Sequence[int], settings: Sampling, explain: int,
              rules: Sequence[Rule] = ()) -> Iterator[Event]:
    """The steps of a generation as they come: ("step", GenerateEvent), and ("end", ...) last.

    rules: what is replaced meanwhile.
    """
    if rules:
        with trace(lm.model, [], replace=rules):
            yield from generated(lm, ids, settings, explain)
        return
    stream = lm.stream(list(ids), sampling=settings, explain=max(1, explain), on_overflow="stop")
    count = 0
    held: list[str] = []
    pieces = iter(stream)
    while True:
        check()
        piece = next(pieces, None)
        if lm.tokenizer is not None and piece is not None:
            held.append(str(piece))
        steps, count = stream.steps[count:], len(stream.steps)
        for i, step in enumerate(steps):
            number = count - len(steps) + i
            last = i + 1 == len(steps)
            event: GenerateEvent = {"step": number, "token": step.token, "piece": "".join(held) if last else "",
                                    "why": told(lm, step, settings.seed or 0, number) if explain else None,
                                    "texts": texts_of(lm.tokenizer, [step.token])}
            held = [] if last else held
            yield "step", event
        if piece is None:
            result = stream.result
            yield "end", {"finish_reason": result.finish_reason, "seed": result.seed, "text": result.text,
                          "tokens": result.tokens}
            return
