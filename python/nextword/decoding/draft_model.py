"""Drafts by another model, token by token."""

from collections.abc import Sequence

import numpy as np

from nextword.arithmetic.arrays import Floats, Ints
from nextword.decoding.beginnings import SHARED, common_length
from nextword.decoding.drafting import Asked
from nextword.decoding.sampling import choose
from nextword.models.model import Model
from nextword.models.passes import read


class Ahead:
    """A row that goes on by the draft model's choice: the same rules, settings and drawn numbers. The user's functions
    stay out of it: they may count their calls."""

    def __init__(self, asked: Asked, unseen: Ints, most: int) -> None:
        self.slot, self.unseen, self._most, self._row = asked.slot, unseen, most, asked.row
        self._rules = asked.row.rules.without_processors()
        self._grammar = asked.row.grammar.copy() if asked.row.grammar is not None else None
        self._prompt, self._begin = asked.row.prompt, len(asked.row.tokens)
        self._new = np.concatenate([asked.row.ids(len(self._prompt)), np.empty(most, np.int64)])
        self.guess: list[int] = []

    def take(self, logits: Floats) -> bool:
        """Choose the next token; returns whether there may be another."""
        count = self._begin + len(self.guess)
        try:
            final, _ = self._rules(logits, self._prompt, self._new[:count])
            if self._grammar is not None:
                final = np.where(self._grammar.mask(), final, np.float32(-np.inf))
            token = choose(final, self._row.settings, self._row.number, count).token
            if self._grammar is not None:
                self._grammar.accept(token)
        except ValueError:  # the draft model's logits leave no token; the exact model's may
            return False
        self._new[count] = token
        self.unseen = self._new[count : count + 1]
        self.guess.append(token)
        return len(self.guess) < self._most and not self._row.ends_by(token)


class DraftModel:
    """Another model, or a quantised copy, guesses token by token, with a cache of its own that it keeps between drafts.

    Its window may be the smaller one: it then sees the last tokens, from half a window on.
    """

    def __init__(self, model: Model, rows: int, room: int) -> None:
        self.model, self.room = model, min(model.limit, room)
        self._cache = model.cache(rows, self.room)
        self._held: list[Ints] = [np.empty(0, np.int64)] * rows  # what each slot of the cache holds
        self._begins = [0] * rows  # the place in the row's text at which that begins

    def begin(self, slot: int) -> None:
        """The text of the slot is another. What it holds of the old one may be the new one's beginning, too."""
        self._begins[slot] = 0

    def guess(self, asked: Sequence[Asked]) -> list[list[int]]:
        """For each row the model's own continuation; one pass a token for all rows."""
        every = [self._ahead(one) for one in asked]
        going = every
        while going:
            ends = np.cumsum([len(ahead.unseen) for ahead in going]) - 1
            logits = self.model([ahead.unseen for ahead in going], self._cache, [ahead.slot for ahead in going], ends)
            for ahead in going:
                self._held[ahead.slot] = np.concatenate([self._held[ahead.slot], ahead.unseen])
            going = [ahead for ahead, row in zip(going, logits, strict=True) if ahead.take(row)]
        return [ahead.guess for ahead in every]

    def _ahead(self, asked: Asked) -> Ahead:
        """The row with what the model has not seen of it, at most 32 tokens; more go through the model now."""
        slot, length, begin = asked.slot, len(asked.row), max(asked.begin, self._begins[asked.slot])
        if length - begin + asked.most - 1 > self.room:
            begin = length - max(1, self.room // 2)
        self._begins[slot] = begin
        seen = asked.row.ids(begin)
        held = self._hold(slot, seen)
        if len(seen) - held > SHARED:
            read(self.model, seen[held:-1], self._cache, slot)
            held = len(seen) - 1
            self._held[slot] = seen[:held]
        return Ahead(asked, seen[held:], min(asked.most, self.room - len(seen) + 1))

    def _hold(self, slot: int, seen: Ints) -> int:
        """Let the slot hold what it can of the ids, without encoding any, but not the last, which gives the logits."""
        held = common_length(self._held[slot], seen[:-1])
        if len(seen) - held > SHARED:
            found = [common_length(other, seen[:-1]) for other in self._held]
            donor = int(np.argmax(found))
            if found[donor] >= held + SHARED:
                self._cache.copy(donor, slot, found[donor])
                held = found[donor]
        self._held[slot] = seen[:held]
        self._cache.lengths[slot] = held
        return held
