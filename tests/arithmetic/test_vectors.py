"""vectors.py: similarities, nearest rows, principal axes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextword.arithmetic.vectors import cosine_similarity, nearest, principal_axes, similarity


@given(seed=st.integers(0, 2**32), rows=st.integers(1, 9), features=st.integers(1, 9))
def test_it_is_the_normalised_dot_product(seed, rows, features):
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((4, features)), rng.standard_normal((rows, features))
    wanted = (a @ b.T) / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(cosine_similarity(a, b), wanted, rtol=0, atol=1e-14)
    np.testing.assert_allclose(cosine_similarity(a, b[0]), wanted[:, 0], rtol=0, atol=1e-14)
    found = nearest(a[0], b, count=3)
    assert [i for i, _ in found] == np.argsort(-cosine_similarity(a[0], b), kind="stable")[:3].tolist()


@given(seed=st.integers(0, 2**32), rows=st.integers(1, 9), features=st.integers(1, 9))
def test_dot_and_scaled_dot_are_the_sums_of_products(seed, rows, features):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(-9, 9, (2, 3, features)), rng.integers(-9, 9, (rows, features))  # so that sums are exact
    dots = (a[:, :, None, :] * b).sum(-1)
    assert (similarity(a, b, "dot") == dots).all()
    assert (similarity(a, b, "scaled_dot") == dots / np.sqrt(features)).all()
    np.testing.assert_array_equal(similarity(a, b), cosine_similarity(a, b))
    assert similarity(a[0, 0], b[0], "dot").shape == ()


def test_the_lectures_three_words():
    orange, phone, apple = words = [0, 3], [4, 0], [2, 2]
    for kind in ("dot", "scaled_dot", "cosine"):
        assert similarity(orange, phone, kind) == 0
    assert similarity(apple, orange).round(2) == 0.71
    lecture = similarity([1, 4], [[0, 3], [3, 0]], "scaled_dot")
    assert lecture.round(2).tolist() == [8.49, 2.12]
    assert similarity(words, words, "dot").tolist() == [[9, 0, 6], [0, 16, 8], [6, 8, 8]]


@given(seed=st.integers(0, 2**32), rows=st.integers(2, 9), features=st.integers(1, 9), count=st.integers(1, 4))
def test_principal_axes_are_the_eigenvectors_of_the_covariance(seed, rows, features, count):
    x = np.random.default_rng(seed).standard_normal((rows, features))
    mean, axes, shares = principal_axes(x, count)
    assert axes.shape == (count, features)
    np.testing.assert_allclose(mean, x.mean(0), rtol=0, atol=1e-14)
    values = np.linalg.eigvalsh((x - mean).T @ (x - mean))[::-1]
    kept = min(count, features, rows - 1)
    # an eigenvalue of a symmetric matrix in float64 is off by a few units of the largest
    np.testing.assert_allclose(shares[:kept], (values / values.sum())[:kept], rtol=0, atol=1e-12)
    np.testing.assert_allclose((axes @ axes.T)[:kept, :kept], np.eye(kept), rtol=0, atol=1e-13)
    np.testing.assert_allclose(((x - mean) @ axes.T).var(0), shares * x.var(0).sum(), rtol=0, atol=1e-12)
    assert (shares[kept:] == 0).all()
    assert (axes[kept:] == 0).all()
    assert all(axis[np.abs(axis).argmax()] > 0 for axis in axes[:kept])


def test_equal_rows_have_no_axes():
    _, axes, shares = principal_axes([[1, 2], [1, 2]])
    assert (axes == 0).all()
    assert (shares == 0).all()


def test_another_kind_of_similarity_is_named():
    with pytest.raises(ValueError, match="kind must be one of 'cosine', 'dot', 'scaled_dot', got 'angle'"):
        similarity([1], [1], "angle")


@pytest.mark.parametrize("rows", [[1, 2], [[]], np.ones((2, 2, 2))])
def test_principal_axes_take_rows(rows):
    with pytest.raises(ValueError, match="principal_axes: rows must be"):
        principal_axes(rows)


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
    with pytest.raises(ValueError, match=r"^similarity: "):
        similarity(a, b, "dot")


def test_nearest_takes_one_vector_and_rows():
    for vector, rows in ([[1, 2]], [[1, 2]]), ([1, 2], [1, 2]):
        with pytest.raises(ValueError, match="nearest: vector must be"):
            nearest(vector, rows)
