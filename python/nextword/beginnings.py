"""What prompts begin with in common, so that it is encoded once. Left out: encoding it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextword.layers import PANEL, Ints

SHARED = 32  # a beginning of so many tokens in common is encoded once: copying it is cheaper than one more pass


def common_beginning(prompts: Sequence[Ints]) -> int:
    """How many tokens two or more prompts all begin with, in whole panels of the cache; their last tokens do not count.

    >>> common_beginning([np.arange(80), np.arange(70)]), common_beginning([np.arange(80)])
    (64, 0)
    """
    if len(prompts) < 2:
        return 0
    return min(common_length(prompts[0][:-1], other[:-1]) for other in prompts) // PANEL * PANEL


def shared_beginnings(prompts: Sequence[Ints]) -> list[tuple[int, int]]:
    """For each prompt the earlier one with the longest beginning in common, and its length; 0 where it is too short to
    be worth waiting for. The last token is never shared: it gives the logits.

    >>> shared_beginnings([np.arange(50), np.arange(40), np.array([0, 1, 9])])
    [(0, 0), (0, 39), (2, 0)]
    """
    found = []
    for i, prompt in enumerate(prompts):
        donor, common = i, 0
        for j in range(i):
            length = common_length(prompts[j], prompt[:-1])
            if length >= SHARED and length > common:
                donor, common = j, length
            if common and common == len(prompt) - 1:
                break
        found.append((donor, common))
    return found


def common_length(a: NDArray[np.integer[Any]], b: NDArray[np.integer[Any]]) -> int:
    """How many tokens both begin with.

    >>> common_length(np.array([1, 2, 3]), np.array([1, 2, 4, 5]))
    2
    """
    shorter = min(len(a), len(b))
    different = np.flatnonzero(a[:shorter] != b[:shorter])
    return int(different[0]) if len(different) else shorter
