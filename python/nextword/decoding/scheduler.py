"""Scheduler: the loop that decodes. Rows join and leave a running batch; a pass at a time goes through the model.

What a row gets does not depend on who else is there: not a bit of its logits, and its draws are its own.
"""

import time
from collections import deque
from collections.abc import Iterator, Sequence

from nextword.arithmetic.arrays import Ints
from nextword.decoding.assembly import Part, assemble
from nextword.decoding.checking import Checked, check
from nextword.decoding.drafting import Asked
from nextword.decoding.prefix import PrefixCache
from nextword.decoding.row import Row
from nextword.decoding.seats import Overflow, Seat
from nextword.decoding.slots import Slots
from nextword.decoding.speculation import Draft, Speculation
from nextword.models.cache import KVCache
from nextword.models.model import Model
from nextword.models.passes import CHUNK


class Scheduler:
    """Rows on their way through a model, from their prompts to their ends, in the slots of one cache.

    cache: as many rows run at once as it has slots, and it takes no more memory than it has; the others wait in order.
    draft: what guesses next tokens, for the model to check several in one pass; see speculation.
    store: where beginnings of prompts that were encoded before are looked up, and these are kept.
    budget: tokens that a pass takes at most, but for one (or its draft) of each row that goes on by one; it may be set
        anew before each pass.
    Raises ValueError for a cache without slots.

    prefill_tokens, prefill_seconds, decode_seconds: as in `Timings`, of all rows; a pass that both reads prompts and
    goes on with texts counts for each by its tokens. parts: what the last pass took. One thread at a time.

    >>> import nextword
    >>> from nextword.decoding.rules import Rules
    >>> model, settings = nextword.load().model, nextword.Sampling(max_new_tokens=3)
    >>> scheduler = Scheduler(model, model.cache(2, 32))
    >>> rows = [Row([281, 290, end], settings, Rules(settings, 4096)) for end in (300, 17, 42)]
    >>> seats = [scheduler.submit(row) for row in rows]
    >>> for _ in scheduler.steps():
    ...     pass
    >>> [(len(row.tokens), row.finish) for row in rows]
    [(3, 'length'), (3, 'length'), (3, 'length')]
    """

    def __init__(self, model: Model, cache: KVCache, draft: Draft | None = None, store: PrefixCache | None = None,
                 budget: int = CHUNK) -> None:
        if not len(cache.lengths):
            raise ValueError("scheduler: cache must have a slot at least, got 0")
        self.model, self.cache, self.store, self.budget = model, cache, store, budget
        self.slots = Slots(cache, model.limit, store)
        self.waiting: deque[Seat] = deque()
        self.running: dict[Seat, None] = {}  # in the order in which they came
        self.prefill_tokens = 0
        self.prefill_seconds = self.decode_seconds = 0.0
        self.parts: list[Part] = []
        self._speculation = None if draft is None else Speculation(draft, len(cache.lengths), cache.capacity)

    @property
    def drafts(self) -> bool:
        """Whether tokens are guessed."""
        return self._speculation is not None

    def submit(self, row: Row, overflow: Overflow = "error", slot: int | None = None) -> Seat:
        """Let a row join, as soon as a slot is free if none is named.

        overflow: whether it ends or slides when the window is full; "error": it has been seen to that it never is.
        slot: a free one that holds the first tokens of the prompt, not the last; the row goes on there at once.
        A row that has ended takes none.
        Raises ValueError for a row that might outgrow its slot, for a slot that is not free, and for a row that is to
        tell of its prompt's tokens where the first of them are held already.
        """
        seat = Seat(row, overflow)
        if row.finish is not None:
            return seat
        longest = min(self.slots.window, len(row) + row.remaining - 1)
        if longest > self.cache.capacity:
            raise ValueError(f"submit: a row must fit into its slot of {self.cache.capacity} tokens, got up to "
                             f"{longest}; make the cache with a larger capacity")
        if row.telling and (slot is not None or self.cache.prefix is not None):
            raise ValueError("submit: a row with prompt_logprobs must read all of its prompt; submit it without a "
                             "slot, to a cache without a prefix")
        if slot is None:
            self.waiting.append(seat)
        else:
            seat.slot, seat.begun = slot, True
            self._join(seat)
        return seat

    def cancel(self, seat: Seat) -> None:
        """End a row with what it has, as "cancelled"; its slot is free at once. One that has ended stays as it is."""
        ended = seat.row.finish is not None or seat.error is not None
        if not ended:
            seat.row.end("cancelled")
            seat.row.finish = "cancelled"  # even if half a character, shown at last, ends by a stop string
        if seat in self.running:
            self._leave(seat)
        elif not ended:
            self.waiting.remove(seat)

    def steps(self) -> Iterator[Sequence[Seat]]:
        """Pass by pass until no row is left; see `step`."""
        while self.running or self.waiting:
            yield from self.step()

    def step(self) -> Iterator[Sequence[Seat]]:
        """One pass through the model, and of what it says, a token of each row at a time.

        Yields, at least once, the rows that have taken one. Rows may join and be cancelled in between. What a row's own
        rules or processors raise comes out of here; that row has left, and the others go on with the next step as if
        nothing had been. So they do after an interrupt.
        """
        start = time.perf_counter()
        self.parts = []
        self._settle()
        self._leave_ended()
        while self.waiting and self.slots.free:
            seat = self.waiting[0]  # until it has a slot: who is interrupted here goes on with the next step
            if seat not in self.running and seat.row.finish is None and seat.error is None:
                self._join(seat)
            self.waiting.popleft()
        parts, read = assemble(self.running, self.slots, self.budget)
        self.parts = parts
        if len(parts) < len(self.running):
            self._leave_ended()  # the window was full
        share = read / sum(len(ids) for _, ids, _ in parts) if read else 0.0
        checked = self._checked(parts, read) if parts else []
        while True:
            checked = [one for one in checked if one.seat.row.finish is None]
            right = [one for one in checked if self._take(one)]
            spent = time.perf_counter() - start
            self.prefill_seconds += share * spent
            self.decode_seconds += spent - share * spent
            yield [one.seat for one in checked]
            if not right:
                break
            checked, start = right, time.perf_counter()

    def _settle(self) -> None:
        """Mend what an interrupt has left of a row that was to join, leave or slide."""
        if not self.slots.settled:
            self.slots.settle(self.running)

    def _join(self, seat: Seat) -> None:
        self._settle()
        self.slots.settled = False
        self.slots.take(seat)
        if self._speculation is not None:
            self._speculation.begin(seat.slot)
        self.running[seat] = None
        self.slots.settled = True

    def _leave_ended(self) -> None:
        for seat in [seat for seat in self.running if seat.row.finish is not None or seat.error is not None]:
            self._leave(seat)

    def _leave(self, seat: Seat) -> None:
        self._settle()
        self.slots.settled = False
        self.slots.leave(seat)
        del self.running[seat]  # last: who is interrupted here leaves once more with the next step
        self.slots.settled = True

    def _checked(self, parts: list[Part], read: int) -> list[Checked]:
        """Send parts and drafts through the model. read: how many tokens of the parts are of prompts."""
        drafts = {} if self._speculation is None else self._drafts(parts, read)
        checked = check(self.model, self.cache, parts, drafts)
        self.prefill_tokens += read
        self._leave_ended()  # who has told of its prompt, and wanted no more
        if self.store is not None:
            for row, slot in ((one.seat.row, one.seat.slot) for one in checked if not one.seat.begin):
                if not row.tokens and row.prompt_logprobs is None:
                    self.store.remember(row.prompt.tolist(), self.cache, slot)
        return checked

    def _drafts(self, parts: list[Part], read: int) -> dict[int, Ints]:
        """Drafts by slot, for rows whose text has begun: so long that with one more token they reach no limit."""
        assert self._speculation is not None
        asked = []
        for seat, _, whole in parts:
            row = seat.row
            if row.tokens and whole:
                room = self.slots.window - (len(row) - seat.begin)
                asked.append(Asked(seat.slot, row, seat.begin, min(row.remaining - 1, room, seat.pace.length)))
        return self._speculation.drafts(asked, len(asked) + read)

    def _take(self, one: Checked) -> bool:
        """The row takes its next token; returns whether it may take another one in this pass."""
        try:
            right = one.take(self.cache)
        except BaseException as error:
            one.seat.error = error
            self._leave(one.seat)
            raise
        if one.seat.row.finish is not None:
            self._leave(one.seat)
        return right
