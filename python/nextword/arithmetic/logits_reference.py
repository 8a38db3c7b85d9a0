"""The operations on a row of logits in NumPy: the definition of correct. Same names and signatures as in logits.py."""

import math
import sys

import numpy as np
from numpy.typing import NDArray

from nextword.arithmetic.arrays import Doubles, Floats, Ints


def _check_logits(logits: Floats, op: str) -> None:
    top = logits.max() if logits.size else np.float32(-np.inf)
    if not np.isfinite(top):
        raise ValueError(f"sampling: the largest logit must be finite and none may be NaN, got {top} among "
                         f"{logits.size} logits of {op}; pass finite logits, and -inf for tokens that may not be drawn")


_HALF_ULP = 2.0**-24  # of float32


def _smallest(keys: Doubles, p: Doubles, share: float, size: int) -> tuple[Ints, int]:
    """The order by ascending key, equals by id, and how many of it reach `share` of the sum of p, but for what the
    rounding of `size` float32 log-probabilities can take from it."""
    order = np.argsort(keys, kind="stable")
    reached = np.cumsum(p[order])
    needed = max(share - _HALF_ULP * (1 + math.log(size)), sys.float_info.min)
    return order, min(int(np.searchsorted(reached, needed * reached[-1])) + 1, len(order))


def distribution(logits: Floats, temperature: float, top_k: int, top_p: float, min_p: float, typical_p: float,
                 uniform: bool) -> tuple[Ints, Doubles, Doubles]:
    """The tokens of one row that may be drawn and their probabilities: rules applied in the order of the parameters."""
    _check_logits(logits, "distribution")
    cuts = np.array([-np.inf, -np.inf, -np.inf, np.inf, np.inf])
    with np.errstate(over="ignore"):
        units = logits.astype(np.float64) / temperature
    size, held, largest = logits.size, min(max(temperature, 1e-30), 1e30), float(logits.max())
    scaled = (logits.astype(np.float64) - largest) / held
    ids = np.flatnonzero(logits > -np.inf)
    if 0 < top_k < logits.size:
        limit = np.partition(logits, logits.size - top_k)[logits.size - top_k]
        ids, cuts[0] = ids[logits[ids] >= limit], units[logits == limit][0]
    p = np.exp(scaled[ids])
    if top_p < 1:
        order, count = _smallest(-logits[ids].astype(np.float64), p, top_p, size)
        keep = np.sort(order[:count])
        ids, p, cuts[1] = ids[keep], p[keep], units[ids[keep]].min()
    if min_p > 0:
        lowest = largest + held * math.log(min_p)
        slack = _HALF_ULP * (2 + 2 * math.log(size) + (largest - lowest))
        keep = np.flatnonzero(logits[ids] >= min(lowest - slack, largest))
        ids, p, cuts[2] = ids[keep], p[keep], units[ids[keep]].min()
    if typical_p < 1:
        logs = scaled[ids] - scaled[ids].max() - math.log(p.sum())
        entropy = -float((p / p.sum() * logs).sum())
        shift = np.abs(-logs - entropy)
        order, count = _smallest(shift, p, typical_p, size)
        keep = np.flatnonzero(shift <= shift[order[count - 1]])
        ids, p, cuts[3], cuts[4] = ids[keep], p[keep], entropy, shift[keep].max()
    if uniform:
        p = np.ones(len(ids))
    return ids, p / p.sum(), cuts


def chances(logits: Floats, temperature: float, top_k: int, top_p: float, min_p: float, typical_p: float,
            uniform: bool, tokens: Ints) -> tuple[Doubles, NDArray[np.bool_], Doubles]:
    """What `distribution` gives to some tokens."""
    ids, p, cuts = distribution(logits, temperature, top_k, top_p, min_p, typical_p, uniform)
    dense = np.zeros(logits.size)
    dense[ids] = p
    return dense[tokens], np.isin(tokens, ids), cuts


def sample(logits: Floats, temperature: float, top_k: int, top_p: float, min_p: float, typical_p: float, uniform: bool,
           u: float) -> tuple[int, float, int]:
    """Draw a token from `distribution` of the same arguments by inverse transform."""
    ids, p, _ = distribution(logits, temperature, top_k, top_p, min_p, typical_p, uniform)
    at = _inverse_transform(ids, p, logits.size, u)
    return int(ids[at]), float(p[at]), len(ids)


def _inverse_transform(ids: Ints, p: Doubles, vocabulary: int, u: float) -> int:
    """Where in ids the cumulative sum, as `ops.sample` orders it, first exceeds u."""
    dense = np.zeros(-(-vocabulary // 512) * 512)
    dense[ids] = p
    lanes = np.cumsum(dense.reshape(-1, 64, 8), 1)[:, -1].T  # cumsum adds one by one
    totals = ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]))
    ends = np.cumsum(totals)
    block = int(np.searchsorted(ends, u, side="right"))
    while block < len(ends):  # a block's tokens, added one by one, may end at or below u where its total exceeds it
        start = 0.0 if block == 0 else ends[block - 1]
        found = np.flatnonzero((ids // 512 == block) & (p > 0))
        reached = np.cumsum(np.concatenate([[start], p[found]]))[1:]
        at = int(np.searchsorted(reached, u, side="right"))
        if at < len(found):
            return int(found[at])
        block += 1
    return int(np.flatnonzero(p > 0)[-1])


def log_sum_exp(logits: Floats) -> float:
    """log(sum(exp(logits)))."""
    _check_logits(logits, "log_sum_exp")
    x = logits.astype(np.float64)
    return float(x.max() + np.log(np.exp(x - x.max()).sum()))


def log_probabilities(logits: Floats, targets: Ints, top: int = 0) -> tuple[Doubles, Ints, Doubles]:
    """Natural logarithms of softmax probabilities, of each row those of its targets and of its `top` best tokens."""
    if top < 0:
        raise ValueError(f"sampling: log_probabilities: top must be 0 or more, got {top}")
    if targets.size and not 0 <= targets.min() <= targets.max() < logits.shape[1]:
        raise IndexError(f"sampling: log_probabilities: targets must be 0 .. {logits.shape[1] - 1}")
    for row in logits:
        _check_logits(row, "log_probabilities")
    values = logits.astype(np.float64) - np.array([log_sum_exp(row) for row in logits]).reshape(-1, 1)
    ids = np.argsort(-logits.astype(np.float64), axis=1, kind="stable")[:, :top]
    several = targets.reshape(len(logits), 1 if targets.ndim == 1 else targets.shape[1])
    of_targets = np.take_along_axis(values, several, 1).reshape(targets.shape)
    return of_targets, ids, np.take_along_axis(values, ids, 1)


def top(logits: Floats, k: int) -> Ints:
    """The ids of the k largest logits, descending, of equal ones the lower id first."""
    if np.isnan(logits).any() or np.isposinf(logits).any():
        raise ValueError("sampling: the largest logit must be finite and none may be NaN")
    return np.argsort(-logits.astype(np.float64), kind="stable")[:k]


def philox(seed: int, row: int, step: int) -> float:
    """The number in [0, 1) that a row draws at a step, as NumPy's generator gives it."""
    key, counter = np.array([seed, row], np.uint64), np.array([0, step, 0, 0], np.uint64)
    return float(np.random.Generator(np.random.Philox(key=key, counter=counter)).random())
