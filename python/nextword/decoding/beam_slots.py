"""The open beams of a search, and the slots of a cache in which the model holds them."""

from bisect import bisect_left

import numpy as np

from nextword.arithmetic.arrays import Floats
from nextword.models.cache import PANEL
from nextword.models.model import Model
from nextword.models.passes import read
from nextword.models.trace import tap_of


class Path:
    """A beam that is still open: its tokens, and where the model holds them."""

    def __init__(self, tokens: list[int], logprobs: list[float], logprob: float, slot: int) -> None:
        self.tokens, self.logprobs, self.logprob = tokens, logprobs, logprob
        self.slot = slot  # of the cache; it holds all tokens but the last, once place() has been there
        self.row = 0  # of the latest logits, and the number of the beam in the tree


class Slots:
    """The cache of a search: the prompt encoded once, and a slot for each open beam."""

    def __init__(self, model: Model, prompt: list[int], slots: int, fresh: int) -> None:
        self.model, self.prompt = model, prompt
        self.capacity = min(model.limit, len(prompt) + fresh)
        self.held: list[list[int] | None] = [None] * slots  # the new tokens in each slot; None: not even the prompt

    def prefill(self) -> Floats:
        """Encode the prompt, whole panels of it once for all slots; logits [1, vocabulary] of what follows."""
        common = 0 if tap_of(self.model).replaces else (len(self.prompt) - 1) // PANEL * PANEL
        before = self.model.encoded(self.prompt[:common], len(self.prompt)) if common else None
        self.cache = self.model.cache(len(self.held), self.capacity, before)
        rest = np.array(self.prompt[common:], np.int64)
        logits = read(self.model, rest, self.cache, last=1)
        self.held[0] = []
        return logits

    def place(self, paths: list[Path]) -> None:
        """Give each beam a slot that holds all of its tokens but the last; `slot` is its parent's before.

        One child of a parent stays where it is. The others take slots whose beam has ended, so that no slot is both
        read and written, and copy only what those do not hold already.
        """
        stay: dict[int, Path] = {}
        for path in paths:
            stay.setdefault(path.slot, path)
        free = [slot for slot in range(len(self.held)) if slot not in stay]
        empty = [slot for slot in reversed(free) if self.held[slot] is None]
        # In order, so that the slot which shares most with a beam is beside the beam's place.
        used = sorted((held, slot) for slot in free if (held := self.held[slot]) is not None)
        for path in paths:
            if stay[path.slot] is path:
                continue
            past, start = path.tokens[:-1], 0
            if used:
                at = bisect_left(used, (past, -1))
                near = range(max(0, at - 1), min(at + 1, len(used)))
                at = max(near, key=lambda i: _common(used[i][0], past))
                held, slot = used.pop(at)
                start = len(self.prompt) + _common(held, past)
            else:
                slot = empty.pop()
            self.cache.copy(path.slot, slot, len(self.prompt) + len(past), start)
            self.held[slot] = past
            path.slot = slot

    def step(self, paths: list[Path]) -> Floats:
        """Run each beam's last token; logits [beams, vocabulary]."""
        self.place(paths)
        for row, path in enumerate(paths):
            path.row = row
            self.held[path.slot] = path.tokens
        return self.model([np.array(path.tokens[-1:]) for path in paths], self.cache, [path.slot for path in paths])


def _common(a: list[int], b: list[int]) -> int:
    """How many tokens two lists share from their beginning."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
