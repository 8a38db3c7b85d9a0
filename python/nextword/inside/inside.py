"""Inside: one prompt on its way through a model; the views of it are in files of their own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from nextword.arithmetic.arrays import Floats
from nextword.inside.activations import KEEP, Activations
from nextword.inside.cell import Cell, cell
from nextword.inside.host import Host, prompt_ids, shown_token
from nextword.inside.weights import Weights
from nextword.text.ids import Prompt, Special


class Inside(Activations):
    """A prompt's activations, name -> float32 array, and the views of them; what `LanguageModel.inside` returns.

    tokens: its ids. texts: of each token. logits: float32 [tokens, vocabulary]. names: of all activations.
    """

    def __init__(self, host: Host, prompt: Prompt, interventions: Sequence[Any] = (), *, allowed_special: Special = (),
                 keep: int = KEEP) -> None:
        super().__init__(host.model, prompt_ids("inside", host, prompt, allowed_special), interventions, keep)
        self.host = host

    @property
    def tokens(self) -> list[int]:
        """The ids of the prompt."""
        return list(self.ids)

    @cached_property
    def texts(self) -> list[str]:
        """The text of each token."""
        return [shown_token(self.host, token) for token in self.ids]

    @property
    def logits(self) -> Floats:
        """Of every position: float32 [tokens, vocabulary]."""
        return self["logits"]

    @cached_property
    def _weights(self) -> Weights:
        return Weights(self.model)

    def cell(self, name: str, index: Sequence[int] | int) -> Cell:
        """One number of an activation, or of a weight, with the formula and the numbers that it is made of.

        index: a place for each axis. Raises KeyError for an unknown name, TypeError or IndexError for a wrong index.

        >>> import nextword
        >>> one = nextword.load().inside("Once upon a time").cell("h.3.attn.scores", (2, 4, 1))
        >>> len(one.sources), abs(one.value - one.exact) <= one.bound
        (128, True)
        """
        return cell(self, self._weights, name, index)

    def __repr__(self) -> str:
        return f"Inside({len(self.ids)} tokens, {len(self)} activations: {''.join(self.texts)[:40]!r})"
