"""inside/plane.py, word_map.py and scatter.py: words on a plane, and its picture."""

from __future__ import annotations

import re

import numpy as np
import pytest

from nextword.inside.scatter import Scatter

WORDS = [" king", " queen", " man", " woman", " father", " mother"]


def test_points_are_the_coordinates_of_the_embeddings_on_the_axes(demo):
    for axes in (None, [(" queen", " king")], [(" queen", " king"), (" king", " man")]):
        found = demo.word_map(WORDS, axes=axes)
        np.testing.assert_array_equal(found.vectors, np.stack([demo.embedding(word) for word in WORDS]))
        expected = (found.vectors.astype(np.float64) - found.plane.centre) @ found.plane.axes.T
        np.testing.assert_array_equal(found.points, expected)
        np.testing.assert_allclose(np.linalg.norm(found.plane.axes, axis=1), 1, rtol=0, atol=1e-14)
        np.testing.assert_allclose(found.points.mean(0), 0, rtol=0, atol=1e-13)
        assert found.texts == WORDS


def test_principal_axes_show_more_than_any_others(demo):
    principal, chosen = demo.word_map(WORDS), demo.word_map(WORDS, axes=[(" queen", " king"), (" king", " man")])
    assert principal.plane.shares.sum() > chosen.plane.shares.sum()
    assert abs(principal.plane.cosine) < 1e-13
    assert principal.plane.note == ""


def test_a_chosen_axis_is_the_difference_of_its_words(demo):
    found = demo.word_map(WORDS, axes=[(" queen", " king"), (" woman", " man")])
    queen, king = (demo.embedding(word).astype(np.float64) for word in (" queen", " king"))
    np.testing.assert_allclose(found.points[1, 0] - found.points[0, 0], np.linalg.norm(queen - king), atol=1e-13)
    assert found.plane.names == (" queen - king", " woman - man")
    assert f"{found.plane.cosine:.2f}" in found.plane.note
    assert found.plane.note in found._repr_html_()


def test_beside_one_chosen_axis_the_other_is_at_right_angles_to_it(demo):
    found = demo.word_map(WORDS, axes=[(" queen", " king")])
    assert abs(found.plane.cosine) < 1e-13
    along = found.plane.axes[0]
    left = found.vectors.astype(np.float64) - found.plane.centre
    left -= np.outer(left @ along, along)
    most = np.linalg.svd(left)[1][0] ** 2 / len(WORDS)
    np.testing.assert_allclose(found.points[:, 1].var(), most, rtol=1e-12)


ERRORS = [
    (lambda lm: lm.word_map([" king"]), "word_map: words must be a list of at least two words"),
    (lambda lm: lm.word_map(" king"), "word_map: words must be a list of at least two words"),
    (lambda lm: lm.word_map([" king", " orange"]), "word_map: each word must be one token"),
    (lambda lm: lm.word_map(WORDS, axes=[]), "word_map: axes must be one or two pairs of words, or None"),
    (lambda lm: lm.word_map(WORDS, axes=[" king"]), "word_map: each of axes must be a pair of words"),
    (lambda lm: lm.word_map(WORDS, axes=[(" king", " king")]), "word_map: the words of an axis must differ"),
    (lambda lm: lm.word_map(WORDS, axes=[(" king", "zz")]), "word_map: each word of axes must be one token"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), ERRORS)
def test_errors_name_the_argument(demo, call, message):
    with pytest.raises(ValueError, match=message):
        call(demo)


def coordinates(html):
    return np.array([[float(x), float(y)] for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', html)])


def test_a_scatter_draws_both_axes_to_one_scale():
    points = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [30.0, 2.0]])
    at = coordinates(Scatter(points, list("abcd"), ("x", "y")).html())
    across, up = at[1] - at[0], at[2] - at[0]
    np.testing.assert_allclose(across[0], -up[1], atol=0.2)  # pixels are written with one digit
    assert abs(across[1]) <= 0.1
    assert ((at > 0) & (at < [476, 320])).all()


@pytest.mark.parametrize("points", [np.zeros((2, 2)), np.full((1, 2), 3.0), np.zeros((0, 2))])
def test_points_in_one_place_are_drawn(points):
    html = Scatter(points, ["a"] * len(points), ("x", "y")).html()
    assert "nan" not in html
    assert len(coordinates(html)) == len(points)


def test_names_of_a_scatter_do_not_lie_on_each_other_and_are_text():
    html = Scatter(np.zeros((3, 2)), ["<script>", "b", "c"], ("x & y", "<y>"), [("<p>", np.eye(2))]).html()
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    heights = [float(y) for y in re.findall(r'<text x="[\d.]+" y="([\d.]+)">', html)]
    assert min(np.diff(sorted(heights))) >= 12


def test_matplotlib_draws_the_same_points(demo):
    pytest.importorskip("matplotlib").use("Agg")
    found = demo.word_map(WORDS)
    ax = found.plot()
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), found.points)
    assert [text.get_text().strip() for text in ax.texts] == [word.strip() for word in WORDS]


def test_what_a_map_takes_is_reckoned_before(demo, monkeypatch):
    monkeypatch.setattr("nextword.machine.memory.available", lambda: 2**20)
    monkeypatch.setattr("nextword.machine.memory.SMALL", 0)
    with pytest.raises(MemoryError, match=r"word_map: a map of 1,000 words would take .*; take fewer words"):
        demo.word_map(list(range(1000)))
