"""The slots of a cache: which rows live in them, what they lend each other, when one is free again. Runs no model."""

from collections.abc import Collection

from nextword.decoding.beginnings import SHARED, Beginnings
from nextword.decoding.prefix import PrefixCache
from nextword.decoding.seats import Seat, keep_on_slide
from nextword.models.cache import KVCache


class Slots:
    """The slots of a cache. There are as many as the cache was made with, and it never grows.

    window: tokens that the model sees at most. store: where beginnings of prompts that were encoded before are looked
    up.

    settled: False while a row joins, leaves or slides, and after an interrupt of that: `settle` then comes first.

    What a row's prompt has in common with one in another slot is copied, not encoded again: it waits until that slot
    holds it. A slot that is free still lends what its last row left, until it is taken.
    """

    def __init__(self, cache: KVCache, window: int, store: PrefixCache | None = None) -> None:
        self.cache, self.window, self.store = cache, window, store
        self._free = dict.fromkeys(range(len(cache.lengths)))  # the one that has been free for the longest time first
        self._prompts = Beginnings()  # by slot, of those whose slot holds their beginning or will
        self._waiting: dict[int, list[Seat]] = {}  # by the slot that will lend to them
        self.settled = True

    @property
    def free(self) -> int:
        """How many are free."""
        return len(self._free)

    def settle(self, seats: Collection[Seat]) -> None:
        """Free are the slots that none of these rows has. Beginnings are forgotten: they are shared again as rows come,
        and who waits for one gets it."""
        self._prompts = Beginnings()
        taken = {seat.slot for seat in seats}
        for slot in range(len(self.cache.lengths)):
            if slot in taken:
                self._free.pop(slot, None)
            else:
                self._free.setdefault(slot)
        self.settled = True

    def take(self, seat: Seat) -> None:
        """Give the row a free slot. It goes on with what is there if it has asked for that slot: ValueError if that is
        not free."""
        if not seat.begun:
            seat.slot = self._place(seat)
        elif seat.slot not in self._free:
            raise ValueError(f"submit: slot must be one of those that are free, {list(self._free)}, got {seat.slot}")
        self.cache.prompts[seat.slot] = len(seat.row.prompt)
        del self._free[seat.slot]

    def _place(self, seat: Seat) -> int:
        """The slot that suits the row best, made ready for it."""
        prompt, cache = seat.row.prompt, self.cache
        shares = cache.prefix is None and len(prompt) <= self.window and seat.row.prompt_logprobs is None
        donor, common = self._prompts.find(prompt) if shares else (-1, 0)
        slot = donor if donor in self._free else next(iter(self._free))
        seat.donor = -1  # of a time when it was interrupted
        self._prompts.remove(slot)
        if slot == donor:
            cache.lengths[slot] = min(common, int(cache.lengths[slot]))
            cache.texts[slot] += 1
        else:
            cache.forget(slot)
            if common:
                seat.donor, seat.common = donor, common
                self._waiting.setdefault(donor, []).append(seat)
        if shares:
            self._prompts.add(slot, prompt)
        return slot

    def leave(self, seat: Seat) -> None:
        """Free the row's slot. What others wait for in it they have at once, as far as it came."""
        self._lend(seat.slot)
        seat.donor = -1
        if self.cache.patched[seat.slot]:  # not what the model computes by itself
            self._prompts.remove(seat.slot)
            self.cache.forget(seat.slot)
        self._free[seat.slot] = None

    def missing(self, seat: Seat) -> int:
        """How many tokens of the row the model has not seen; 0 where it cannot go on in this pass, as it waits for a
        beginning or has ended, maybe now, with a full window."""
        if seat.row.finish is not None:
            return 0
        row, total = seat.row, len(seat.row) - seat.begin
        if not row.tokens and not row.remaining and not row.telling:  # interrupted as it was to end
            row.end("length")
            return 0
        if total > self.window:
            if seat.overflow == "stop":
                seat.row.end("context")
                return 0
            self._slide(seat)
            total = len(seat.row) - seat.begin
        if not seat.begun and not self._begin(seat):
            return 0
        held = int(self.cache.lengths[seat.slot])
        if row.telling:
            assert row.prompt_logprobs is not None
            # A pass that was interrupted may have brought tokens of whose successors it told nothing.
            self.cache.lengths[seat.slot] = held = min(held, len(row.prompt_logprobs) - 1)
        if not row.remaining and not row.tokens:
            total -= 1  # nothing follows the prompt: its last token is told of, not read
        if held >= total:  # of a pass that was interrupted: the last token gives the logits, drafted ones are no text
            self.cache.lengths[seat.slot] = held = total - 1
        return total - held

    def _begin(self, seat: Seat) -> bool:
        """Whether the row can go on: what it shares with another is there, and is copied."""
        prompt, lengths = seat.row.prompt, self.cache.lengths
        if self.store is not None and len(prompt) <= self.window and seat.row.prompt_logprobs is None:
            self.store.fetch(prompt[:-1].tolist(), self.cache, seat.slot)
        if seat.donor >= 0 and not lengths[seat.slot]:
            if lengths[seat.donor] < seat.common:
                return False
            self._copy(seat, seat.common)
        seat.begun, seat.donor = True, -1
        return True

    def _slide(self, seat: Seat) -> None:
        """Keep the last tokens, to be encoded again: learned positions cannot be shifted."""
        keep = keep_on_slide(self.window, seat.row.remaining)
        self.settled = False
        self._lend(seat.slot)
        self._prompts.remove(seat.slot)
        self.cache.forget(seat.slot)
        self.cache.prompts[seat.slot] = keep
        seat.begun, seat.donor = True, -1
        seat.begin = len(seat.row) - keep  # last: until then, it slides once more with the next step
        self.settled = True

    def _lend(self, slot: int) -> None:
        """Give those who wait for the slot what it holds by now; they read on for themselves."""
        for seat in self._waiting.get(slot, ()):
            if seat.donor == slot:
                self._copy(seat, min(seat.common, int(self.cache.lengths[slot])))
        self._waiting.pop(slot, None)

    def _copy(self, seat: Seat, tokens: int) -> None:
        donor, seat.donor = seat.donor, -1
        if tokens >= SHARED and not self.cache.lengths[seat.slot] and not self.cache.patched[donor]:
            self.cache.copy(donor, seat.slot, tokens)
