"""The operations on a row of logits, computed in C++: from logits to the token that is drawn. `ops` has them among its
own; logits_reference.py is the same in NumPy.
"""

import numpy as np
from numpy.typing import NDArray

from nextword import _core
from nextword.arithmetic.arrays import Doubles, Floats, Ints


def distribution(logits: Floats, temperature: float, top_k: int, top_p: float, min_p: float, typical_p: float,
                 uniform: bool) -> tuple[Ints, Doubles, Doubles]:
    """The tokens of one row that may be drawn and their probabilities: rules applied in the order of the parameters.

    logits: [vocabulary]. -inf bans a token: its probability is 0 and no rule keeps it. Each rule works on the
    distribution renormalised over what the earlier ones kept, as the warpers of transformers do:
    temperature > 0: logits are divided by it; outside of [1e-30, 1e30] taken as the nearer end.
    top_k >= 0: logits below the k-th largest go, its equals stay (Fan et al. 2018). 0: off.
    top_p in [0, 1]: the fewest most probable tokens stay that reach top_p together, one at least (nucleus, Holtzman et
        al. 2020). Of equal logits at the border the lower ids stay. 1: off.
    min_p in [0, 1]: tokens less probable than min_p times the most probable go (Nguyen et al. 2024). 0: off.
    typical_p in (0, 1]: by |-log p - entropy|, the smallest stay until they reach typical_p together, and the equals of
        the last one (Meister et al. 2022). 1: off.
    A bound that is met exactly counts as met, though the logits are rounded: a sum reaches p if it is short of it by at
        most u (1 + log n), u = 2^-24, n = vocabulary. The rounding of float32 log-probabilities takes no more from it:
        a probability P, rounded and then its logarithm, is off by u (1 + |log P|), whose mean is at most u (1 + log n).
        min_p keeps a logit that is short of largest + temperature log min_p by at most u (2 + 2 log n + temperature
        |log min_p|), the rounding of both. transformers compares the float32 sums as they come.
    uniform: whether all kept tokens are equally probable in the end.

    Returns (ids int64 [kept], ascending; probabilities float64 [kept], which sum to 1; cuts float64 [5]).
    cuts: the least logit / temperature that top_k kept, that top_p kept, that min_p kept, each -inf where the rule is
    off; the entropy (in nats) and the largest |-log p - entropy| that typical_p kept, each inf where it is off. The
    first rule removed what lies below the first cut, and so on; a token at the second cut itself that is not kept while
    an equal one is, lost to a lower id.
    Exponentials are float32 relative to the largest logit, and float64 where their errors could decide what top_p or
    typical_p keeps: a probability below e^-87 of the largest is 0, though its
    token is kept unless a rule removes it. The bits depend on nothing but the arguments (same instruction set).
    Raises ValueError if a parameter is outside of its range, a logit is NaN or inf, or all are -inf.

    >>> logits = np.log(np.float32([0.5, 0.2, 0.3]))
    >>> ids, p, cuts = distribution(logits, 1.0, 0, 0.75, 0.0, 1.0, False)
    >>> ids.tolist(), p.round(3).tolist(), np.exp(cuts).round(3).tolist()
    ([0, 2], [0.625, 0.375], [0.0, 0.3, 0.0, inf, inf])
    >>> distribution(np.log(np.float32([0.3, 0.1, 0.1, 0.5])), 1.0, 0, 0.8, 0.0, 1.0, False)[0].tolist()
    [0, 3]
    """
    return _core.distribution(logits, temperature, top_k, top_p, min_p, typical_p, uniform)


def chances(logits: Floats, temperature: float, top_k: int, top_p: float, min_p: float, typical_p: float,
            uniform: bool, tokens: Ints) -> tuple[Doubles, NDArray[np.bool_], Doubles]:
    """What `distribution` gives to some tokens alone, without arrays as long as the vocabulary.

    tokens: int64 [tokens], ids of the vocabulary. Returns (probabilities float64 [tokens], 0 for tokens that a rule
    cut; whether each stayed, bool [tokens]; cuts float64 [5] as `distribution`). Errors as `distribution`; IndexError
    if an id is not in the vocabulary.

    >>> p, stays, _ = chances(np.log(np.float32([0.5, 0.2, 0.3])), 1.0, 2, 1.0, 0.0, 1.0, False, np.array([1, 2]))
    >>> p.round(3).tolist(), stays.tolist()
    ([0.0, 0.375], [False, True])
    """
    return _core.chances(logits, temperature, top_k, top_p, min_p, typical_p, uniform, tokens)


def sample(logits: Floats, temperature: float, top_k: int, top_p: float, min_p: float, typical_p: float, uniform: bool,
           u: float) -> tuple[int, float, int]:
    """Draw a token from `distribution` of the same arguments by inverse transform, without making its arrays.

    u: in [0, 1). Returns (id, its probability, how many tokens are kept): the first kept id, ascending, whose
    cumulative probability exceeds u, or, where rounding leaves the total at or below u, the last of positive
    probability. The sum goes over blocks of 512 ids; a block's total is that of 8 lanes (id modulo 8, ascending), added
    as ((0 + 4) + (2 + 6)) + ((1 + 5) + (3 + 7)); in the block that passes u, probabilities are added one by one.
    Raises ValueError as `distribution` does, or if u is not in [0, 1).

    >>> sample(np.log(np.float32([0.5, 0.2, 0.3])), 1.0, 0, 0.75, 0.0, 1.0, False, 0.9)[::2]
    (2, 2)
    """
    return _core.sample(logits, temperature, top_k, top_p, min_p, typical_p, uniform, u)


def log_sum_exp(logits: Floats) -> float:
    """log(sum(exp(logits))), from the largest so that nothing overflows: log p of a token is its logit minus this.
    Exponentials and sum are float64, with the same bits on every instruction set.

    logits: [vocabulary]; -inf adds nothing. Raises ValueError if a logit is NaN or inf, or all are -inf.

    >>> log_sum_exp(np.zeros(8, "f")) == float(np.log(8.0))
    True
    """
    return _core.log_sum_exp(logits)


def log_probabilities(logits: Floats, targets: Ints, top: int = 0) -> tuple[Doubles, Ints, Doubles]:
    """Natural logarithms of softmax probabilities, of each row those of its targets and of its `top` best tokens.

    logits: [rows, vocabulary]; -inf is a probability of 0. targets: int64 [rows], or [rows, n] for several of each row.
    Returns (of the targets, float64 of their shape; ids of the best, int64 [rows, k], k = min(top, vocabulary),
    descending, of equal ones the lower id first; theirs, float64 [rows, k]).
    Each number is the logit less `log_sum_exp` of its row, in float64, rounded once: the same bits for the same logits,
    whatever the other rows, whether it was asked for as a target or as one of the best, and on every instruction set
    and number of threads. All log-probabilities of the library are these.
    Raises ValueError if a logit is NaN or inf, all of a row are -inf, or top is negative; IndexError for a target that
    is not in the vocabulary.

    >>> of_targets, ids, best = log_probabilities(np.log(np.float32([[1, 2, 1], [1, 1, 6]])), np.array([0, 2]), 2)
    >>> np.exp(of_targets).round(3).tolist(), ids.tolist(), np.exp(best).round(3).tolist()
    ([0.25, 0.75], [[1, 0], [2, 0]], [[0.5, 0.25], [0.75, 0.125]])
    """
    return _core.log_probabilities(logits, targets, top)


def top(logits: Floats, k: int) -> Ints:
    """The ids of the k largest logits, descending, of equal ones the lower id first.

    logits: [vocabulary]; -inf is allowed and last. Returns int64 [min(k, vocabulary)].
    Raises ValueError if a logit is NaN or inf, or k is negative.

    >>> top(np.float32([1, 3, 2, 3]), 3).tolist()
    [1, 3, 2]
    """
    return _core.top(logits, k)


def philox(seed: int, row: int, step: int) -> float:
    """The number in [0, 1) that a row draws at a step: Philox 4x64-10, counter-based (Salmon et al. 2011).

    seed, row, step: 0 .. 2**64 - 1. It is the first number of NumPy's Philox(key=[seed, row], counter=[0, step, 0, 0]).
    Raises TypeError if one is outside of that range.

    >>> philox(7, 0, 3)
    0.43900223090044976
    """
    return _core.philox(seed, row, step)
