"""Attention of texts over themselves and what else encoders need, computed in C++. `ops` has these among its own, and
`reference` the same in NumPy. There is no padding and no cache: the rows of all texts follow each other.
"""

from nextword import _core
from nextword.arithmetic.arrays import Floats, Ints


def attention_within(q: Floats, k: Floats, v: Floats, fresh: Ints, heads: int, scale: float, window: int = 0,
                     bias: Floats | None = None) -> Floats:
    """Scaled dot-product attention of each text over itself, to both sides (Vaswani et al. 2017).

    q, k, v: [tokens, heads * width], rows of all texts one after the other (rows may lie apart, like x[:, a:b]).
    fresh: int64 [texts], how many tokens each has, at least 1. Per head and token i of a text: softmax over its tokens
    j of scale * q_i . k_j, times v_j. window: a token sees those with |i - j| <= window; 0: all. bias: None, or
    [heads, 2 * reach + 1], whose number at clamp(j - i, -reach, reach) + reach is added to the score (Raffel et al.
    2020). Returns [tokens, heads * width]; a text's bits do not depend on the others.
    Raises ValueError if a shape or dtype differs or fresh does not sum to the tokens.

    >>> import numpy as np
    >>> x = np.float32([[1], [3], [5]])
    >>> attention_within(0 * x, x, x, np.array([2, 1]), 1, 1.0).tolist()
    [[2.0], [2.0], [5.0]]
    """
    return _core.attention_within(q, k, v, fresh, heads, scale, window, bias)


def attention_within_weights(q: Floats, k: Floats, v: Floats, heads: int, scale: float, window: int = 0,
                             bias: Floats | None = None) -> tuple[Floats, Floats, Floats]:
    """`attention_within` of one text (the same bits) that also gives its scores and weights.

    Returns (out [tokens, heads * width], scores [heads, tokens, tokens], weights of the same shape): scores are scale *
    q . k + bias and -inf where masked; weights are the softmax of each row of scores, 0 where masked.
    """
    return _core.attention_within_weights(q, k, v, heads, scale, window, bias)


def add_rows(x: Floats, ids: Ints, table: Floats) -> Floats:
    """x + table[ids], such as an embedding of token types.

    x: [rows, cols] (rows may lie apart); ids: int64 [rows]; table: [table rows, cols]. Returns [rows, cols].
    Raises ValueError if a shape or dtype differs, IndexError for an id that is no row of the table.

    >>> import numpy as np
    >>> add_rows(np.float32([[1, 2]]), np.array([1]), np.float32([[0, 0], [10, 20]])).tolist()
    [[11.0, 22.0]]
    """
    return _core.add_rows(x, ids, table)


def pool(x: Floats, fresh: Ints, how: str) -> Floats:
    """One row of each text, made of its tokens' rows.

    x: [tokens, cols] (rows may lie apart); fresh: int64 [texts], how many rows each text has, at least 1. how: "mean",
    the sum over ascending tokens / how many; "first", "last" or "max". Returns [texts, cols].
    Raises ValueError for another how, if a shape or dtype differs or fresh does not sum to the tokens.

    >>> import numpy as np
    >>> pool(np.float32([[1], [3], [5]]), np.array([2, 1]), "mean").tolist()
    [[2.0], [5.0]]
    """
    return _core.pool(x, fresh, how)


def normalise(x: Floats) -> Floats:
    """Rows divided by their length, which is taken as 1e-12 if it is less. x: [rows, cols] (rows may lie apart).

    >>> import numpy as np
    >>> normalise(np.float32([[3, 4]])).round(2).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    return _core.normalise(x)
