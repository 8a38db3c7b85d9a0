"""Words for the gaps of a text."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextword.arithmetic.arrays import Ints
from nextword.tasks.encoded import Filled


def filled(text: str, k: int, tokens: Any, tokenizer: Any,
           chances: Callable[[Ints], NDArray[np.float64]]) -> list[list[Filled]]:
    """The k most probable words of each gap.

    tokens: WithSpecials of the text. chances: gives probabilities [rows, vocabulary] of some of its tokens.
    Raises ValueError where there is no gap or no mask token.
    """
    mask = tokenizer.special_ids.get("mask_token")
    if mask is None:
        raise ValueError("fill_mask: the vocabulary must have a mask token, and its files name none")
    rows = np.flatnonzero(np.asarray(tokens.ids) == mask)
    name = tokenizer.token_bytes(mask).decode("utf-8", "replace")
    if not len(rows):
        raise ValueError(f"fill_mask: the text must have {name} in the place of each gap, got none in "
                         f"{min(len(text), 60)} characters of it: {text[:60]!r}")
    found: list[list[Filled]] = []
    for row, probabilities in zip(rows.tolist(), chances(rows), strict=True):
        start, end = tokens.offsets[row]
        if start == end:
            start, end = _place(text, name, len(found))
        best = np.argsort(-probabilities, kind="stable")[:k]
        words = [tokenizer.decode([int(id)]).strip() for id in best]
        found.append([Filled(word, int(id), float(probabilities[id]), text[:start] + word + text[end:])
                      for word, id in zip(words, best, strict=True)])  # fmt: skip
    return found


def _place(text: str, name: str, number: int) -> tuple[int, int]:
    """Where the name of the mask token stands in the text for this gap."""
    at = -1
    for _ in range(number + 1):
        at = text.index(name, at + 1)
    return at, at + len(name)
