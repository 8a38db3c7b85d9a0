"""Rows: which tokens of which texts an activation is shown of."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from nextword.arithmetic.arrays import Ints


@dataclass(frozen=True)
class Rows:
    """The tokens that the rows of an activation belong to, one for each row.

    All int64 [rows]: slots, where the text of each lives in its cache; texts, how many texts have begun there with this
    one; positions, in the text; prompts, how many tokens its prompt has. cache: what tells this cache from others.
    """

    cache: object
    slots: Ints
    texts: Ints
    positions: Ints
    prompts: Ints

    def only(self, some: Any) -> "Rows":
        """Some of them: integers, truth values or a slice."""
        return Rows(self.cache, self.slots[some], self.texts[some], self.positions[some], self.prompts[some])

    def by_text(self) -> Iterator[tuple[object, Ints]]:
        """What tells each text from all others, and which rows are its; in the order in which they come."""
        first = dict.fromkeys(zip(self.slots.tolist(), self.texts.tolist(), strict=True))
        for slot, text in first:
            yield (self.cache, slot, text), np.flatnonzero((self.slots == slot) & (self.texts == text))


def over_keys(name: str) -> bool:
    """Whether the activation has a column for each token that is attended to: attention's scores and weights."""
    return name.endswith((".attn.scores", ".attn.weights"))


def hidden(name: str) -> float:
    """What such an activation has where a token is not attended to."""
    return -np.inf if name.endswith(".scores") else 0.0
