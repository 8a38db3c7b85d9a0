"""Speculation: tokens guessed cheaply, which the exact model checks in one pass. Here is who guesses and how many;
checking is in scheduler.

A checked token is chosen from the exact model's logits as ever, by the same rules and the same drawn number, so that a
text does not depend on its draft. A draft model draws with that number too: what is likely in both models is then
mostly drawn in both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple, Protocol

import numpy as np

from nextword.arithmetic.arrays import Floats, Ints
from nextword.decoding.beginnings import SHARED, common_length
from nextword.decoding.row import Row
from nextword.decoding.sampling import choose
from nextword.models.model import Model
from nextword.models.passes import read
from nextword.text.tokenizer import Tokenizer

Draft = Model | Literal["lookup"]

DTYPES = ("bfloat16", "int8", "int4")  # of a quantised copy that drafts
WIDE = 32  # tokens that a pass takes while it is still bound by reading the weights, not by multiplying
LONGEST = 4  # tokens that are looked up at most


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


class Speculation:
    """The drafts of the rows in `slots` slots. draft: a model that drafts, or "lookup"; room: tokens of the longest
    text that the exact model sees."""

    def __init__(self, draft: Draft, slots: int, room: int) -> None:
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


class Index:
    """A text in which what followed its last tokens earlier is found at once, however long it is.

    For every 1 .. 4 tokens in a row it knows the place after the last time that they stood there.

    >>> index = Index()
    >>> index.extend([7, 8, 9, 5, 8])
    >>> index.continuation(5)
    [9, 5, 8, 9, 5]
    """

    def __init__(self) -> None:
        self.text: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}

    def extend(self, tokens: Sequence[int]) -> None:
        """Add tokens to the text."""
        for token in tokens:
            at = len(self.text)
            for length in range(1, min(LONGEST, at) + 1):
                self._after[tuple(self.text[at - length :])] = at
            self.text.append(token)

    def continuation(self, most: int) -> list[int]:
        """What followed the last time that the text's last 4 tokens stood in it, or 3, 2, 1 of them; none if they never
        did. What reaches the text's end goes on from itself, as a repetition does."""
        for length in range(min(LONGEST, len(self.text)), 0, -1):
            at = self._after.get(tuple(self.text[-length:]))
            if at is not None:
                return [self.text[at + i % (len(self.text) - at)] for i in range(most)]
        return []


class Lookup:
    """Guesses that a text goes on as it did after the same tokens before (prompt lookup decoding, Saxena 2023)."""

    def __init__(self, rows: int) -> None:
        self._indices = [Index() for _ in range(rows)]

    def begin(self, slot: int) -> None:
        """The text of the slot is another."""
        self._indices[slot] = Index()

    def guess(self, asked: Sequence[Asked]) -> list[list[int]]:
        """For each row what followed its last tokens earlier in its prompt and text."""
        for one in asked:
            index = self._indices[one.slot]
            index.extend(one.row.ids(len(index.text)).tolist())
        return [self._indices[one.slot].continuation(one.most) for one in asked]


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


@lru_cache(maxsize=4)  # a large vocabulary takes some hundredths of a second
def same_tokens(a: Tokenizer, b: Tokenizer) -> bool:
    """Whether two vocabularies give the same ids the same bytes."""
    size = max(len(a), len(b))
    return a is b or all(a.has(i) == b.has(i) and (not a.has(i) or a.token_bytes(i) == b.token_bytes(i))
                         for i in range(size))
