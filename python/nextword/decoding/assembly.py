"""What a pass through the model takes: a token of each row that goes on by one, pieces of what is being read. Runs no
model."""

from collections.abc import Iterable
from typing import NamedTuple

from nextword.arithmetic.arrays import Ints
from nextword.decoding.seats import Seat
from nextword.decoding.slots import Slots

LEAST = 16  # tokens of prompts that a pass takes if it can, however many rows go on: they are not to wait for ever


class Part(NamedTuple):
    """Tokens of a row that go through the model; whole: the last of them is the text's last, whose logits count."""

    seat: Seat
    ids: Ints
    whole: bool


def assemble(seats: Iterable[Seat], slots: Slots, budget: int) -> list[Part]:
    """The parts of the next pass, in the rows' order.

    Every row of which the model has seen all but one token has that one in it. What is left of the budget, at least
    LEAST tokens or half of it, goes to the others, who came first first.
    """
    going = [(seat, missing) for seat in seats if (missing := slots.missing(seat))]
    single = sum(missing == 1 for _, missing in going)
    if single == len(going):
        return [Part(seat, seat.row.last, True) for seat, _ in going]
    room = max(budget - single, min(LEAST, (budget + 1) // 2))
    parts = []
    for seat, missing in going:
        if missing == 1:
            parts.append(Part(seat, seat.row.last, True))
        elif room > 0:
            count = min(missing, room)
            ids = seat.row.ids(len(seat.row) - missing)
            parts.append(Part(seat, ids[:count], count == missing))
            room -= count
    return parts
