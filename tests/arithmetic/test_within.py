"""Attention within texts, added rows, pooling and norms: C++ against NumPy, one text against many, what is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextword import ops, reference

EPS = float(np.finfo(np.float32).eps)


@st.composite
def operands(draw):
    """q, k, v as columns of one array, lengths of texts, heads, window and bias."""
    heads, width = draw(st.integers(1, 4)), draw(st.sampled_from([1, 5, 20, 32, 33, 64]))
    fresh = np.array(draw(st.lists(st.integers(1, 70), min_size=1, max_size=4)), np.int64)
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    x = rng.standard_normal((fresh.sum(), 3 * heads * width)).astype(np.float32)
    window = draw(st.sampled_from([0, 0, 1, 2, 7, 31, 32, 64, 100]))
    reach = draw(st.sampled_from([None, 0, 3, 128]))
    bias = None if reach is None else rng.standard_normal((heads, 2 * reach + 1)).astype(np.float32)
    return np.split(x, 3, axis=1), fresh, heads, width**-0.5, window, bias


def cut(x, fresh):
    return np.split(x, np.cumsum(fresh)[:-1])


def top(x):
    """The largest number."""
    return np.abs(x).max()


def score_bound(q, k, heads, scale, bias):
    """How far a score, a sum of `width` products times scale, may lie from the exact one. The error goes into the
    exponent, and so into a weight, which is 1 at most, relatively; twice, as the largest score is taken off."""
    width = q.shape[1] // heads
    largest = scale * width * top(q) * top(k) + (0 if bias is None else top(bias))
    return 2 * (width + 2) * EPS * largest


@given(given=operands())
def test_attention_within_is_numpys_within_its_rounding(isa, given):
    (q, k, v), fresh, heads, scale, window, bias = given
    found = ops.attention_within(q, k, v, fresh, heads, scale, window, bias)
    exact = reference.attention_within(*(x.astype(np.float64) for x in (q, k, v)), fresh, heads, scale, window, bias)
    assert np.abs(found - exact).max() <= (score_bound(q, k, heads, scale, bias) + (fresh.max() + 16) * EPS) * top(v)


@given(given=operands(), count=st.integers(1, 3))
def test_a_texts_bits_do_not_depend_on_the_others_or_threads(isa, threads, given, count):
    (q, k, v), fresh, heads, scale, window, bias = given
    threads(count)
    together = ops.attention_within(q, k, v, fresh, heads, scale, window, bias)
    threads(1)
    for one, *parts in zip(cut(together, fresh), *(cut(x, fresh) for x in (q, k, v)), strict=True):
        alone = ops.attention_within(*parts, np.array([len(one)]), heads, scale, window, bias)
        np.testing.assert_array_equal(alone, one)


@given(given=operands())
def test_weights_are_those_of_the_result(isa, given):
    (q, k, v), fresh, heads, scale, window, bias = given
    q, k, v = (x[: fresh[0]] for x in (q, k, v))
    out, scores, weights = ops.attention_within_weights(q, k, v, heads, scale, window, bias)
    np.testing.assert_array_equal(out, ops.attention_within(q, k, v, fresh[:1], heads, scale, window, bias))
    exact = reference.attention_within_weights(*(x.astype(np.float64) for x in (q, k, v)), heads, scale, window, bias)
    bound, seen = score_bound(q, k, heads, scale, bias), np.isfinite(exact[1])
    np.testing.assert_array_equal(np.isfinite(scores), seen)
    assert np.abs(scores[seen] - exact[1][seen]).max() <= bound
    assert np.abs(weights - exact[2]).max() <= bound + (len(q) + 16) * EPS
    assert (weights[~seen] == 0).all()


@given(given=operands())
def test_texts_turned_round_give_the_result_turned_round(isa, given):
    """To both sides: without a bias, or with one turned round, a text read backwards gives the same rows backwards."""
    (q, k, v), fresh, heads, scale, window, bias = given
    q, k, v = (x[: fresh[0]] for x in (q, k, v))
    found = ops.attention_within(q, k, v, fresh[:1], heads, scale, window, bias)
    turned = None if bias is None else np.ascontiguousarray(bias[:, ::-1])
    backwards = [np.ascontiguousarray(x[::-1]) for x in (q, k, v)]
    back = ops.attention_within(*backwards, fresh[:1], heads, scale, window, turned)
    bound = 2 * (score_bound(q, k, heads, scale, bias) + (len(q) + 16) * EPS) * top(v)
    assert np.abs(back[::-1] - found).max() <= bound


@given(given=operands())
def test_the_others_are_numpys(isa, given):
    (x, _, _), fresh, *_ = given
    for how in ("mean", "first", "last", "max"):
        found, expected = ops.pool(x, fresh, how), reference.pool(x, fresh, how)
        bound = (fresh.max() + 1) * EPS * np.abs(x).max() if how == "mean" else 0
        assert np.abs(found - expected).max() <= bound
    np.testing.assert_allclose(ops.normalise(x), reference.normalise(x), rtol=2 * EPS)
    ids = np.arange(len(x)) % 3
    table = np.random.default_rng(0).standard_normal((3, x.shape[1])).astype(np.float32)
    np.testing.assert_array_equal(ops.add_rows(x, ids, table), reference.add_rows(x, ids, table))


@given(given=operands())
def test_activations_of_columns_are_those_of_a_copy(isa, given):
    (q, _, _), *_ = given
    for name in ("gelu_erf", "gelu_tanh", "quick_gelu", "relu", "silu", "tanh"):
        form = getattr(ops, name)
        np.testing.assert_array_equal(form(q), form(np.ascontiguousarray(q)))


def test_vectors_of_no_length_stay_and_what_is_no_number_is_kept():
    assert ops.normalise(np.zeros((1, 3), np.float32)).tolist() == [[0, 0, 0]]
    assert np.isnan(ops.pool(np.float32([[1], [np.nan], [2]]), np.array([3]), "max")).all()
    assert ops.pool(np.empty((0, 3), np.float32), np.empty(0, np.int64), "mean").shape == (0, 3)


X = np.ones((4, 6), np.float32)


@pytest.mark.parametrize(("call", "words"), [
    (lambda: ops.attention_within(X, X, X, np.array([4]), 4, 1.0), "q must have columns, a multiple of the 4 heads"),
    (lambda: ops.attention_within(X, X[:3], X, np.array([4]), 2, 1.0), r"k must be float32 \[4, 6\], got"),
    (lambda: ops.attention_within(X, X, X, np.array([3]), 2, 1.0), "fresh must sum to the 4 rows, got 3"),
    (lambda: ops.attention_within(X, X, X, np.array([4, 0]), 2, 1.0), "fresh must be 1 or more and sum to the 4 rows"),
    (lambda: ops.attention_within(X, X, X, np.array([4]), 2, 1.0, -1), "window must be 0 .all tokens. or more, got -1"),
    (lambda: ops.attention_within(X, X, X, np.array([4]), 2, 1.0, 0, X[:2]), r"bias must be float32 \[2, 2 \* reach"),
    (lambda: ops.pool(X, np.array([4]), "median"), "how must be one of mean, first, last, max, got 'median'"),
    (lambda: ops.normalise(X[:, :0]), "x must have at least one column"),
])  # fmt: skip
def test_what_is_wrong_is_told(call, words):
    with pytest.raises(ValueError, match=words):
        call()
    with pytest.raises(IndexError, match=r"ids must be 0 \.\. 1, got 2 at 1"):
        ops.add_rows(X[:2], np.array([0, 2]), X[:2])
