"""From logits to the next token: pure functions of (logits, settings, seed, row, step)."""

import math
import secrets
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next token is chosen. Filters apply in the order temperature, top_k, top_p.

    temperature: logits are divided by it; 0 takes the most probable token (greedy). Finite, >= 0.
    top_k: only the k most probable tokens stay; 0 keeps all (Fan et al. 2018). Of equally probable ones the lower id
        stays.
    top_p: only the smallest set of most probable tokens stays whose probabilities reach top_p (nucleus, Holtzman et al.
        2020); 1 keeps all. 0 < top_p <= 1.
    seed: an integer >= 0; a number drawn depends on seed, row and step alone.
    Raises ValueError for a value outside of its range, TypeError for one of another type.

    >>> Sampling(temperature=0.8, top_k=40).top_p
    1.0
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("temperature", "top_p"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
                raise TypeError(f"sampling: {name} must be a number, got {value!r}")
            object.__setattr__(self, name, float(value))
        for name in ("top_k", "seed"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                raise TypeError(f"sampling: {name} must be an integer, got {value!r}")
            if value < 0:
                raise ValueError(f"sampling: {name} must be >= 0, got {value}")
            object.__setattr__(self, name, int(value))
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ValueError(f"sampling: temperature must be finite and >= 0, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"sampling: top_p must be above 0 and at most 1, got {self.top_p}")
        if self.seed >= 2**64:
            raise ValueError(f"sampling: seed must be below 2**64, got {self.seed}")


def new_seed() -> int:
    """A seed from the operating system's randomness, for whoever gave none."""
    return secrets.randbits(32)


def uniform(seed: int, row: int, step: int) -> float:
    """The number in [0, 1) that this row draws at this step: Philox, counter-based (Salmon et al. 2011).

    >>> uniform(7, 0, 3) == uniform(7, 0, 3)
    True
    """
    key, counter = np.array([seed, row], np.uint64), np.array([0, step, 0, 0], np.uint64)
    return float(np.random.Generator(np.random.Philox(key=key, counter=counter)).random())


def probabilities(logits: Floats, settings: Sampling) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The tokens that may be chosen, in ascending order of id, and their probabilities, which sum to 1.

    logits: float32 [vocabulary]. Raises ValueError if a logit is NaN or all are -inf.

    >>> ids, p = probabilities(np.log(np.float32([0.5, 0.2, 0.3])), Sampling(temperature=1, top_p=0.75))
    >>> ids.tolist(), p.round(3).tolist()
    ([0, 2], [0.625, 0.375])
    """
    top = logits.max() if logits.size else np.float32(np.nan)
    if not np.isfinite(top):
        raise ValueError(f"sampling: the largest logit must be finite, got {top} among {logits.size} logits")
    if settings.temperature == 0:
        return np.array([logits.argmax()]), np.ones(1)
    ids: NDArray[np.intp] = np.arange(logits.size)
    if 0 < settings.top_k < logits.size:
        ids = _most_probable(logits, settings.top_k)
    with np.errstate(over="ignore"):  # a difference over a tiny temperature is -inf, its probability 0
        p = np.exp((logits[ids].astype(np.float64) - float(top)) / settings.temperature)
    p /= p.sum()
    if settings.top_p < 1:
        keep = _nucleus(p, logits[ids], settings.top_p)
        ids, p = ids[keep], p[keep] / p[keep].sum()
    return ids, p


def choose(logits: Floats, settings: Sampling, row: int = 0, step: int = 0) -> int:
    """The next token of one row. logits: float32 [vocabulary].

    >>> choose(np.float32([1, 3, 2]), Sampling())
    1
    """
    ids, p = probabilities(logits, settings)
    if len(ids) == 1:
        return int(ids[0])
    reached = np.cumsum(p)
    at = np.searchsorted(reached, uniform(settings.seed, row, step) * reached[-1], side="right")
    return int(ids[min(int(at), len(ids) - 1)])


def _most_probable(logits: Floats, k: int) -> NDArray[np.intp]:
    limit = np.partition(logits, logits.size - k)[logits.size - k]
    above = np.flatnonzero(logits > limit)
    return np.sort(np.concatenate([above, np.flatnonzero(logits == limit)[: k - len(above)]]))


def _nucleus(p: NDArray[np.float64], logits: Floats, top_p: float) -> NDArray[np.intp]:
    # Tokens below this limit sum to less than 1 - top_p together: the nucleus is among the others.
    likely = np.flatnonzero(p >= (1 - top_p) / p.size)
    # Logits may differ where float64 gives them the same probability.
    order = likely[np.argsort(-logits[likely], kind="stable")]
    count = int(np.searchsorted(np.cumsum(p[order]), top_p)) + 1
    return np.sort(order[:count])
