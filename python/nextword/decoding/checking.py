"""A pass through the model, and whether what was drafted is what each row chooses, token by token."""

from collections.abc import Mapping

import numpy as np

from nextword.arithmetic.arrays import Floats, Ints
from nextword.decoding.assembly import Part
from nextword.decoding.seats import Seat
from nextword.models.cache import KVCache
from nextword.models.model import Model


class Checked:
    """What the model says of a row and of its draft: logits [1 + drafted, vocabulary], before, in and after it.

    held: tokens of the row's slot without the draft. accepted: drafted tokens that were right so far.
    """

    __slots__ = ("accepted", "draft", "held", "logits", "seat")

    def __init__(self, seat: Seat, draft: Ints | None, logits: Floats, held: int) -> None:
        self.seat, self.draft, self.logits, self.held, self.accepted = seat, draft, logits, held, 0

    def take(self, cache: KVCache) -> bool:
        """The row takes its next token; returns whether that is the drafted one, so that the next logits hold, too."""
        row, draft = self.seat.row, self.draft
        if draft is None:
            row.take(self.logits[0])
            return False
        cache.lengths[self.seat.slot] = self.held + self.accepted
        token, right = row.take(self.logits[self.accepted]), False
        if self.accepted < len(draft) and token == draft[self.accepted]:
            self.accepted += 1
            right = row.finish is None
        if not right:
            self.seat.pace.learn(len(draft), self.accepted)
        return right


def check(model: Model, cache: KVCache, parts: list[Part], drafts: Mapping[int, Ints]) -> list[Checked]:
    """Send parts through the model, and drafts, by slot, behind those that are whole; what it says of these.

    Of a prompt that is told of, its row reads the logits of all tokens; a row that has ended with that is not among
    what is returned.
    """
    batch: list[Ints] = []
    slots: list[int] = []
    wanted: list[int] = []  # tokens of the batch that give logits
    count = 0
    for seat, ids, whole in parts:
        draft = drafts.get(seat.slot) if drafts else None
        fresh = ids if draft is None else np.concatenate([ids, draft])
        batch.append(fresh)
        slots.append(seat.slot)
        first, count = count + (0 if seat.row.telling else len(ids) - 1), count + len(fresh)
        if whole or seat.row.telling:
            wanted += range(first, count)
    logits = model(batch, cache, slots, wanted)
    checked, at = [], 0
    for seat, ids, whole in parts:
        if seat.row.telling:
            rows = logits[at : at + len(ids)]
            at += len(rows) - whole  # the last one is its text's, if it is the prompt's
            try:
                seat.row.read(rows, int(cache.lengths[seat.slot]) - len(ids))
            except Exception as error:  # not an interrupt: what was not read is read again
                seat.error = error
                raise
        if not whole or seat.row.finish is not None:
            at += whole
            continue
        draft, end = drafts.get(seat.slot) if drafts else None, at + 1
        if draft is not None:
            end += len(draft)
            cache.lengths[seat.slot] -= len(draft)  # what is drafted is no part of the text yet
        checked.append(Checked(seat, draft, logits[at:end], int(cache.lengths[seat.slot])))
        at = end
    return checked
