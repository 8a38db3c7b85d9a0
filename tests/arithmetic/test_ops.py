"""The C++ operations against exact arithmetic and against themselves, on every instruction set of this machine."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bounds
from matrices import cols_, exact, numbers, rows_, same_bits, seeds
from nextword import cpu, ops, reference

# Around the blocks of depths, and in between.
depths_ = st.one_of(st.integers(1, 70), st.sampled_from([255, 512, 767, 768, 769]))


@given(seeds, rows_, depths_, cols_)
def test_matmul_is_within_its_bound(isa, seed, rows, depth, cols):
    rng = np.random.default_rng(seed)
    x, w, b, r = numbers(rng, rows, depth), numbers(rng, depth, cols), numbers(rng, cols), numbers(rng, rows, cols)
    product = exact(x) @ exact(w)
    packed = ops.pack(w)
    bounds.check(ops.matmul(x, packed), product, bounds.matmul(x, w), "matmul")
    bounds.check(ops.matmul(x, packed, b), product + b, bounds.matmul(x, w, b), "matmul with bias")
    bounds.check(ops.matmul_residual(x, packed, b, r), product + b + r, bounds.matmul(x, w, b, r), "matmul_residual")


def linear(rng, rows, depth, cols):
    """x, packed weight, bias and residual of a linear layer."""
    x, w = numbers(rng, rows, depth), ops.pack(numbers(rng, depth, cols))
    return x, w, numbers(rng, cols), numbers(rng, rows, cols)


@given(seeds, rows_, depths_, cols_)
def test_fused_epilogues_have_the_bits_of_separate_steps(isa, seed, rows, depth, cols):
    rng = np.random.default_rng(seed)
    x, w, b, r = linear(rng, rows, depth, cols)
    y = ops.matmul(x, w, b)
    for name in bounds.ACTIVATIONS:
        assert same_bits(ops.matmul_activated(x, w, b, name), getattr(ops, name)(y)), name
    assert same_bits(ops.matmul_residual(x, w, b, r), y + r)
    apart = np.concatenate([r, r], 1)[:, :cols]
    assert same_bits(np.ascontiguousarray(ops.matmul_times(x, w, b, apart)), y * r)


@given(seeds, rows_, depths_, cols_, st.integers(1, 5))
def test_a_row_of_matmul_depends_on_that_row_alone(isa, threads, seed, rows, depth, cols, count):
    rng = np.random.default_rng(seed)
    x, w, b, r = linear(rng, rows, depth, cols)
    cpu.set_threads(2)
    whole = ops.matmul_residual(x, w, b, r)
    cpu.set_threads(count)
    assert same_bits(ops.matmul_residual(x, w, b, r), whole)
    start = int(rng.integers(rows))
    stop = int(rng.integers(start, rows)) + 1
    assert same_bits(ops.matmul_residual(x[start:stop], w, b, r[start:stop]), whole[start:stop])


@given(seeds, rows_, st.one_of(st.integers(1, 70), st.sampled_from([768, 1001])))
def test_layer_norm_is_within_its_bound_and_row_by_row(isa, seed, rows, cols):
    rng = np.random.default_rng(seed)
    x, w, b = numbers(rng, rows, cols) + np.float32(rng.integers(-3, 3)), numbers(rng, cols), numbers(rng, cols)
    eps = 1e-5
    d = exact(x) - exact(x).mean(-1, keepdims=True)
    y = d / np.sqrt((d * d).mean(-1, keepdims=True) + np.float64(np.float32(eps))) * w + b
    got = ops.layer_norm(x, w, b, eps)
    bounds.check(got, y, bounds.layer_norm(exact(x), exact(w), exact(b), eps), "layer_norm")
    at = int(rng.integers(rows))
    assert same_bits(ops.layer_norm(x[at : at + 1], w, b, eps), got[at : at + 1])


@given(seeds, rows_, st.integers(1, 4), st.one_of(st.integers(1, 70), st.sampled_from([128, 768])), st.integers(1, 5))
def test_rms_norm_is_within_its_bound_and_run_by_run(isa, threads, seed, rows, runs, width, count):
    rng = np.random.default_rng(seed)
    x, w, eps = numbers(rng, rows, runs * width), numbers(rng, width), 2.0**-17  # in float32 exactly
    apart = np.concatenate([x, numbers(rng, rows, 5)], 1)[:, : runs * width]
    each = x.reshape(rows, runs, width)
    y = exact(each) / np.sqrt((exact(each) ** 2).mean(-1, keepdims=True) + eps) * w
    bound = bounds.rms_norm(exact(each), exact(w), eps)
    cpu.set_threads(count)
    got = ops.rms_norm(apart, w, eps)
    bounds.check(got.reshape(each.shape), y, bound, "rms_norm")
    twin = reference.rms_norm(x, w, eps).reshape(each.shape)
    bounds.check(twin, y, bounds.rounded(y) + 2.0**-52 * (width + 8) * np.abs(y), "reference.rms_norm")
    row, run = int(rng.integers(rows)), int(rng.integers(runs))
    assert same_bits(ops.rms_norm(each[row, run][None], w, eps)[0], got.reshape(each.shape)[row, run])


def test_rms_norm_keeps_nan_to_its_run_and_zeros_at_zero(isa):
    got = ops.rms_norm(np.float32([[0, 0, np.nan, 1, 3, -3]]), np.ones(2, "f"), 1e-5)[0]
    assert got[:2].tolist() == [0, 0]
    assert np.isnan(got[2:4]).all()
    assert np.abs(got[4:]).round(4).tolist() == [1, 1]


@given(seeds, rows_, st.integers(1, 4), st.one_of(st.integers(1, 70), st.sampled_from([128, 200])), st.booleans(),
       st.integers(1, 5))  # fmt: skip
def test_rotate_turns_each_pair_by_the_angle_of_its_place(isa, threads, seed, rows, heads, pairs, interleaved, count):
    """As every product and sum is rounded once, NumPy's float32 has the same bits."""
    rng = np.random.default_rng(seed)
    x, places = numbers(rng, rows, heads * 2 * pairs), rng.integers(0, 9, rows)
    angles = rng.standard_normal((9, pairs)) * 10
    turns = np.stack([np.cos(angles), np.sin(angles)], -1).astype(np.float32)
    each = x.reshape(rows, heads, pairs, 2).swapaxes(2, 3) if interleaved else x.reshape(rows, heads, 2, pairs)
    (a, b), (cos, sin) = each.swapaxes(0, 2).swapaxes(1, 2), np.moveaxis(turns[places], -1, 0)[:, :, None]
    cpu.set_threads(count)
    apart = np.concatenate([x, numbers(rng, rows, 3)], 1)[:, : x.shape[1]]
    for arithmetic in (ops, reference):
        got = arithmetic.rotate(apart, places, turns, interleaved)
        assert got.shape == x.shape
        one = got.reshape(rows, heads, pairs, 2).swapaxes(2, 3) if interleaved else got.reshape(rows, heads, 2, pairs)
        for found, (c, d, sign) in zip(one.swapaxes(0, 2).swapaxes(1, 2), ((a, b, -1), (b, a, 1)), strict=True):
            first, second = exact(c) * cos, sign * exact(d) * sin
            if arithmetic is ops:
                assert same_bits(np.ascontiguousarray(found), np.ascontiguousarray(c * cos + sign * (d * sin)))
                bounds.check(found, first + second, bounds.rotate(first, second), "rotate")
            else:  # in float64 a product is exact
                slack = 2.0**-52 * (np.abs(first) + np.abs(second))
                bounds.check(found, first + second, bounds.rounded(first + second) + slack, "reference.rotate")


@given(
    seeds,
    st.integers(1, 20),
    st.one_of(st.integers(1, 70), st.sampled_from([1000, 4099])),
    st.sampled_from([0.1, 3, 100]),
)
def test_softmax_is_within_its_bound_and_row_by_row(isa, seed, rows, cols, size):
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal((rows, cols)) * size).astype(np.float32)
    e = np.exp(exact(x) - exact(x).max(-1, keepdims=True))
    got = ops.softmax(x)
    bounds.check(got, e / e.sum(-1, keepdims=True), bounds.softmax(exact(x)), "softmax")
    at = int(rng.integers(rows))
    assert same_bits(ops.softmax(x[at : at + 1]), got[at : at + 1])


def test_softmax_gives_zero_to_minus_infinity_and_keeps_nan(isa):
    got = ops.softmax(np.float32([[0, -np.inf, 0, -200], [0, 1, np.nan, 2]]))
    assert got[0].tolist() == [0.5, 0, 0.5, 0]
    assert np.isnan(got[1]).all()


@pytest.mark.parametrize("name", bounds.ACTIVATIONS)
def test_an_activation_is_within_its_bound_everywhere(isa, name):
    ends = np.float32([0.0, -0.0, 1e-38, -1e-38, 1e-45, 0.625, -0.625, 1e4, -1e4, 3e38, -3e38])
    x = np.concatenate([np.linspace(-20, 20, 80_003), np.linspace(-95, 95, 10_007), np.geomspace(1e-9, 1, 9_001), ends])
    x = np.float32(x)[None]
    with np.errstate(over="ignore"):
        y = reference._ACTIVATIONS[name](exact(x))
        bound = getattr(bounds, name)(exact(x))
    bounds.check(getattr(ops, name)(x), y, bound + bounds.rounded(y), name)
    with np.errstate(over="ignore"):
        twin = getattr(reference, name)(x)
    bounds.check(twin, y, bounds.rounded(y), f"reference.{name}")


@pytest.mark.parametrize("name", bounds.ACTIVATIONS)
def test_an_activation_keeps_nan_and_gives_what_each_end_tends_to(isa, name):
    assert np.isnan(getattr(ops, name)(np.float32([[np.nan, 1]]))[0]).tolist() == [True, False]
    low, high = getattr(ops, name)(np.float32([[-1e30, 1e30]]))[0].tolist()
    assert (low, high) == ((-1.0, 1.0) if name == "tanh" else (0.0, np.float32(1e30)))


def test_relu_is_exact(isa):
    x = numbers(np.random.default_rng(0), 7, 33)
    assert np.array_equal(ops.relu(x), np.maximum(x, 0))


def test_tanh_is_odd(isa):
    x = numbers(np.random.default_rng(0), 70, 33)
    assert np.array_equal(ops.tanh(-x), -ops.tanh(x))


@pytest.mark.parametrize("arithmetic", [ops, reference])
def test_an_unknown_activation_is_an_error_that_lists_the_known(arithmetic):
    words = "matmul_activated: activation must be one of gelu_tanh, gelu_erf, quick_gelu, relu, silu, tanh, got 'gelu'"
    with pytest.raises(ValueError, match=words):
        arithmetic.matmul_activated(X, arithmetic.pack(np.ones((3, 4), np.float32)), None, "gelu")


@given(seeds, st.integers(1, 5), st.integers(1, 70), st.integers(1, 70))
def test_packing_and_unpacking_give_the_matrix_back(seed, which, depth, cols):
    rng = np.random.default_rng(seed)
    w = numbers(rng, depth, cols)
    assert same_bits(ops.unpack(ops.pack(w)), w)
    assert same_bits(ops.unpack(ops.pack_transposed(np.ascontiguousarray(w.T))), w)
    half, brain = w.astype(np.float16), (w.view(np.uint32) >> 16).astype(np.uint16)
    assert same_bits(ops.unpack(ops.pack(half)), half.astype(np.float32))
    assert same_bits(ops.unpack(ops.pack(brain)), reference.to_float32(brain))


def test_every_float16_and_bfloat16_number_is_converted_exactly():
    bits = np.arange(65536, dtype=np.uint16)
    halves = bits.view(np.float16)
    got, expected = ops.to_float32(halves), halves.astype(np.float32)
    assert np.array_equal(got, expected, equal_nan=True)
    assert np.array_equal(np.signbit(got), np.signbit(expected))
    assert ops.to_float32(bits).view(np.uint32).tolist() == (bits.astype(np.uint32) << 16).tolist()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(1, 1), (40, 70), (300, 5)])
def test_packing_refuses_what_is_not_finite(bad, shape):
    w = np.ones(shape, np.float32)
    w[-1, -1] = bad
    for packer in (ops.pack, ops.pack_transposed, reference.pack):
        with pytest.raises(ValueError, match="finite"):
            packer(w)


@given(seeds, st.integers(1, 40), st.integers(1, 50), st.integers(1, 50))
def test_embedding_is_the_sum_of_two_rows(seed, tokens, width, vocabulary):
    rng = np.random.default_rng(seed)
    wte, wpe = numbers(rng, vocabulary, width), numbers(rng, 9, width)
    ids, places = rng.integers(0, vocabulary, tokens), rng.integers(0, 9, tokens)
    assert same_bits(ops.embedding(ids, places, ops.pack_transposed(wte), wpe), wte[ids] + wpe[places])
    for twin in (ops, reference):  # without positions, the token's alone
        assert same_bits(twin.embedding(ids, None, twin.pack_transposed(wte), None), wte[ids])


X, W = np.ones((2, 3), np.float32), ops.pack(np.ones((3, 4), np.float32))
B = np.ones(4, np.float32)
ONE, ZERO = np.array([1]), np.array([0])
T = np.ones((3, 2, 2), np.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ops.matmul(X.astype(np.float64), W),
            r"matmul: x must be float32 \[rows, 3\], got float64 \[2, 3\]; pass np.asc",
        ),
        (lambda: ops.matmul(X[:, :2], W), r"matmul: x must be float32 \[rows, 3\], got float32 \[2, 2\]"),
        (lambda: ops.matmul(X[:, ::-1], W), "matmul: x must be"),
        (lambda: ops.matmul([[1.0]], W), "got list"),
        (lambda: ops.embedding(ZERO, None, W, np.ones((1, 3), "f")), "embedding: places must be given where positions"),
        (lambda: ops.matmul(X, W, B[:2]), r"bias must be float32 \[4\], got float32 \[2\]"),
        (lambda: ops.matmul_residual(X, W, B, X), r"residual must be float32 \[2, 4\]"),
        (lambda: ops.matmul_residual(X, W, B, None), r"residual must be float32 \[rows, 4\], got None"),
        (lambda: ops.matmul_times(X, W, B, X), r"matmul_times: factor must be float32 \[2, 4\], got float32 \[2, 3\]"),
        (lambda: ops.matmul_times(X, W, B, None), r"matmul_times: factor must be float32 \[2, 4\], got None"),
        (lambda: ops.rms_norm(X, B), r"rms_norm: x must have columns, a multiple of the 4 .* got float32 \[2, 3\]"),
        (lambda: ops.rms_norm(X, X), r"rms_norm: weight must be float32 \[width\], got float32 \[2, 3\]"),
        (lambda: ops.rms_norm(X[:, :0], B[:0]), "rms_norm: x must have columns"),
        (lambda: ops.rotate(X, ZERO, T), r"rotate: x must have columns, a multiple of 2 \* pairs = 4, got float32 \[2"),
        (lambda: ops.rotate(np.ones((2, 4), "f"), ZERO, T), r"rotate: places must be int64 \[2\], got int64 \[1\]"),
        (lambda: ops.rotate(X, ZERO, X), r"rotate: turns must be float32 \[positions, pairs, 2\], got float32 \[2"),
        (lambda: ops.rotate(X, ZERO, T[:, :0]), "rotate: x must have columns"),
        (lambda: ops.matmul(X.astype(">f4"), W), "x must be float32"),
        (lambda: ops.pack(np.ones((2, 2))), "must be float32, float16 or uint16"),
        (lambda: ops.pack(np.ones((2, 2, 2), "f")), r"weight must be an array \[rows, cols\]"),
        (lambda: ops.pack(np.ones((0, 2), "f")), "must not be empty"),
        (lambda: ops.pack(np.ones((4, 4), "f")[::2]), "C-contiguous"),
        (lambda: ops.softmax(np.ones((2, 0), "f")), "at least one column"),
        (lambda: ops.layer_norm(np.ones((2, 0), "f"), B[:0], B[:0]), "at least one column"),
        (lambda: ops.layer_norm(X, B, B), r"weight must be float32 \[3\]"),
        (lambda: ops.gelu_tanh(B), r"x must be float32 \[rows, cols\]"),
    ],
)
def test_a_wrong_array_is_one_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.embedding(np.array([4]), ZERO, W, np.ones((1, 3), "f")), r"ids must be 0 \.\. 3, got 4 at 0"),
        (lambda: ops.embedding(np.array([-1]), ZERO, W, np.ones((1, 3), "f")), r"ids must be 0 \.\. 3, got -1"),
        (lambda: ops.embedding(ZERO, ONE, W, np.ones((1, 3), "f")), r"places must be 0 \.\. 0, got 1"),
        (lambda: ops.rotate(B[None], np.array([3]), T), r"rotate: places must be 0 \.\. 2, got 3 at 0"),
        (lambda: ops.rotate(B[None], -ONE, T), r"rotate: places must be 0 \.\. 2, got -1 at 0"),
    ],
)
def test_an_index_out_of_range_is_an_index_error(call, message):
    with pytest.raises(IndexError, match=message):
        call()


def test_no_rows_give_no_rows(isa):
    assert ops.matmul(X[:0], W, B).shape == (0, 4)
    assert ops.layer_norm(X[:0], B[:3], B[:3]).shape == (0, 3)
    assert ops.softmax(X[:0]).shape == (0, 3)
    assert ops.rms_norm(X[:0], B[:3]).shape == (0, 3)
    assert ops.rotate(B[None][:0], ZERO[:0], T).shape == (0, 4)
    assert ops.matmul_times(X[:0], W, B, B[None][:0]).shape == (0, 4)
