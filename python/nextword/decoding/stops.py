"""Stop strings: found in a text as it grows, in time linear in the text, however long and however many they are."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence


class _State:
    """What the text ends with, as far as it begins a stop string: `depth` characters, which those of `words[low:high]`
    begin with. shorter: the state of the longest proper end of it that begins a stop string, None for the empty one.
    whole: the length of the longest stop string that the text ends with, 0 for none."""

    __slots__ = ("depth", "high", "low", "next", "shorter", "whole")

    def __init__(self, low: int, high: int, depth: int, shorter: _State | None, whole: int) -> None:
        self.low, self.high, self.depth, self.shorter, self.whole = low, high, depth, shorter, whole
        self.next: dict[str, _State] = {}


class StopMatcher:
    """Where the first stop string begins in a text that comes piece by piece (Aho and Corasick 1975).

    The automaton's states are made when the text first comes to them, so that memory and time go with the text, not
    with the strings.

    >>> matcher = StopMatcher(["\\n\\n", "END"])
    >>> matcher.find("The E"), matcher.held, matcher.find("ND."), matcher.held
    (None, 1, 4, 0)
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = sorted(set(words))
        self._root = _State(0, len(self.words), 0, None, 0)
        self._state, self._seen = self._root, 0

    @property
    def held(self) -> int:
        """How many of the text's last characters may begin a stop string."""
        return self._state.depth

    def find(self, piece: str) -> int | None:
        """Go on by a piece; where in the text the first stop string begins that ends in it, None if none does."""
        found: int | None = None
        for at, character in enumerate(piece, self._seen + 1):
            self._state = self._after(self._state, character)
            if self._state.whole:
                begin = at - self._state.whole
                found = begin if found is None else min(found, begin)
        self._seen += len(piece)
        return found

    def _after(self, state: _State, character: str) -> _State:
        """The state one character on; what it needs is made on the way."""
        fresh: list[tuple[_State, int, int]] = []  # states that go on so for the first time, the longest first
        here: _State | None = state
        there = self._root
        while here is not None:
            known = here.next.get(character)
            if known is not None:
                there = known
                break
            low, high = self._words_after(here, character)
            if low < high:
                fresh.append((here, low, high))
            here = here.shorter
        for here, low, high in reversed(fresh):
            depth = here.depth + 1
            whole = depth if len(self.words[low]) == depth else there.whole  # a word stands before its continuations
            there = here.next[character] = _State(low, high, depth, there, whole)
        return there

    def _words_after(self, state: _State, character: str) -> tuple[int, int]:
        """The range of words that go on from a state by this character."""
        depth = state.depth

        def next_of(word: str) -> str:
            return word[depth : depth + 1]

        low = bisect_left(self.words, character, state.low, state.high, key=next_of)
        return low, bisect_right(self.words, character, low, state.high, key=next_of)
