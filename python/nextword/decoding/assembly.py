"""What a pass through the model takes: a token of each row that goes on by one, pieces of what is being read. Runs no
model."""

from collections.abc import Iterable

from nextword.arithmetic.arrays import Ints
from nextword.decoding.seats import Seat
from nextword.decoding.slots import Slots

LEAST = 16  # tokens of prompts that a pass takes if it can, however many rows go on: they are not to wait for ever

TOLD = 64  # tokens of prompts at most whose logits are all taken in a pass: 13 MB for a vocabulary of 50,257

# A row, its tokens that go through the model, and whether the last of them is its text's last, whose logits count.
Part = tuple[Seat, Ints, bool]


def assemble(seats: Iterable[Seat], slots: Slots, budget: int) -> tuple[list[Part], int]:
    """The parts of the next pass, and how many tokens of them are of prompts.

    Every row that goes on by a token has that one in it. What is left of the budget, at least LEAST tokens or half of
    it, goes to those that are being read, who came first first; those whose prompt is told of have TOLD together.
    """
    parts: list[Part] = []
    reading: list[Seat] = []
    for seat in seats:
        if not seat.row.tokens:
            reading.append(seat)
        elif (missing := slots.missing(seat)) == 1:
            parts.append((seat, seat.row.last, True))
        elif missing:  # its window has slid
            reading.append(seat)
    if not reading:
        return parts, 0
    room, read, told = max(budget - len(parts), min(LEAST, (budget + 1) // 2), 1), 0, TOLD
    for seat in reading:
        if not room:
            break
        missing = slots.missing(seat) if told or not seat.row.telling else 0
        if missing:
            count = min(missing, room)
            if seat.row.telling:
                count = min(count, told)
                told -= count
            held = seat.begin + int(slots.cache.lengths[seat.slot])
            parts.append((seat, seat.row.ids(held)[:count], count == missing))
            room -= count
            read += count if not seat.row.tokens else 0
    return parts, read
