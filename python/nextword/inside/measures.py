"""What is measured of the logits behind a changed prompt: a token's logit or log-probability, two tokens' difference,
or how far the distribution moves. Runs no model."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nextword.arithmetic.arrays import Floats
from nextword.decoding.sampling import log_probabilities
from nextword.machine.shown import shown

Measure = Literal["logit", "logprob", "kl"]
MEASURES = ("logit", "logprob", "kl")


def one_of(op: str, name: str, value: Any, known: tuple[str, ...]) -> str:
    """The value. Raises ValueError unless it is one of these words."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{op}: {name} must be one of {', '.join(known)}, got {shown(value)}")
    return value


def all_log_probabilities(logits: Floats) -> NDArray[np.float64]:
    """Natural logarithms of the softmax of one row of logits [vocabulary].

    >>> np.exp(all_log_probabilities(np.log(np.float32([1, 3])))).round(6).tolist()
    [0.25, 0.75]
    """
    return log_probabilities(logits, np.arange(len(logits)))


def kl_divergence(before: Floats, after: Floats) -> float:
    """How far a distribution moved, in nats: sum of p log(p / q) (Kullback and Leibler 1951), p before and q after.

    before, after: logits [vocabulary]. 0 where they are equal, inf where what was possible is so no more.

    >>> round(kl_divergence(np.log(np.float32([1, 1])), np.log(np.float32([1, 3]))), 4)  # log(2 / 3 ** 0.5)
    0.1438
    """
    if np.array_equal(before, after):
        return 0.0
    p, q = all_log_probabilities(before), all_log_probabilities(after)
    there = p > -np.inf
    return max(0.0, float(np.sum(np.exp(p[there]) * (p[there] - q[there]))))


def measured(measure: Measure, target: int, clean: Floats) -> Callable[[Floats], float]:
    """What gives the number of one row of logits [vocabulary], as measured against a clean one."""
    if measure == "logit":
        return lambda logits: float(logits[target])
    if measure == "logprob":
        return lambda logits: float(log_probabilities(logits, np.array([target]))[0])
    return lambda logits: kl_divergence(clean, logits)
