"""The C++ operations against exact arithmetic and against themselves, on every instruction set of this machine."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bounds
from nextword import cpu, ops, reference

seeds = st.integers(0, 2**32 - 1)
# Around the panel (32), the tile (12) and the blocks (16 and 512 rows), and in between; 512 columns are spread.
rows_ = st.one_of(st.integers(1, 40), st.sampled_from([511, 512, 513]))
cols_ = st.one_of(st.integers(1, 70), st.sampled_from([96, 200, 512]))
depths_ = st.one_of(st.integers(1, 70), st.sampled_from([255, 512, 767, 768, 769]))


def numbers(rng, *shape):
    """float32 values of several sizes, with zeros of both signs."""
    x = rng.standard_normal(shape) * 10.0 ** rng.integers(-3, 3)
    x[rng.random(shape) < 0.05] = 0.0
    x[rng.random(shape) < 0.05] = -0.0
    return x.astype(np.float32)


def exact(x):
    return x.astype(np.float64)


def same_bits(a, b):
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


@given(seeds, rows_, depths_, cols_)
def test_matmul_is_within_its_bound(isa, seed, rows, depth, cols):
    rng = np.random.default_rng(seed)
    x, w, b, r = numbers(rng, rows, depth), numbers(rng, depth, cols), numbers(rng, cols), numbers(rng, rows, cols)
    product = exact(x) @ exact(w)
    packed = ops.pack(w)
    bounds.check(ops.matmul(x, packed), product, bounds.matmul(x, w), "matmul")
    bounds.check(ops.matmul(x, packed, b), product + b, bounds.matmul(x, w, b), "matmul with bias")
    bounds.check(ops.matmul_residual(x, packed, b, r), product + b + r, bounds.matmul(x, w, b, r), "matmul_residual")


@given(seeds, rows_, depths_, cols_)
def test_fused_epilogues_have_the_bits_of_separate_steps(isa, seed, rows, depth, cols):
    rng = np.random.default_rng(seed)
    x, w, b, r = (
        numbers(rng, rows, depth),
        ops.pack(numbers(rng, depth, cols)),
        numbers(rng, cols),
        numbers(rng, rows, cols),
    )
    y = ops.matmul(x, w, b)
    assert same_bits(ops.matmul_gelu_tanh(x, w, b), ops.gelu_tanh(y))
    assert same_bits(ops.matmul_gelu_erf(x, w, b), ops.gelu_erf(y))
    assert same_bits(ops.matmul_residual(x, w, b, r), y + r)


@given(seeds, rows_, depths_, cols_, st.integers(1, 5))
def test_a_row_of_matmul_depends_on_that_row_alone(isa, threads, seed, rows, depth, cols, count):
    rng = np.random.default_rng(seed)
    x, w, b, r = (
        numbers(rng, rows, depth),
        ops.pack(numbers(rng, depth, cols)),
        numbers(rng, cols),
        numbers(rng, rows, cols),
    )
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


@pytest.mark.parametrize("form", ["gelu_tanh", "gelu_erf"])
def test_gelu_is_within_its_bound_everywhere(isa, form):
    ends = np.float32([0.0, -0.0, 1e-38, -1e-38, 1e-45, 1e4, -1e4, 3e38, -3e38])
    x = np.concatenate([np.linspace(-20, 20, 80_003, dtype=np.float32), ends])[None]
    definition = {"gelu_tanh": reference._gelu_tanh, "gelu_erf": reference._gelu_erf}[form]
    with np.errstate(over="ignore"):
        y = definition(exact(x))
        bound = getattr(bounds, form)(exact(x))
    bounds.check(getattr(ops, form)(x), y, bound + bounds.rounded(y), form)


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


class Sequences:
    """Random sequences in a cache, filled through `append`: some tokens are past, some are fresh."""

    def __init__(self, rng, heads, width, lengths, past):
        self.heads, self.width, self.past = heads, width, np.array(past, np.int64)
        self.fresh = np.array(lengths, np.int64) - self.past
        capacity = -(-max(lengths) // 32)
        count = len(lengths)
        self.slots = rng.permutation(count + 1)[:count].astype(np.int64)
        self.q, self.k, self.v = ([numbers(rng, n, heads * width) for n in lengths] for _ in range(3))
        # NaN where nothing is stored: a kernel that lets it into a result is found out
        self.keys = np.full((count + 1, heads, capacity, width, 32), np.nan, np.float32)
        self.values = np.full((count + 1, heads, -(-width // 32), capacity * 32, 32), np.nan, np.float32)

    def rows(self, x):
        return np.concatenate([a[p:] for a, p in zip(x, self.past, strict=True)])

    def fill(self, append):
        zero = np.zeros_like(self.past)
        append(
            *(np.concatenate([a[:p] for a, p in zip(x, self.past, strict=True)]) for x in (self.k, self.v)),
            self.keys,
            self.values,
            self.slots,
            zero,
            self.past,
        )
        append(self.rows(self.k), self.rows(self.v), self.keys, self.values, self.slots, self.past, self.fresh)
        return self

    def attend(self, scale):
        return ops.attention(self.rows(self.q), self.keys, self.values, self.slots, self.past, self.fresh, scale)


@st.composite
def batches(draw):
    lengths = draw(st.lists(st.one_of(st.integers(1, 40), st.sampled_from([63, 64, 65, 130])), min_size=1, max_size=3))
    past = [draw(st.integers(0, n - 1)) for n in lengths]
    return draw(seeds), draw(st.integers(1, 3)), draw(st.sampled_from([1, 3, 16, 25, 32, 40, 64])), lengths, past


@given(batches())
def test_attention_is_within_its_bound(isa, batch):
    seed, heads, width, lengths, past = batch
    s = Sequences(np.random.default_rng(seed), heads, width, lengths, past).fill(ops.append)
    scale = float(np.float32(width**-0.5))
    got, row = s.attend(scale), 0
    for i, n in enumerate(lengths):
        hidden = np.arange(n) > np.arange(past[i], n)[:, None]
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            q, k, v = exact(s.q[i][past[i] :, part]), exact(s.k[i][:, part]), exact(s.v[i][:, part])
            scores = np.where(hidden, -np.inf, scale * (q @ k.T))
            e = np.exp(scores - scores.max(-1, keepdims=True))
            out = e / e.sum(-1, keepdims=True) @ v
            bounds.check(got[row : row + n - past[i], part], out, bounds.attention(q, k, v, scale, hidden), "attention")
        row += n - past[i]


@given(batches(), st.integers(1, 5))
def test_a_query_of_attention_depends_on_what_it_sees_alone(isa, threads, batch, count):
    seed, heads, width, lengths, past = batch
    rng = np.random.default_rng(seed)
    s = Sequences(rng, heads, width, lengths, past).fill(ops.append)
    whole = s.attend(0.3)
    cpu.set_threads(count)
    row = 0
    for i, n in enumerate(lengths):
        at = int(rng.integers(past[i], n))  # one query alone, in another slot, with nothing behind it
        alone = Sequences(rng, heads, width, [at + 1], [at])
        alone.q, alone.k, alone.v = ([x[i][: at + 1]] for x in (s.q, s.k, s.v))
        assert same_bits(alone.fill(ops.append).attend(0.3), whole[row + at - past[i]][None])
        row += n - past[i]


@given(batches(), st.data())
def test_attention_has_the_same_bits_with_its_first_tokens_held_apart(isa, batch, data):
    seed, heads, width, lengths, past = batch
    s = Sequences(np.random.default_rng(seed), heads, width, lengths, past).fill(ops.append)
    i = data.draw(st.integers(0, len(lengths) - 1), "sequence")
    panels = data.draw(st.integers(0, past[i] // 32), "panels")
    slot, apart, q = int(s.slots[i]), 32 * panels, s.q[i][past[i] :]
    fresh = np.array([lengths[i] - past[i]])
    copies = np.array([1, 0]), np.array([past[i] - apart] * 2), np.repeat(fresh, 2)  # two sequences behind one prefix
    own = [np.ascontiguousarray(np.stack([x] * 2)) for x in (s.keys[slot][:, panels:], s.values[slot][:, :, apart:])]
    first = [np.ascontiguousarray(x) for x in (s.keys[slot][:, :panels], s.values[slot][:, :, :apart])]
    for arithmetic in (ops, reference):
        whole = arithmetic.attention(q, s.keys, s.values, np.array([slot]), np.array([past[i]]), fresh, 0.3)
        split = arithmetic.attention(np.concatenate([q, q]), *own, *copies, 0.3, *first)
        assert same_bits(split, np.concatenate([whole, whole]))


@given(batches())
def test_attention_weights_have_the_bits_of_attention_and_rows_that_sum_to_one(isa, batch):
    seed, heads, width, lengths, past = batch
    s = Sequences(np.random.default_rng(seed), heads, width, lengths[:1], past[:1]).fill(ops.append)
    slot, start = int(s.slots[0]), past[0]
    out, scores, weights = ops.attention_weights(s.rows(s.q), s.keys, s.values, slot, start, 0.3)
    assert same_bits(out, s.attend(0.3))
    hidden = np.arange(lengths[0]) > np.arange(start, lengths[0])[:, None]
    assert np.isneginf(scores[:, hidden]).all()
    assert not weights[:, hidden].any()
    flat = scores.reshape(-1, lengths[0])
    assert np.isfinite(scores[:, ~hidden]).all()
    bounds.check(
        weights.reshape(flat.shape),
        reference._softmax(exact(flat)),
        bounds.softmax(np.where(np.isinf(flat), -1e4, exact(flat))),
        "weights",
    )


@given(batches())
def test_append_writes_the_layout_of_the_reference(batch):
    seed, heads, width, lengths, past = batch
    fast, plain = (
        Sequences(np.random.default_rng(seed), heads, width, lengths, past).fill(m.append) for m in (ops, reference)
    )
    assert np.array_equal(fast.keys, plain.keys, equal_nan=True)
    assert np.array_equal(fast.values, plain.values, equal_nan=True)


@given(batches())
def test_the_reference_attends_as_its_formula_says(batch):
    seed, heads, width, lengths, past = batch
    s = Sequences(np.random.default_rng(seed), heads, width, lengths, past).fill(reference.append)
    got = reference.attention(s.rows(s.q), s.keys, s.values, s.slots, s.past, s.fresh, 0.3)
    row = 0
    for i, n in enumerate(lengths):
        for t in range(past[i], n):
            for head in range(heads):
                part = slice(head * width, (head + 1) * width)
                scores = 0.3 * exact(s.k[i][: t + 1, part]) @ exact(s.q[i][t, part])
                w = np.exp(scores - scores.max())
                expected = w @ exact(s.v[i][: t + 1, part]) / w.sum()
                # float64 against float64, 2^-53 each: a score of `width` products, an exponential of it, a sum of n
                slack = 2.0**-52 * (n + width) * (4 + np.abs(scores).max() * 2) * np.abs(s.v[i][: t + 1, part]).max()
                assert (np.abs(got[row, part] - expected) <= bounds.rounded(expected) + slack).all()
            row += 1


X, W = np.ones((2, 3), np.float32), ops.pack(np.ones((3, 4), np.float32))
B = np.ones(4, np.float32)
KEYS, VALUES = np.zeros((2, 1, 1, 3, 32), np.float32), np.zeros((2, 1, 1, 32, 32), np.float32)
ONE, ZERO = np.array([1]), np.array([0])


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
        (lambda: ops.matmul(X, W, B[:2]), r"bias must be float32 \[4\], got float32 \[2\]"),
        (lambda: ops.matmul_residual(X, W, B, X), r"residual must be float32 \[2, 4\]"),
        (lambda: ops.matmul_residual(X, W, B, None), r"residual must be float32 \[rows, 4\], got NoneType"),
        (lambda: ops.matmul(X.astype(">f4"), W), "x must be float32"),
        (lambda: ops.pack(np.ones((2, 2))), "must be float32, float16 or uint16"),
        (lambda: ops.pack(np.ones((2, 2, 2), "f")), r"weight must be an array \[rows, cols\]"),
        (lambda: ops.pack(np.ones((0, 2), "f")), "must not be empty"),
        (lambda: ops.pack(np.ones((4, 4), "f")[::2]), "C-contiguous"),
        (lambda: ops.softmax(np.ones((2, 0), "f")), "at least one column"),
        (lambda: ops.layer_norm(np.ones((2, 0), "f"), B[:0], B[:0]), "at least one column"),
        (lambda: ops.layer_norm(X, B, B), r"weight must be float32 \[3\]"),
        (lambda: ops.gelu_tanh(B), r"x must be float32 \[rows, cols\]"),
        (lambda: ops.append(X, X, KEYS[..., :31], VALUES, ZERO, ZERO, ONE), "keys must be float32"),
        (lambda: ops.append(X, X, KEYS, VALUES[:1], ZERO, ZERO, ONE), "values must be float32"),
        (
            lambda: ops.append(X, X, KEYS, VALUES, ZERO.astype(np.int32), ZERO, ONE),
            r"slots must be int64 \[sequences\], got int32",
        ),
        (lambda: ops.append(X, X, KEYS, VALUES, ZERO, ZERO, ONE), r"k must be float32 \[1, 3\]"),
        (lambda: ops.attention_weights(X[:, ::-1], KEYS, VALUES, 0, 0, 1.0), "q must be float32"),
        (lambda: ops.attention(X[:1], KEYS, VALUES, ZERO, ZERO, ONE, 1.0, KEYS[0], None), "both be given or neither"),
        (lambda: ops.attention(X[:1], KEYS, VALUES, ZERO, ZERO, ONE, 1.0, KEYS, VALUES), "prefix_keys must be"),
        (lambda: ops.attention(X[:1], KEYS, VALUES, ZERO, ZERO, ONE, 1.0, KEYS[0], VALUES), "prefix_values must be"),
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
        (lambda: ops.append(X, X, KEYS, VALUES, np.array([2]), ZERO, np.array([2])), r"slot must be 0 \.\. 1, got 2"),
        (
            lambda: ops.append(X, X, KEYS, VALUES, ZERO, np.array([31]), np.array([2])),
            r"past \+ fresh must be 0 \.\. 32",
        ),
        (lambda: ops.append(X, X, KEYS, VALUES, ZERO, np.array([-1]), np.array([2])), r"past \+ fresh must be"),
        (lambda: ops.append(X, X, KEYS, VALUES, ZERO, np.array([2**62]), np.array([2**62])), r"past \+ fresh must be"),
    ],
)
def test_an_index_out_of_range_is_an_index_error(call, message):
    with pytest.raises(IndexError, match=message):
        call()


def test_a_read_only_cache_is_refused_and_left_alone():
    keys = KEYS.copy()
    keys.flags.writeable = False
    with pytest.raises(ValueError, match=r"keys must be .* not read-only"):
        ops.append(X, X, keys, VALUES.copy(), ZERO, ZERO, np.array([2]))
    assert not keys.any()


def test_no_rows_give_no_rows(isa):
    assert ops.matmul(X[:0], W, B).shape == (0, 4)
    assert ops.layer_norm(X[:0], B[:3], B[:3]).shape == (0, 3)
    assert ops.softmax(X[:0]).shape == (0, 3)
    assert ops.attention(X[:0], KEYS, VALUES, ZERO, ZERO, ZERO, 1.0).shape == (0, 3)
