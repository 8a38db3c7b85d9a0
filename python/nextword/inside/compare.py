"""How probable a model finds the same continuations after several prompts: a probe of what it takes for usual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from nextword.arithmetic.arrays import Doubles
from nextword.inside.pictures import HeatMap, Pictured
from nextword.inside.tables import Table, visible
from nextword.inside.templates import MOST, expanded
from nextword.machine.shown import shown
from nextword.text.ids import Prompt

NOTE = "a share compares these continuations only; it tells of the texts that the model learned from, not of the world"


class Chooser(Protocol):
    """What tells the probabilities of continuations, as a LanguageModel does."""

    def choose(self, prompt: Prompt, choices: Sequence[Prompt]) -> Sequence[Any]:
        """Of one prompt."""


@dataclass(frozen=True, eq=False)
class Probe(Pictured):
    """Continuations of prompts, each with its probability.

    prompts, continuations: as texts, or ids. logprobs: float64 [prompts, continuations], the natural logarithm of the
    probability that the model goes on with exactly this continuation. share: float64, likewise, the probability over
    the sum of the prompt's; they add up to 1. choices: of each prompt what `LanguageModel.choose` tells.
    """

    prompts: list[Prompt]
    continuations: list[Prompt]
    logprobs: Doubles
    share: Doubles
    choices: list[list[Any]]

    @cached_property
    def probability(self) -> Doubles:
        """float64 [prompts, continuations]."""
        return np.exp(self.logprobs)

    @cached_property
    def log_ratio(self) -> Doubles:
        """The natural logarithm of each probability over that of the first continuation after the same prompt: float64
        [prompts, continuations]. The first column is 0; 0.69 is twice as probable, -0.69 half."""
        with np.errstate(invalid="ignore"):  # of two probabilities that are 0
            return self.logprobs - self.logprobs[:, :1]

    @cached_property
    def shift(self) -> Doubles:
        """The natural logarithm of each share over that of the same continuation after the first prompt: float64
        [prompts, continuations]. The first row is 0."""
        with np.errstate(invalid="ignore", divide="ignore"):
            logs = np.log(self.share)
            return logs - logs[:1]

    def picture(self) -> HeatMap:
        """The shares, a row a prompt."""
        return HeatMap(self.share, [_text(x) for x in self.prompts], [_text(x) for x in self.continuations],
                       unit="share", scale="share", side="prompt", top="continuation")

    def table(self) -> Table:
        """A row a prompt: of each continuation probability and share, of all but the first the log ratio."""
        names = [_text(x) for x in self.continuations]
        head = ["prompt", *(f"{of} {visible(name)}" for name in names for of in ("P", "share")),
                *(f"ln {visible(name)} / {visible(names[0])}" for name in names[1:])]
        rows = []
        for i, prompt in enumerate(self.prompts):
            pairs = np.stack([self.probability[i], self.share[i]], 1).reshape(-1).tolist()
            rows.append([visible(_text(prompt)).replace("·", " "), *pairs, *self.log_ratio[i, 1:].tolist()])
        return Table(head, rows, note=NOTE)

    def _repr_html_(self) -> str:
        return self.table().html()


def compare(host: Chooser, prompts: Prompt | Sequence[Prompt], continuations: Sequence[Prompt]) -> Probe:
    """The continuations' probabilities after each prompt; see `LanguageModel.compare`."""
    every: list[Any] = [prompts] if isinstance(prompts, str) else list(prompts) if _several(prompts) else []
    if not every:
        raise ValueError(f"compare: prompts must be a template or a list of prompts, got {shown(prompts)}")
    if not _several(continuations) or not len(continuations):
        raise ValueError("compare: continuations must be a list of texts or of lists of token ids, at least one, got "
                         f"{shown(continuations)}")
    texts = [one for prompt in every for one in (expanded("compare", prompt) if isinstance(prompt, str) else [prompt])]
    if len(texts) > MOST:
        raise ValueError(f"compare: prompts must be at most {MOST:,}, got {len(texts):,}; compare them in parts")
    found = [list(host.choose(text, continuations)) for text in texts]
    return Probe(texts, list(continuations), np.array([[one.logprob for one in row] for row in found]),
                 np.array([[one.share for one in row] for row in found]), found)


def _several(x: Any) -> bool:
    return isinstance(x, list | tuple)


def _text(prompt: Any) -> str:
    return prompt if isinstance(prompt, str) else str(list(prompt))
