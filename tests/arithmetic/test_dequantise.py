"""Blocks of GGUF files as numbers: C++ and NumPy agree with the package that defines the format, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nextword
from gguf_files import NUMBERS, random_blocks
from nextword import ops, reference
from nextword.arithmetic import blocks
from nextword.arithmetic.blocks import KINDS, Blocks
from nextword.arithmetic.formats import DTYPES


def same_bits(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether all numbers have the same bits; one NaN is as good as another."""
    alike = x.view(np.uint32) == y.view(np.uint32)
    return x.shape == y.shape and bool((alike | (np.isnan(x) & np.isnan(y))).all())


@st.composite
def matrices(draw):
    """A kind, rows, cols and any bytes of such a matrix."""
    kind = draw(st.sampled_from(sorted(KINDS)))
    numbers, size = KINDS[kind]
    rows, per_row = draw(st.integers(0, 4)), draw(st.integers(0, 3))
    seed, repeated = draw(st.integers(0, 2**32 - 1)), draw(st.booleans())
    raw = np.random.default_rng(seed).integers(0, 256, rows * per_row * size, np.uint8)
    if repeated and len(raw):
        raw[:] = draw(st.sampled_from([0, 127, 128, 255]))
    return raw, kind, rows, per_row * numbers


@given(matrices())
def test_numbers_are_those_of_the_reference_to_the_bit(matrix):
    assert same_bits(ops.dequantise(*matrix), reference.dequantise(*matrix))


@given(matrices())
def test_numbers_are_those_of_the_gguf_package_to_the_bit(matrix):
    gguf = pytest.importorskip("gguf", reason="needs the package gguf")
    raw, kind, rows, cols = matrix
    if not len(raw):
        return
    with np.errstate(all="ignore"):
        theirs = gguf.dequantize(raw.reshape(rows, -1), gguf.GGMLQuantizationType(NUMBERS[kind]))
    assert same_bits(ops.dequantise(*matrix), np.ascontiguousarray(theirs, np.float32).reshape(rows, cols))


@pytest.mark.parametrize("kind", KINDS)
def test_threads_and_alignment_change_nothing(kind):
    raw = np.frombuffer(random_blocks(kind, 300, 1024, np.random.default_rng(5)), np.uint8)
    apart = np.empty(len(raw) + 1, np.uint8)[1:]
    apart[:] = raw
    before = nextword.cpu.threads()
    try:
        found = []
        for count in (1, 2, 3):
            nextword.cpu.set_threads(count)
            found += [ops.dequantise(raw, kind, 300, 1024), ops.dequantise(apart, kind, 300, 1024)]
    finally:
        nextword.cpu.set_threads(before)
    assert all(same_bits(x, found[0]) for x in found[1:])
    assert same_bits(found[0], reference.dequantise(raw, kind, 300, 1024))


def test_all_kinds_of_quantised_numbers_come_back():
    """Numbers that the package has put into blocks are found again, as near as half a step of each block."""
    gguf = pytest.importorskip("gguf", reason="needs the package gguf")
    x = np.random.default_rng(3).standard_normal((4, 64), np.float32)
    levels = {"F32": np.inf, "F16": 2048, "BF16": 128, "Q8_0": 127, "Q5_1": 31, "Q5_0": 15, "Q4_1": 15, "Q4_0": 7}
    for kind, steps in levels.items():
        raw = np.ascontiguousarray(gguf.quantize(x, gguf.GGMLQuantizationType(NUMBERS[kind]))).view(np.uint8).ravel()
        step = 2 * np.abs(x).reshape(-1, 32).max(1).repeat(32).reshape(x.shape) / steps
        assert (np.abs(ops.dequantise(raw, kind, *x.shape) - x) <= step).all(), kind


@pytest.mark.parametrize("module", [ops, reference], ids=["ops", "reference"])
def test_what_does_not_fit_is_refused(module):
    data = np.zeros(34, np.uint8)
    for kind, rows, cols, message in [
        ("Q2_K", 1, 32, r"dequantise: kind must be one of F32, .*, got 'Q2_K'"),
        ("Q8_0", 1, 31, r"dequantise: rows and cols must be .* cols a multiple of 32 in Q8_0, got \[1, 31\]"),
        ("Q8_0", -1, 32, r"dequantise: rows and cols must be 0 \.\. 2\^31 - 1"),
        ("Q8_0", 2, 32, r"dequantise: data must be uint8 \[68\], got uint8 \[34\]"),
        ("Q8_0", 2**31 - 1, 2**31 - 32, r"dequantise: "),
    ]:
        with pytest.raises(ValueError, match=message):
            module.dequantise(data, kind, rows, cols)
    with pytest.raises(ValueError, match=r"dequantise: data must be uint8 \[34\], got int8 \[34\]"):
        module.dequantise(data.view(np.int8), "Q8_0", 1, 32)


@pytest.mark.parametrize("dtype", DTYPES)
@given(rows=st.integers(1, 200), per_row=st.integers(1, 3), kind=st.sampled_from(sorted(KINDS)))
def test_a_matrix_packed_by_pieces_is_the_one_packed_as_a_whole(dtype, rows, per_row, kind):
    cols = per_row * KINDS[kind][0]
    raw = np.frombuffer(random_blocks(kind, rows, cols, np.random.default_rng(rows)), np.uint8)
    held, before = Blocks(raw, kind, rows, cols), blocks.PIECE
    assert held.shape == (rows, cols)
    try:
        blocks.PIECE = 64 * cols
        packed = held.packed(ops, dtype)
    finally:
        blocks.PIECE = before
    whole = ops.pack_transposed(np.ascontiguousarray(held), dtype)
    assert np.array_equal(ops.packed_bytes(packed), ops.packed_bytes(whole))
    assert np.array_equal(reference.packed_bytes(held.packed(reference, dtype)), ops.packed_bytes(packed))


def test_int4_keeps_what_q4_0_holds():
    """Both have a scale for 32 numbers and codes -8 .. 7; int4's scale is a bfloat16, 2^-9 of it off at most."""
    gguf = pytest.importorskip("gguf", reason="needs the package gguf")
    x = np.random.default_rng(3).standard_normal((40, 128), np.float32)
    raw = gguf.quants.quantize(x, gguf.GGMLQuantizationType.Q4_0).reshape(-1)
    held = ops.dequantise(raw, "Q4_0", 40, 128)
    found = ops.unpack(ops.pack_transposed(held, "int4")).T
    assert (np.abs(found - held) <= 2**-8 * np.abs(held)).all()
