"""From logits to the next token: pure functions of (logits, settings, row, step). Penalties and bans are in rules."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nextword.arithmetic import ops
from nextword.decoding.settings import Sampling

Floats = NDArray[np.float32]


class Choice(NamedTuple):
    """The token chosen, the probability it was drawn with, how many stayed, and the number in [0, 1) that was drawn
    (None where nothing is left to chance)."""

    token: int
    probability: float
    kept: int
    drawn: float | None


def new_seed() -> int:
    """A seed from the operating system's randomness, for whoever gave none."""
    import secrets  # brings a library of hashes

    return secrets.randbits(32)


def uniform(seed: int, row: int, step: int) -> float:
    """The number in [0, 1) that this row draws at this step: Philox, counter-based (Salmon et al. 2011).

    >>> uniform(7, 0, 3) == uniform(7, 0, 3)
    True
    """
    return ops.philox(seed, row, step)


def probabilities(logits: Floats, settings: Sampling) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The tokens that may be chosen, in ascending order of id, and their probabilities, which sum to 1.

    logits: float32 [vocabulary], after bias and penalties. Raises ValueError if a logit is NaN or all are -inf.

    >>> ids, p = probabilities(np.log(np.float32([0.5, 0.2, 0.3])), Sampling(temperature=1, top_p=0.75))
    >>> ids.tolist(), p.round(3).tolist()
    ([0, 2], [0.625, 0.375])
    """
    if settings.temperature == 0:
        return np.array([_greedy(logits)]), np.ones(1)
    ids, p, _ = ops.distribution(logits, *filters(settings))
    return ids, p


def log_probabilities(logits: Floats, tokens: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """`ops.log_probabilities` of some tokens of one row.

    logits: float32 [vocabulary], as the model gives them; tokens: ids. Raises ValueError if a logit is NaN or all are
    -inf, IndexError for a token that is not in the vocabulary.

    >>> log_probabilities(np.zeros(4, np.float32), np.array([2, 0])).round(4).tolist()  # log(1 / 4)
    [-1.3863, -1.3863]
    """
    found, _, _ = ops.log_probabilities(logits[None], np.asarray(tokens, np.int64)[None])
    return np.asarray(found[0])


def choose(logits: Floats, settings: Sampling, row: int = 0, step: int = 0) -> Choice:
    """The next token of one row. logits: float32 [vocabulary], after bias and penalties; a seed of None counts as 0.

    >>> choose(np.float32([1, 3, 2]), Sampling()).token
    1
    """
    if settings.temperature == 0:
        return Choice(_greedy(logits), 1.0, 1, None)
    drawn = ops.philox(settings.seed or 0, row, step)
    return Choice(*ops.sample(logits, *filters(settings), drawn), drawn)


def filters(settings: Sampling) -> tuple[float, int, float, float, float, bool]:
    """What `ops.distribution` and `ops.sample` ask for, in their order."""
    top_k = min(settings.top_k, 2**31)  # no vocabulary is larger
    return (settings.temperature, top_k, settings.top_p, settings.min_p, settings.typical_p, settings.uniform)


def _greedy(logits: Floats) -> int:
    best = int(logits.argmax()) if logits.size else 0  # a NaN counts as the largest
    if not (logits.size and np.isfinite(logits[best])):
        raise ValueError(f"sampling: the largest logit must be finite, got {logits[best] if logits.size else 'none'} "
                         f"among {logits.size} logits; a model or rule gave NaN or infinity, or forbade every token")
    return best
