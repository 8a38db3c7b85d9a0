"""Rows: which tokens of which texts an activation is shown of."""

from dataclasses import dataclass
from typing import Any

from nextword.arithmetic.arrays import Ints


@dataclass(frozen=True)
class Rows:
    """The tokens that the rows of an activation belong to, one for each row.

    slots: int64 [rows], where the text of each lives in its cache. positions: int64 [rows], in the text. prompts: int64
    [rows], how many tokens the prompt of the text has. cache: what tells this cache from others.
    """

    cache: object
    slots: Ints
    positions: Ints
    prompts: Ints

    def only(self, some: Any) -> "Rows":
        """Some of them: integers, truth values or a slice."""
        return Rows(self.cache, self.slots[some], self.positions[some], self.prompts[some])


def over_keys(name: str) -> bool:
    """Whether the activation has a column for each token that is attended to: attention's scores and weights."""
    return name.endswith((".attn.scores", ".attn.weights"))
