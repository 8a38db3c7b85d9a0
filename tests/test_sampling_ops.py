"""distribution, sample, log_sum_exp, top and philox in C++ against their definition, on every instruction set."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nextword import ops, reference

words = st.integers(0, 2**64 - 1)


@given(words, words, words)
def test_philox_is_numpys(seed, row, step):
    assert ops.philox(seed, row, step) == reference.philox(seed, row, step)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 31, 32, 33, 600, 5000]), st.integers(0, 6000))
def test_top_is_the_head_of_a_stable_sort(isa, seed, n, k):
    x = np.round(np.random.default_rng(seed).standard_normal(n) * 9).astype(np.float32)
    assert np.array_equal(ops.top(x, k), reference.top(x, k))


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 31, 32, 33, 600, 5000]), st.integers(1, 6000))
def test_top_k_keeps_what_the_definition_keeps(isa, seed, n, k):
    x = np.round(np.random.default_rng(seed).standard_normal(n) * 9).astype(np.float32)
    rules = (0.7, k, 1.0, 0.0, 1.0, False)
    got, expected = ops.distribution(x, *rules), reference.distribution(x, *rules)
    assert np.array_equal(got[0], expected[0])
    assert np.array_equal(got[2], expected[2])
