"""digest.h: C++ and NumPy agree on every content, any number of threads gives the same, and a change never passes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextword import cpu, ops, reference

LINE, BLOCK = 64, 65536  # bytes

sizes = st.one_of(
    st.integers(0, 3 * LINE),
    st.builds(lambda blocks, more: max(0, blocks * BLOCK + more), st.integers(0, 9), st.integers(-LINE - 1, LINE + 1)),
)


def content(size, seed):
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8)


@given(sizes, st.integers(0, 99))
def test_both_definitions_agree(size, seed):
    data = content(size, seed)
    assert ops.digest(data) == reference.digest(data)


@given(sizes, st.integers(1, 4))
def test_it_does_not_depend_on_threads_or_on_where_the_bytes_lie(size, threads):
    data, before = content(size, 0), cpu.threads()
    expected = ops.digest(data)
    try:
        cpu.set_threads(threads)
        assert ops.digest(data) == expected
    finally:
        cpu.set_threads(before)
    apart = np.empty(size + 3, np.uint8)
    apart[3:] = data
    assert ops.digest(apart[3:]) == expected


@given(st.data())
def test_a_change_within_one_word_always_shows(data):
    size = data.draw(sizes.filter(bool))
    x = content(size, 1)
    word = data.draw(st.integers(0, (size - 1) // 8))
    y = x.copy()
    part = y[8 * word : 8 * word + 8]
    part ^= np.frombuffer(data.draw(st.binary(min_size=8, max_size=8)), np.uint8)[: len(part)]
    assert (ops.digest(x) == ops.digest(y)) == np.array_equal(x, y)


@given(st.data())
def test_zeros_at_the_end_and_changed_places_show(data):
    size = data.draw(sizes)
    x = content(size, 2)
    seen = {ops.digest(np.concatenate([x, np.zeros(n, np.uint8)])) for n in range(70)}
    assert len(seen) == 70
    for step in (8, LINE, BLOCK):
        if size >= 2 * step:
            y = np.concatenate([x[step : 2 * step], x[:step], x[2 * step :]])
            assert (ops.digest(x) == ops.digest(y)) == np.array_equal(x, y)


def test_half_of_all_bits_change_with_one_bit():
    """Over 500 flips, each of 128 bits changes with probability 1/2: the mean lies within 5 of its deviations."""
    x, flips = content(3 * BLOCK, 3), 500
    expected, changed = int(ops.digest(x), 16), 0
    for at in np.random.default_rng(4).integers(0, 8 * len(x), flips):
        x[at // 8] ^= 1 << (at % 8)
        changed += (int(ops.digest(x), 16) ^ expected).bit_count()
        x[at // 8] ^= 1 << (at % 8)
    assert abs(changed / (128 * flips) - 0.5) < 5 * 0.5 / (128 * flips) ** 0.5


@pytest.mark.parametrize(
    "wrong", [np.zeros(3, "f"), np.zeros((2, 2), np.uint8), np.zeros(8, np.uint8)[::2], b"abc", None]
)
def test_anything_but_contiguous_bytes_is_refused(wrong):
    with pytest.raises(ValueError, match=r"digest: data must be uint8 \[bytes\], got"):
        ops.digest(wrong)
