"""What prompts begin with in common, so that it is encoded once. Left out: encoding it."""

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
    """Tokens on the way down a tree of prompts, and the first prompt that went this way."""

    __slots__ = ("children", "first", "tokens")

    def __init__(self, tokens: Ints, first: int) -> None:
        self.tokens, self.first = tokens, first
        self.children: dict[int, _Edge] = {}

    def split(self, at: int) -> None:
        """Let the way branch after `at` of the tokens."""
        rest = _Edge(self.tokens[at:], self.first)
        rest.children, self.tokens = self.children, self.tokens[:at]
        self.children = {int(rest.tokens[0]): rest}


def shared_beginnings(prompts: Sequence[Ints]) -> list[tuple[int, int]]:
    """For each prompt the earlier one with the longest beginning in common, the first of several, and its length; 0
    where it is too short to be worth waiting for. The last token is never shared: it gives the logits. Takes time in
    proportion to the tokens.

    >>> shared_beginnings([np.arange(50), np.arange(40), np.array([0, 1, 9])])
    [(0, 0), (0, 39), (2, 0)]
    """
    found = []
    root = _Edge(np.empty(0, np.int64), 0)
    for i, prompt in enumerate(prompts):
        here, depth = root, 0
        way: list[tuple[int, int]] = []  # (where an edge ends, its first prompt)
        while depth < len(prompt):
            edge = here.children.get(int(prompt[depth]))
            if edge is None:
                here.children[int(prompt[depth])] = _Edge(prompt[depth:], i)
                break
            common = 1 if len(edge.tokens) == 1 else common_length(edge.tokens, prompt[depth:])
            if common < len(edge.tokens):
                edge.split(common)
            here, depth = edge, depth + common
            way.append((depth, edge.first))
        common = min(depth, len(prompt) - 1)
        found.append((i, 0) if common < SHARED else (next(first for end, first in way if end >= common), common))
    return found


def common_length(a: NDArray[np.integer[Any]], b: NDArray[np.integer[Any]]) -> int:
    """How many tokens both begin with.

    >>> common_length(np.array([1, 2, 3]), np.array([1, 2, 4, 5]))
    2
    """
    shorter = min(len(a), len(b))
    different = np.flatnonzero(a[:shorter] != b[:shorter])
    return int(different[0]) if len(different) else shorter
