"""Why a token was chosen: the candidates of one step, what each rule made of them, and which rule cut them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nextword.arithmetic import ops
from nextword.decoding.rules import Edit
from nextword.decoding.sampling import Choice, filters
from nextword.decoding.settings import Sampling

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
PENALTIES = ("logit_bias", "repetition_penalty", "frequency_penalty")


@dataclass(frozen=True)
class Candidate:
    """One token that might have come next.

    logit: by the model. biased: after logit_bias. penalised: after the penalties for repetition, too.
    scaled: after bans, processors, grammar (-inf if one of them forbids it) and the temperature (1 for greedy).
    softmax: the probability that the scaled logits give it among all tokens. probability: the one that it was drawn
    with, once the filters had cut others; 0 if it was cut itself. cut_by: the setting that cut it, None if it stayed.
    """

    token: int
    text: str | None
    logit: float
    biased: float
    penalised: float
    scaled: float
    softmax: float
    probability: float
    cut_by: str | None

    @property
    def kept(self) -> bool:
        """Whether it could be chosen."""
        return self.cut_by is None


class Step:
    """Why one token was chosen: plain data. `candidates` are worked out when first asked for.

    token: the choice. drawn: the number in [0, 1) that decided, None for greedy. Candidates that stayed, in ascending
    order of id, divide [0, 1) by their probabilities; the one whose part holds the number is chosen. kept: how many
    stayed. removed_mass: the probability, before temperature, of all that a grammar forbade.
    """

    def __init__(self, raw: Floats, final: Floats, edits: list[Edit], settings: Sampling, choice: Choice, top: int,
                 removed_mass: float, text_of: Callable[[int], str] | None) -> None:
        self.token, self.probability, self.kept, self.drawn = choice
        self.removed_mass = removed_mass
        self._greedy, self._typical = not settings.temperature, settings.typical_p < 1
        found = [ops.top(final, top), np.array([choice.token], np.int64)]
        if edits:
            found.append(ops.top(raw, top))
        self._ids = np.concatenate(found)
        self._texts = [text_of(token) for token in self._ids.tolist()] if text_of else None
        self._raw, self._final = raw[self._ids], final[self._ids]
        self._edits = [Edit(e.rule, None, e.values[self._ids]) if e.ids is None else e for e in edits]
        self._temperature = settings.temperature or 1.0
        self._softmax, *_ = ops.chances(final, self._temperature, 0, 1.0, 0.0, 1.0, False, self._ids)
        if settings.temperature:
            self._chances, self._stays, self._limits = ops.chances(final, *filters(settings), self._ids)
        else:
            self._stays, self._limits = self._ids == choice.token, np.empty(0)
            self._chances = self._stays.astype(np.float64)

    def __repr__(self) -> str:
        return f"Step(token={self.token}, probability={self.probability:.4f}, kept={self.kept}, drawn={self.drawn})"

    @cached_property
    def candidates(self) -> list[Candidate]:
        """The most probable tokens before and after the rules, and the choice; the most probable first."""
        logit = self._raw.astype(np.float64)
        stages = {"": logit}
        now, banned_by = logit.copy(), {}
        for edit in self._edits:
            before = now.copy()
            self._apply(edit, now)
            for at in np.flatnonzero(np.isneginf(now) & ~np.isneginf(before)):
                banned_by[int(at)] = edit.rule
            stages[edit.rule] = now.copy()
        biased = stages.get("logit_bias", logit)
        penalised = next((stages[rule] for rule in reversed(PENALTIES) if rule in stages), logit)
        with np.errstate(over="ignore"):
            scaled = self._final.astype(np.float64) / self._temperature
        order = sorted({int(t): at for at, t in enumerate(self._ids)}.values(),
                       key=lambda at: (-scaled[at], -logit[at], self._ids[at]))
        return [self._candidate(at, logit, biased, penalised, scaled, banned_by.get(at)) for at in order]

    def _apply(self, edit: Edit, now: Doubles) -> None:
        if edit.ids is None:
            now[:] = edit.values
            return
        values = dict(zip(edit.ids.tolist(), edit.values.tolist(), strict=True))
        for at, token in enumerate(self._ids.tolist()):
            now[at] = values.get(token, now[at])

    def _candidate(self, at: int, logit: Doubles, biased: Doubles, penalised: Doubles, scaled: Doubles,
                   banned_by: str | None) -> Candidate:
        token = int(self._ids[at])
        cut = None if self._stays[at] else banned_by or self._cut(float(scaled[at]))
        text = self._texts[at] if self._texts is not None else None
        return Candidate(token, text, logit=float(logit[at]), biased=float(biased[at]), penalised=float(penalised[at]),
                         scaled=float(scaled[at]), softmax=float(self._softmax[at]),
                         probability=float(self._chances[at]), cut_by=cut)

    def _cut(self, scaled: float) -> str:
        if self._greedy:
            return "greedy"
        if scaled == -np.inf:  # so said the model itself
            return "logit"
        for rule, limit in zip(("top_k", "top_p", "min_p"), self._limits.tolist(), strict=False):
            if scaled < limit:
                return rule
        # Of tokens as probable as the last that top_p kept, those with higher ids go.
        return "typical_p" if self._typical else "top_p"
