"""Budget: how many tokens of prompts a pass takes, by the clock. Runs no model.

The bits of a text do not depend on how its prompt was cut, so that the cut may follow the time that passes take.
"""

from collections import deque
from collections.abc import Sequence

from nextword.models.passes import CHUNK

SEEN = 64  # passes that what is learnt comes from
LEAST = 64  # tokens of prompts in a pass that reads any: fewer take hardly less time, as a pass reads all weights once,
#             whatever its tokens, and a prompt in crumbs would pay for that again and again


class Budget:
    """How many tokens of prompts go into a pass, so that those who watch their texts grow do not wait.

    pass_ms: the milliseconds that a pass beside growing texts is to take. Where these alone take more than half of it,
    prompts get as long again as they: a server that is full would else never get new texts begun.

    A pass costs a + b * tokens: all weights are read once, then each token is computed. Both are learnt from the
    medians of the last 64 passes, small ones and large ones, so that one that was disturbed says nothing. The first
    tokens cost nothing while memory is waited for: what small passes say of larger ones is trusted to twice their size.

    >>> budget = Budget(pass_ms=25)
    >>> budget.tokens(decoding=3, others=0), budget.tokens(decoding=0, others=0)
    (64, 512)
    >>> for tokens in (1, 1, 1, 100, 100):
    ...     budget.learn(tokens, 0.005 + 0.0001 * tokens)
    >>> budget.tokens(decoding=10, others=0)                    # 25 ms = 5 ms + 200 * 0.1 ms, less those that go on
    190
    """

    def __init__(self, pass_ms: float) -> None:
        self.seconds = pass_ms / 1000
        self._seen: deque[tuple[int, float]] = deque(maxlen=SEEN)
        self.rate = 0.0  # tokens a second of the last passes, which other threads read; 0.0 before the first
        self._slope = 0.0  # seconds a token, 0.0 while passes of one size alone were seen

    def learn(self, tokens: int, seconds: float) -> None:
        """A pass of so many tokens has taken so long."""
        self._seen.append((tokens, seconds))
        self.rate = sum(n for n, _ in self._seen) / max(1e-9, sum(s for _, s in self._seen))

    def cost(self) -> tuple[float, float]:
        """Seconds of a pass, and of each of its tokens; of these 0.0 while unknown."""
        if not self._seen:
            return 0.0, 0.0
        sizes = [tokens for tokens, _ in self._seen]
        middle = (min(sizes) + max(sizes)) / 2
        small = [one for one in self._seen if one[0] <= middle]
        large = [one for one in self._seen if one[0] > middle]
        if large:
            (tokens, seconds), (more, longer) = _medians(small), _medians(large)
            self._slope = max(0.0, (longer - seconds) / (more - tokens))
        tokens, seconds = _medians(small)
        return max(0.0, seconds - self._slope * tokens), self._slope

    def tokens(self, decoding: int, others: int) -> int:
        """Tokens of prompts for the next pass. decoding: texts that go on by a token in it; others: rows that wait for
        their turn. A pass that nobody waits for takes a whole chunk."""
        if not decoding and not others:
            return CHUNK
        fixed, each = self.cost()
        if not each:
            return LEAST
        alone = fixed + each * decoding
        most = min(CHUNK, 2 * max(tokens for tokens, _ in self._seen))
        return max(LEAST, min(most, int((max(self.seconds, 2 * alone) - alone) / each)))


def _medians(passes: list[tuple[int, float]]) -> tuple[float, float]:
    return _median([tokens for tokens, _ in passes]), _median([seconds for _, seconds in passes])


def _median(numbers: Sequence[float]) -> float:
    """That of statistics, whose import takes longer than that of this whole room."""
    ordered, half = sorted(numbers), len(numbers) // 2
    return (ordered[half] + ordered[~half]) / 2
