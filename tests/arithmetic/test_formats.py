"""Weights in fewer bits: each format against its definition in NumPy, its error bound, and the same bits for a row in
every batch, on every instruction set."""

import functools
import gc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bounds
import matrices
from matrices import cols_, rows_, same_bits, seeds
from nextword import cpu, ops, reference
from nextword.arithmetic.formats import DTYPES, GROUP, multiplied, panel_bytes, stored, to_bfloat16

numbers = functools.partial(matrices.numbers, outliers=0.01)
COMPACT = [d for d in DTYPES if d != "float32"]
# Around the groups (16 and 32 depths) and blocks.
depths_ = st.one_of(st.integers(1, 70), st.sampled_from([255, 512, 767, 768, 1024]))


@pytest.mark.parametrize("dtype", COMPACT)
@given(seeds, depths_, cols_)
def test_packing_keeps_the_numbers_of_the_definition(dtype, seed, depth, cols):
    rng = np.random.default_rng(seed)
    w = numbers(rng, depth, cols) * np.float32(10.0 ** rng.integers(-34, 30))
    twin = reference.unpack(reference.pack(w, dtype))
    packed = ops.pack(w, dtype)
    assert (packed.dtype, packed.shape) == (dtype, (depth, cols))
    np.testing.assert_array_equal(ops.unpack(packed), twin)
    np.testing.assert_array_equal(ops.unpack(ops.pack_transposed(np.ascontiguousarray(w.T), dtype)), twin)


@pytest.mark.parametrize("dtype", DTYPES)
@given(seeds, depths_, cols_)
def test_packed_bytes_are_those_of_the_definition_and_make_the_same_matrix(dtype, seed, depth, cols):
    rng = np.random.default_rng(seed)
    w = numbers(rng, depth, cols) * np.float32(10.0 ** rng.integers(-34, 30))
    packed, twin = ops.pack(w, dtype), reference.pack(w, dtype)
    data = ops.packed_bytes(packed)
    assert same_bits(data, reference.packed_bytes(twin))
    assert not data.flags.writeable
    again = ops.packed(data, dtype, depth, cols)
    assert (again.dtype, again.shape, again.nbytes) == (dtype, (depth, cols), data.nbytes)
    assert same_bits(ops.packed_bytes(again), data)
    assert same_bits(ops.unpack(again), ops.unpack(packed))
    assert same_bits(reference.unpack(reference.packed(data, dtype, depth, cols)), reference.unpack(twin))


@pytest.mark.parametrize("dtype", DTYPES)
@given(seeds, st.integers(1, 40), depths_, st.integers(1, 70))
def test_any_bytes_are_a_matrix_whose_products_stay_in_it(isa, dtype, seed, rows, depth, cols):
    """What they stand for is the definition's: NaN and infinity too, and codes that pack never writes. The products are
    run for the sanitizers, and for a crash."""
    rng = np.random.default_rng(seed)
    data = rng.integers(0, 256, len(blank(dtype, depth, cols)), np.uint8)
    packed, twin = ops.packed(data, dtype, depth, cols), reference.packed(data, dtype, depth, cols)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(ops.unpack(packed), reference.unpack(twin))
        y = ops.matmul(numbers(rng, rows, depth), packed)
        ids = rng.integers(0, cols, 3)
        found = ops.embedding(ids, np.zeros_like(ids), packed, np.zeros((1, depth), np.float32))
        np.testing.assert_array_equal(found, ops.unpack(packed).T[ids] + np.float32(0))
    assert y.shape == (rows, cols)


def blank(dtype, depth, cols):
    return np.zeros(-(-cols // 32) * panel_bytes(dtype, depth), np.uint8)


@pytest.mark.parametrize("arithmetic", [ops, reference], ids=["ops", "reference"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_bytes_of_another_size_or_kind_are_refused(arithmetic, dtype):
    data = blank(dtype, 40, 70)
    message = rf"packed: data of the {dtype} matrix \[41, 97\] must be 4 times \d+ bytes, got "
    with pytest.raises(ValueError, match=message):
        arithmetic.packed(data, dtype, 41, 97)
    for wrong in (data[:-1], data[:0], data.astype(np.int8), data.reshape(1, -1)):
        with pytest.raises(ValueError, match="packed: data "):
            arithmetic.packed(wrong, dtype, 40, 70)
    for depth, cols in ((0, 70), (40, 0), (-40, 70), (2**40, 70), (40, 2**62)):
        with pytest.raises(ValueError, match=r"packed: .* takes 1 \.\. \d+ rows and 1 \.\. 2\^31 - 1 columns, got "):
            arithmetic.packed(data, dtype, depth, cols)
    with pytest.raises(ValueError, match="packed: dtype must be one of float32, bfloat16, int8, int4, got 'int3'"):
        arithmetic.packed(data, "int3", 40, 70)


@pytest.mark.parametrize("arithmetic", [ops, reference], ids=["ops", "reference"])
@pytest.mark.parametrize("dtype", DTYPES)
@given(st.data())
def test_bytes_may_come_in_parts(arithmetic, dtype, data):
    whole = np.random.default_rng(1).integers(0, 256, len(blank(dtype, 40, 70)), np.uint8)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=4)))
    parts = np.split(whole, cuts)
    assert same_bits(arithmetic.packed_bytes(arithmetic.packed(iter(parts), dtype, 40, 70)), whole)
    for wrong in ([], parts[1:] if len(parts[0]) else [whole[1:]], [*parts, whole[:1]], [whole.astype(np.int8)]):
        with pytest.raises(ValueError, match="packed: data "):
            arithmetic.packed(iter(wrong), dtype, 40, 70)


def test_bytes_may_begin_anywhere_and_change_later():
    w = np.arange(70 * 40, dtype=np.float32).reshape(70, 40)
    data = ops.packed_bytes(ops.pack(w))
    room = np.concatenate([data[:1], data])[1:]
    packed = ops.packed(room, "float32", 70, 40)
    room[:] = 0
    assert same_bits(ops.unpack(packed), w)


def test_int8_sums_of_any_codes_stay_within_an_integer(isa):
    """The most that codes 0 .. 255 can sum to over the most depths: no overflow, so no undefined behaviour."""
    for byte, weight in ((255, 127.0), (0, -128.0)):
        data = blank("int8", 65536, 1)
        data[:-128] = byte
        data[-128:].view(np.float32)[:] = 1
        for sign in (1, -1):
            x = np.full((3, 65536), sign * 127, np.float32)
            assert ops.matmul(x, ops.packed(data, "int8", 65536, 1)).tolist() == [[sign * 127 * weight * 65536]] * 3


def test_packed_bytes_outlive_their_matrix():
    w = np.arange(70 * 40, dtype=np.float32).reshape(70, 40)
    data = ops.packed_bytes(ops.pack(w))  # the matrix itself is gone
    gc.collect()
    assert same_bits(ops.unpack(ops.packed(data, "float32", 70, 40)), w)


@pytest.mark.parametrize("dtype", COMPACT)
@given(seeds, st.integers(1, 70), st.integers(1, 70))
def test_half_precision_is_packed_like_the_float32_numbers_it_stands_for(dtype, seed, depth, cols):
    w = numbers(np.random.default_rng(seed), depth, cols)
    for stored_as in (w.astype(np.float16), (w.view(np.uint32) >> 16).astype(np.uint16)):
        expected = ops.unpack(ops.pack(reference.to_float32(stored_as), dtype))
        np.testing.assert_array_equal(ops.unpack(ops.pack(stored_as, dtype)), expected)


@given(seeds, depths_, st.integers(1, 40))
def test_what_a_format_keeps_is_within_its_error_bound(seed, depth, cols):
    w = numbers(np.random.default_rng(seed), depth, cols)
    exact = w.astype(np.float64)
    assert (np.abs(stored(w, "bfloat16") - exact) <= 2.0**-8 * np.abs(exact)).all()
    # half a step, and two roundings in float32 of numbers up to 127
    scale = np.abs(exact).max(0) / 127
    assert (np.abs(stored(w, "int8") - exact) <= scale * (0.5 + 3 * 127 * bounds.U)).all()
    # the search is never worse than the scale max / 7 in bfloat16, which rounds every number to its nearest step
    off = stored(w, "int4") - exact
    for start in range(0, depth, GROUP):
        group = slice(start, start + GROUP)
        half_step = np.abs(exact[group]).max(0) / 7 * (1 + 2.0**-8) / 2
        count = len(exact[group])
        assert ((off[group] ** 2).sum(0) <= count * (half_step * (1 + 2.0**-15)) ** 2 * (1 + 2.0**-15)).all()


def test_bfloat16_rounds_every_number_to_the_nearest_ties_to_even():
    upper = np.arange(0x7F80, dtype=np.uint32) << 16
    for low, up in ((0, 0), (0x7FFF, 0), (0x8001, 1), (0xFFFF, 1)):
        expected = (upper + (up << 16)).view(np.float32)
        assert np.array_equal(to_bfloat16((upper | low).view(np.float32)), expected)
    tied = to_bfloat16((upper | 0x8000).view(np.float32)).view(np.uint32) >> 16
    assert (tied % 2 == 0).all()
    assert (np.abs(tied.astype(np.int64) - (upper >> 16)) <= 1).all()


@pytest.mark.parametrize("dtype", COMPACT)
@given(seeds, rows_, depths_, cols_)
def test_matmul_is_within_its_bound(isa, dtype, seed, rows, depth, cols):
    rng = np.random.default_rng(seed)
    x, w, b, r = numbers(rng, rows, depth), numbers(rng, depth, cols), numbers(rng, cols), numbers(rng, rows, cols)
    packed, twin, of_both = ops.pack(w, dtype), reference.pack(w, dtype), (multiplied(x, dtype), stored(w, dtype))
    bounds.check(ops.matmul(x, packed), reference.matmul(x, twin), bounds.compact_matmul(*of_both, dtype), "matmul")
    expected = reference.matmul_residual(x, twin, b, r)
    bound = bounds.compact_matmul(*of_both, dtype, b, r)
    bounds.check(ops.matmul_residual(x, packed, b, r), expected, bound, "matmul_residual")


@pytest.mark.parametrize("dtype", COMPACT)
@given(seeds, rows_, depths_, cols_)
def test_fused_epilogues_have_the_bits_of_separate_steps(isa, dtype, seed, rows, depth, cols):
    rng = np.random.default_rng(seed)
    x, b, r = numbers(rng, rows, depth), numbers(rng, cols), numbers(rng, rows, cols)
    w = ops.pack(numbers(rng, depth, cols), dtype)
    y = ops.matmul(x, w, b)
    assert same_bits(ops.matmul(x, w) + b, y)
    for name in bounds.ACTIVATIONS:
        assert same_bits(ops.matmul_activated(x, w, b, name), getattr(ops, name)(y)), name
    assert same_bits(ops.matmul_residual(x, w, b, r), y + r)


@pytest.mark.parametrize("dtype", COMPACT)
@given(seeds, rows_, depths_, cols_, st.integers(1, 5))
def test_a_row_of_matmul_depends_on_that_row_alone(isa, threads, dtype, seed, rows, depth, cols, count):
    rng = np.random.default_rng(seed)
    x, b = numbers(rng, rows, depth), numbers(rng, cols)
    w = ops.pack(numbers(rng, depth, cols), dtype)
    cpu.set_threads(2)
    whole = ops.matmul(x, w, b)
    cpu.set_threads(count)
    assert same_bits(ops.matmul(x, w, b), whole)
    start = int(rng.integers(rows))
    stop = int(rng.integers(start, rows)) + 1
    assert same_bits(ops.matmul(x[start:stop], w, b), whole[start:stop])
    wide = np.concatenate([x, numbers(rng, rows, 7)], 1)
    assert same_bits(ops.matmul(wide[:, :depth], w, b), whole)


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_integer_products_have_the_same_bits_on_every_instruction_set_but_for_the_fused_rounding(isa, dtype):
    """One group's sum is exact: what is left are the products with the two scales, each rounded once everywhere."""
    rng = np.random.default_rng(5)
    x, w = numbers(rng, 20, GROUP), ops.pack(numbers(rng, GROUP, 50), dtype)
    found = ops.matmul(x, w)
    cpu.set_isa("baseline")
    assert same_bits(ops.matmul(x, w), found)


@pytest.mark.parametrize("dtype", COMPACT)
def test_extreme_rows(isa, dtype):
    x = np.ones((8, 40), np.float32)
    x[1, 3], x[2, 39], x[3, 0] = np.nan, np.inf, -np.inf
    x[4], x[5], x[6] = 1e-33, 1e37, 0
    w = np.full((40, 33), 0.25, np.float32)
    found = ops.matmul(x, ops.pack(w, dtype))
    expected = reference.matmul(x, reference.pack(w, dtype))
    assert np.isfinite(found[[0, 4, 5, 6, 7]]).all()
    assert not np.isfinite(found[[1, 2, 3]]).any()
    np.testing.assert_allclose(found[[0, 4, 5, 6, 7]], expected[[0, 4, 5, 6, 7]], rtol=41 * 2.0**-23)
    assert (found[6] == 0).all()


@pytest.mark.parametrize("dtype", COMPACT)
@given(seeds, st.integers(1, 40), st.integers(1, 50), st.integers(1, 70))
def test_an_embedding_is_what_the_format_keeps_plus_the_position(isa, dtype, seed, tokens, width, vocabulary):
    rng = np.random.default_rng(seed)
    wte, wpe = numbers(rng, vocabulary, width), numbers(rng, 9, width)
    ids, places = rng.integers(0, vocabulary, tokens), rng.integers(0, 9, tokens)
    packed = ops.pack_transposed(wte, dtype)
    assert same_bits(ops.embedding(ids, places, packed, wpe), ops.unpack(packed).T[ids] + wpe[places])


def test_bytes_fall_with_the_format():
    w = np.ones((768, 3072), np.float32)
    sizes = {d: ops.pack(w, d).nbytes * 8 / w.size for d in DTYPES}
    # int8: 32 bits of scale for 768 codes; int4: 16 bits for 32
    assert sizes == {"float32": 32, "bfloat16": 16, "int8": 8 + 32 / 768, "int4": 4.5}


@pytest.mark.parametrize("arithmetic", [ops, reference], ids=["ops", "reference"])
@pytest.mark.parametrize("pack", ["pack", "pack_transposed"])
def test_an_unknown_dtype_is_an_error_that_names_the_known_ones(arithmetic, pack):
    with pytest.raises(ValueError, match="dtype must be one of float32, bfloat16, int8, int4, got 'int3'"):
        getattr(arithmetic, pack)(np.ones((2, 2), np.float32), "int3")


@pytest.mark.parametrize("arithmetic", [ops, reference], ids=["ops", "reference"])
@pytest.mark.parametrize("dtype", COMPACT)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(arithmetic, dtype, bad):
    w = np.ones((70, 40), np.float32)
    w[69, 39] = bad
    for pack in (arithmetic.pack, arithmetic.pack_transposed):
        with pytest.raises(ValueError, match="finite"):
            pack(w, dtype)


@pytest.mark.parametrize("arithmetic", [ops, reference], ids=["ops", "reference"])
def test_a_number_beyond_bfloat16_is_refused(arithmetic):
    with pytest.raises(ValueError, match="finite"):
        arithmetic.pack(np.full((1, 1), 3.4e38, np.float32), "bfloat16")


@pytest.mark.parametrize("arithmetic", [ops, reference], ids=["ops", "reference"])
def test_int8_refuses_more_depths_than_its_sums_hold(arithmetic):
    with pytest.raises(ValueError, match="int8 takes matrices of at most 65536 rows, got 65537"):
        arithmetic.pack(np.ones((65537, 1), np.float32), "int8")


def test_the_longest_int8_sum_is_exact(isa):
    x, w = np.ones((3, 65536), np.float32), np.ones((65536, 1), np.float32)
    assert ops.matmul(x, ops.pack(w, "int8")).tolist() == [[65536.0]] * 3
    assert ops.matmul(x, ops.pack(-w, "int8")).tolist() == [[-65536.0]] * 3
