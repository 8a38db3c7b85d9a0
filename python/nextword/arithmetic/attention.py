"""The key-value cache and attention over it, computed in C++. `ops` has these among its own, and `reference` the same
in NumPy.
"""

from nextword import _core
from nextword.arithmetic.arrays import Floats, Ints, Panels


def append(k: Floats, v: Floats, keys: Panels, values: Panels, slots: Ints, past: Ints, fresh: Ints,
           scales: Floats | None = None) -> None:
    """Write new keys and values behind those that the cache of one layer holds, in place.

    k, v: [tokens, heads * width], rows of all sequences one after the other (rows may lie apart, like x[:, a:b]).
    keys: [slots, heads, capacity / 32, width, 32], values: [slots, heads, ceil(width / 32), capacity, 32], both of one
    dtype, which says how they are stored:
    float32: as they are. uint16: the bits of bfloat16, rounded to nearest even; 2^128 (1 - 2^-9) and more is infinite.
    int8: q of each x = q * s, rounded to nearest even, s = max|x| / 127 over one token's key, or value, in one head;
    0 where s is below 2^-126, and all of it NaN where an x is NaN or infinite.
    scales: [slots, heads, 2, capacity] for int8, s of keys and of values; otherwise None or [slots, heads, 2, 0].
    slots, past, fresh: int64 [sequences]: where a sequence lives, how many tokens it has, how many it brings.
    Raises ValueError if a shape or dtype differs, IndexError if a slot does not exist or its capacity is exceeded.

    >>> import numpy as np
    >>> keys, values = np.zeros((1, 1, 1, 2, 32), np.int8), np.zeros((1, 1, 1, 32, 32), np.int8)
    >>> scales, zero = np.zeros((1, 1, 2, 32), "f"), np.array([0])
    >>> append(np.float32([[127, -25.4]]), np.float32([[1, 2]]), keys, values, zero, zero, np.array([1]), scales)
    >>> keys[0, 0, 0, :, 0].tolist(), float(scales[0, 0, 0, 0])
    ([127, -25], 1.0)
    """
    _core.append(k, v, keys, values, slots, past, fresh, scales)


def attention(q: Floats, keys: Panels, values: Panels, slots: Ints, past: Ints, fresh: Ints, scale: float,
              prefix_keys: Panels | None = None, prefix_values: Panels | None = None, scales: Floats | None = None,
              prefix_scales: Floats | None = None, window: int = 0) -> Floats:
    """Causal scaled dot-product attention of new tokens over their own cached sequence (Vaswani et al. 2017).

    q: [tokens, heads * width] (rows may lie apart); the rest as in `append`, which is called first. Per head and token
    i of a sequence: softmax over its tokens j <= i of scale * q_i . k_j, times v_j. Returns [tokens, heads * width].
    q may have more heads than the cache, a multiple of them, `group`: head h then reads the keys and values of head
    h // group (Ainslie et al. 2023). window: a token sees itself and the window - 1 tokens before it, those of the
    prefix among them (Beltagy et al. 2020); 0: all.
    Stored keys and values are widened to float32 exactly, but for the s of int8: q_i . k_j is multiplied by that of k_j
    before it is by `scale`, and the exponential of a score by that of v_j.
    prefix_keys [heads, prefix / 32, width, 32], prefix_values [heads, ceil(width / 32), prefix, 32], prefix_scales
    [heads, 2, prefix]: what all sequences begin with, before the tokens of their slots; a multiple of 32 tokens, of the
    same dtype. The bits are those of slots that hold it all.
    Raises ValueError if a shape or dtype differs or the window is negative, IndexError as `append` does.
    """
    return _core.attention(q, keys, values, slots, past, fresh, scale, prefix_keys, prefix_values, scales,
                           prefix_scales, window)


def attention_weights(q: Floats, keys: Panels, values: Panels, slot: int, past: int, scale: float,
                      scales: Floats | None = None, window: int = 0) -> tuple[Floats, Floats, Floats]:
    """`attention` of one sequence (the same bits) that also gives its scores and weights.

    Returns (out [tokens, heads * width], scores [heads, tokens, past + tokens], weights of the same shape), heads being
    those of q: scores are scale * q . k and -inf where masked; weights are the softmax of each row of scores, 0 where
    masked.
    """
    return _core.attention_weights(q, keys, values, slot, past, scale, scales, window)
