"""What texts begin with in common, so that it is encoded once. Left out: encoding it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextword.arithmetic.arrays import Ints
from nextword.models.cache import PANEL

SHARED = 32  # a beginning of so many tokens in common is encoded once: copying it is cheaper than one more pass


def common_beginning(prompts: Sequence[Ints]) -> int:
    """How many tokens two or more prompts all begin with, in whole panels of the cache; their last tokens do not count.

    >>> common_beginning([np.arange(80), np.arange(70)]), common_beginning([np.arange(80)])
    (64, 0)
    """
    if len(prompts) < 2:
        return 0
    return min(common_length(prompts[0][:-1], other[:-1]) for other in prompts) // PANEL * PANEL


class _Edge:
    """Tokens on the way down a tree of texts; the first text that went this way, and those that end here."""

    __slots__ = ("children", "ends", "first", "tokens")

    def __init__(self, tokens: Ints, first: int) -> None:
        self.tokens, self.first = tokens, first
        self.ends: dict[int, None] = {}
        self.children: dict[int, _Edge] = {}

    def split(self, at: int) -> None:
        """Let the way branch after `at` of the tokens."""
        rest = _Edge(self.tokens[at:], self.first)
        rest.ends, rest.children = self.ends, self.children
        self.tokens, self.ends, self.children = self.tokens[:at], {}, {int(rest.tokens[0]): rest}


class Beginnings:
    """Texts by number, so that the one is found which begins like another for the longest time.

    Every call takes time in proportion to the tokens of its text, however many texts there are.

    >>> known = Beginnings()
    >>> known.add(7, np.arange(50))
    >>> known.find(np.arange(40)), known.find(np.array([0, 1, 9]))
    ((7, 39), (-1, 0))
    >>> known.remove(7)
    >>> known.find(np.arange(40))
    (-1, 0)
    """

    def __init__(self) -> None:
        self._root = _Edge(np.empty(0, np.int64), -1)
        self._texts: dict[int, Ints] = {}

    def find(self, text: Ints) -> tuple[int, int]:
        """The text that shares most with this one, the first of several, and how many tokens; (-1, 0) where it is too
        little to be worth waiting for. The last token is never shared: it gives the logits."""
        here, depth, number, most = self._root, 0, -1, len(text) - 1
        while depth < most and (edge := here.children.get(int(text[depth]))) is not None:
            common = _along(edge, text[depth:most])
            here, depth, number = edge, depth + common, edge.first
            if common < len(edge.tokens):
                break
        return (number, depth) if depth >= SHARED else (-1, 0)

    def add(self, number: int, text: Ints) -> None:
        """Take in a text by a number that has none."""
        here, depth = self._root, 0
        while depth < len(text):
            edge = here.children.get(int(text[depth]))
            if edge is None:
                edge = here.children[int(text[depth])] = _Edge(text[depth:], number)
            common = _along(edge, text[depth:])
            if common < len(edge.tokens):
                edge.split(common)
            here, depth = edge, depth + common
        here.ends[number] = None
        self._texts[number] = text

    def remove(self, number: int) -> None:
        """Forget the number's text, if it has one."""
        text = self._texts.pop(number, None)
        if text is None:
            return
        way = [self._root]
        depth = 0
        while depth < len(text):
            way.append(way[-1].children[int(text[depth])])
            depth += len(way[-1].tokens)
        del way[-1].ends[number]
        while len(way) > 1:
            edge = way.pop()
            if not edge.ends and not edge.children:
                del way[-1].children[int(edge.tokens[0])]
            elif edge.first == number:
                edge.first = next(iter(edge.ends), -1) if edge.ends else next(iter(edge.children.values())).first


def _along(edge: _Edge, text: Ints) -> int:
    """How many of the edge's tokens the text, which shares the first, begins with."""
    return 1 if len(edge.tokens) == 1 else common_length(edge.tokens, text)


def common_length(a: NDArray[np.integer[Any]], b: NDArray[np.integer[Any]]) -> int:
    """How many tokens both begin with.

    >>> common_length(np.array([1, 2, 3]), np.array([1, 2, 4, 5]))
    2
    """
    shorter = min(len(a), len(b))
    different = np.flatnonzero(a[:shorter] != b[:shorter])
    return int(different[0]) if len(different) else shorter
