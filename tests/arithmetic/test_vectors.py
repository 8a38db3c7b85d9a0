"""vectors.py: cosine similarity and nearest rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextword.arithmetic.vectors import cosine_similarity, nearest


@given(seed=st.integers(0, 2**32), rows=st.integers(1, 9), features=st.integers(1, 9))
def test_it_is_the_normalised_dot_product(seed, rows, features):
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((4, features)), rng.standard_normal((rows, features))
    wanted = (a @ b.T) / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(cosine_similarity(a, b), wanted, rtol=0, atol=1e-14)
    np.testing.assert_allclose(cosine_similarity(a, b[0]), wanted[:, 0], rtol=0, atol=1e-14)
    found = nearest(a[0], b, count=3)
    assert [i for i, _ in found] == np.argsort(-cosine_similarity(a[0], b), kind="stable")[:3].tolist()


@given(scale=st.sampled_from([1e-300, 1e-160, 1.0, 1e160, 1e300]))
def test_length_does_not_matter(scale):
    assert cosine_similarity(np.array([3.0, 4.0]) * scale, [4.0, 3.0]) == pytest.approx(0.96, abs=1e-15)
    assert cosine_similarity([scale, 0], [-1, 0]) == -1


def test_zeros_have_no_direction_and_come_last():
    assert np.isnan(cosine_similarity([0, 0], [1, 2]))
    assert [i for i, _ in nearest([1, 0], [[0, 0], [-1, 0], [2, 0], [1, 0]])] == [2, 3, 1, 0]


@pytest.mark.parametrize(("a", "b"), [(1, [1]), ([], []), ([1, 2], [1]), ([1], np.ones((2, 2, 1)))])
def test_shapes_that_do_not_fit_are_named(a, b):
    with pytest.raises(ValueError, match="cosine_similarity: "):
        cosine_similarity(a, b)


def test_nearest_takes_one_vector_and_rows():
    for vector, rows in ([[1, 2]], [[1, 2]]), ([1, 2], [1, 2]):
        with pytest.raises(ValueError, match="nearest: vector must be"):
            nearest(vector, rows)
