"""Seat: a row that has joined a scheduler, and how far the model is with it."""

from typing import Literal

from nextword.decoding.drafting import Pace
from nextword.decoding.row import Row

Overflow = Literal["error", "stop", "slide"]


class Seat:
    """A row that has joined a scheduler.

    slot: where it lives in the cache, -1 while it waits for one. begin: the place in prompt and text of the token that
    the slot begins with, above 0 once the window has slid. begun: whether its slot holds what could be had of its
    beginning without the model. donor, common: the slot that will lend it so many tokens; -1 without one.
    pace: how many tokens are drafted for it. error: what its rules or its processors raised, for which it left.
    """

    __slots__ = ("begin", "begun", "common", "donor", "error", "overflow", "pace", "row", "slot")

    def __init__(self, row: Row, overflow: Overflow) -> None:
        self.row, self.overflow = row, overflow
        self.slot, self.begin, self.begun = -1, 0, False
        self.donor, self.common = -1, 0
        self.pace = Pace()
        self.error: BaseException | None = None


def keep_on_slide(window: int, remaining: int) -> int:
    """Tokens kept when the window is full: as many as leave room for the remaining ones, at least half of it."""
    return window - min(remaining, window // 2)
