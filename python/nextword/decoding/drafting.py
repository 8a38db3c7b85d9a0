"""What a row asks of who drafts for it, and how many tokens it asks for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from nextword.decoding.row import Row

WIDE = 32  # tokens that a pass takes while it is still bound by reading the weights, not by multiplying


class Asked(NamedTuple):
    """A row that wants a draft of at most `most` >= 1 tokens; the exact model sees its tokens from `begin` on."""

    slot: int
    row: Row
    begin: int
    most: int


class Drafter(Protocol):
    """Guesses how rows go on."""

    def begin(self, slot: int) -> None:
        """Another row has come to the slot."""

    def guess(self, asked: Sequence[Asked]) -> list[list[int]]:
        """For each row its next tokens, as many as it wants or fewer."""


@dataclass
class Pace:
    """How many tokens are drafted for a row, and what came of them.

    One more after a draft that was right to its end; after any other the mean of its length and of what was right.

    >>> pace, lengths = Pace(), []
    >>> for accepted in (4, 5, 2, 0):
    ...     lengths.append(pace.length)
    ...     pace.learn(pace.length, accepted)
    >>> lengths, pace
    ([4, 5, 6, 4], Pace(length=2, drafted=19, accepted=11))
    """

    length: int = 4
    drafted: int = 0
    accepted: int = 0

    def learn(self, drafted: int, accepted: int) -> None:
        """Take in that so many tokens were drafted, and so many of them, the first ones, were right."""
        self.drafted += drafted
        self.accepted += accepted
        if accepted < drafted:
            self.length = max(1, (self.length + accepted) // 2)
        elif drafted:
            self.length = min(WIDE // 2, self.length + 1)
