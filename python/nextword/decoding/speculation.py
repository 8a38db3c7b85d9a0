"""Speculation: tokens guessed cheaply, which the exact model checks in one pass. Here is who guesses; checking is in
checking.

A checked token is chosen from the exact model's logits as ever, by the same rules and the same drawn number, so that a
text does not depend on its draft. A draft model draws with that number too: what is likely in both models is then
mostly drawn in both.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np

from nextword.arithmetic.arrays import Ints
from nextword.decoding.drafting import WIDE, Asked, Drafter
from nextword.decoding.row import Row
from nextword.models.model import Model
from nextword.text.tokenizer import Tokenizer

Draft = Model | Literal["lookup"]

DTYPES = ("bfloat16", "int8", "int4")  # of a quantised copy that drafts


class Speculation:
    """The drafts of the rows in `slots` slots. draft: a model that drafts, or "lookup"; room: tokens of the longest
    text that the exact model sees."""

    def __init__(self, draft: Draft, slots: int, room: int) -> None:
        from nextword.decoding.draft_model import DraftModel
        from nextword.decoding.lookup import Lookup

        self._drafter: Drafter = Lookup(slots) if draft == "lookup" else DraftModel(draft, slots, room)

    def begin(self, slot: int) -> None:
        """Another row has come to the slot."""
        self._drafter.begin(slot)

    def drafts(self, asked: Sequence[Asked], beside: int) -> dict[int, Ints]:
        """Tokens that may come next, by slot. beside: those of the pass, which takes only so many well.

        A token that would end its row is left out, and what follows it: nothing could be gained from it.
        """
        spare = WIDE // max(1, beside) - 1
        wanted = [one._replace(most=most) for one in asked if (most := min(one.most, spare)) > 0]
        guesses = self._drafter.guess(wanted) if wanted else []
        return {one.slot: np.array(_before_end(one.row, guess), np.int64)
                for one, guess in zip(wanted, guesses, strict=True)}


def _before_end(row: Row, guess: list[int]) -> list[int]:
    return next((guess[:at] for at, token in enumerate(guess) if row.ends_by(token)), guess)


@lru_cache(maxsize=4)  # a large vocabulary takes some hundredths of a second
def same_tokens(a: Tokenizer, b: Tokenizer) -> bool:
    """Whether two vocabularies give the same ids the same bytes."""
    size = max(len(a), len(b))
    return a is b or all(a.has(i) == b.has(i) and (not a.has(i) or a.token_bytes(i) == b.token_bytes(i))
                         for i in range(size))
