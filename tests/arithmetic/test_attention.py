"""The key-value cache and attention over it, in every dtype: against exact arithmetic and against themselves, on every
instruction set of this machine."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import bounds
from matrices import exact, numbers, same_bits, seeds
from nextword import cpu, ops, reference

DTYPES = {"float32": np.float32, "bfloat16": np.uint16, "int8": np.int8}
UNWRITTEN = {"float32": np.nan, "bfloat16": 0x7FC0, "int8": 127}  # beside scales that are NaN



@pytest.fixture(params=DTYPES)
def dtype(request):
    """How keys and values are stored."""
    return request.param


def empty_cache(dtype, slots, heads, width, panels):
    """Keys, values and scales with nothing stored: a kernel that lets any of it into a result is found out."""
    keys = np.full((slots, heads, panels, width, 32), UNWRITTEN[dtype], DTYPES[dtype])
    values = np.full((slots, heads, -(-width // 32), panels * 32, 32), UNWRITTEN[dtype], DTYPES[dtype])
    return keys, values, np.full((slots, heads, 2, panels * 32 if dtype == "int8" else 0), np.nan, np.float32)


def by_token(keys, values, scales, tokens):
    """What one slot stores, exactly: keys and values, float64 [heads, tokens, width]."""
    heads, width = keys.shape[0], keys.shape[2]
    k = keys.transpose(0, 1, 3, 2).reshape(heads, -1, width)
    v = values.transpose(0, 2, 1, 3).reshape(heads, values.shape[2], -1)[..., :width]
    found = []
    for part, x in enumerate((k[:, :tokens], v[:, :tokens])):
        if x.dtype == np.uint16:
            x = (x.astype(np.uint32) << 16).view(np.float32)
        found.append(exact(x) * exact(scales[:, part, :tokens, None]) if x.dtype == np.int8 else exact(x))
    return found


class Sequences:
    """Random sequences in a cache, filled through `append`: some tokens are past, some are fresh.

    group: so many heads of q to each of the `heads` of k and v.
    """

    def __init__(self, dtype, rng, heads, width, lengths, past, group=1):
        self.heads, self.width, self.past = heads, width, np.array(past, np.int64)
        self.fresh = np.array(lengths, np.int64) - self.past
        count = len(lengths)
        self.slots = rng.permutation(count + 1)[:count].astype(np.int64)
        each = (group * heads, heads, heads)
        self.q, self.k, self.v = ([numbers(rng, n, many * width) for n in lengths] for many in each)
        self.keys, self.values, self.scales = empty_cache(dtype, count + 1, heads, width, -(-max(lengths) // 32))

    def rows(self, x):
        return np.concatenate([a[p:] for a, p in zip(x, self.past, strict=True)])

    def fill(self, append):
        before = [np.concatenate([a[:p] for a, p in zip(x, self.past, strict=True)]) for x in (self.k, self.v)]
        cache = self.keys, self.values, self.slots
        append(*before, *cache, np.zeros_like(self.past), self.past, self.scales)
        append(self.rows(self.k), self.rows(self.v), *cache, self.past, self.fresh, self.scales)
        return self

    def attend(self, scale, arithmetic=ops, window=0):
        cache = self.keys, self.values, self.slots, self.past, self.fresh
        return arithmetic.attention(self.rows(self.q), *cache, scale, None, None, self.scales, window=window)


@st.composite
def batches(draw):
    lengths = draw(st.lists(st.one_of(st.integers(1, 40), st.sampled_from([63, 64, 65, 130])), min_size=1, max_size=3))
    past = [draw(st.integers(0, n - 1)) for n in lengths]
    return draw(seeds), draw(st.integers(1, 3)), draw(st.sampled_from([1, 3, 16, 25, 32, 40, 64])), lengths, past


# Attention over what is stored


@given(batches())
def test_attention_is_within_its_bound(isa, dtype, batch):
    seed, heads, width, lengths, past = batch
    s = Sequences(dtype, np.random.default_rng(seed), heads, width, lengths, past).fill(ops.append)
    scale = float(np.float32(width**-0.5))
    got, row = s.attend(scale), 0
    for i, n in enumerate(lengths):
        hidden = np.arange(n) > np.arange(past[i], n)[:, None]
        slot = s.slots[i]
        keys, values = by_token(s.keys[slot], s.values[slot], s.scales[slot], n)
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            q, k, v = exact(s.q[i][past[i] :, part]), keys[head], values[head]
            scores = np.where(hidden, -np.inf, scale * (q @ k.T))
            e = np.exp(scores - scores.max(-1, keepdims=True))
            out = e / e.sum(-1, keepdims=True) @ v
            scales = exact(s.scales[slot, head, :, :n]) if dtype == "int8" else None
            bound = bounds.attention(q, k, v, scale, hidden, scales)
            bounds.check(got[row : row + n - past[i], part], out, bound, "attention")
        row += n - past[i]


@given(batches(), st.integers(1, 5))
def test_a_query_of_attention_depends_on_what_it_sees_alone(isa, dtype, threads, batch, count):
    seed, heads, width, lengths, past = batch
    rng = np.random.default_rng(seed)
    s = Sequences(dtype, rng, heads, width, lengths, past).fill(ops.append)
    whole = s.attend(0.3)
    cpu.set_threads(count)
    row = 0
    for i, n in enumerate(lengths):
        at = int(rng.integers(past[i], n))  # one query alone, in another slot, with nothing behind it
        alone = Sequences(dtype, rng, heads, width, [at + 1], [at])
        alone.q, alone.k, alone.v = ([x[i][: at + 1]] for x in (s.q, s.k, s.v))
        assert same_bits(alone.fill(ops.append).attend(0.3), whole[row + at - past[i]][None])
        row += n - past[i]


@given(batches(), st.data())
def test_attention_has_the_same_bits_with_its_first_tokens_held_apart(isa, dtype, batch, data):
    seed, heads, width, lengths, past = batch
    s = Sequences(dtype, np.random.default_rng(seed), heads, width, lengths, past).fill(ops.append)
    i = data.draw(st.integers(0, len(lengths) - 1), "sequence")
    panels = data.draw(st.integers(0, past[i] // 32), "panels")
    slot, apart, q = int(s.slots[i]), 32 * panels, s.q[i][past[i] :]
    fresh = np.array([lengths[i] - past[i]])
    copies = np.array([1, 0]), np.array([past[i] - apart] * 2), np.repeat(fresh, 2)  # two sequences behind one prefix
    keys, values, scales = s.keys[slot], s.values[slot], s.scales[slot]

    def twice(x):
        return np.ascontiguousarray(np.stack([x] * 2))

    own = [twice(x) for x in (keys[:, panels:], values[:, :, apart:], scales[:, :, apart:])]
    first = [np.ascontiguousarray(x) for x in (keys[:, :panels], values[:, :, :apart], scales[:, :, :apart])]
    for arithmetic in (ops, reference):
        where = np.array([slot]), np.array([past[i]]), fresh
        whole = arithmetic.attention(q, s.keys, s.values, *where, 0.3, None, None, s.scales)
        split = arithmetic.attention(np.concatenate([q, q]), *own[:2], *copies, 0.3, *first[:2], own[2], first[2])
        assert same_bits(split, np.concatenate([whole, whole]))


@given(batches())
def test_attention_weights_have_the_bits_of_attention_and_rows_that_sum_to_one(isa, dtype, batch):
    seed, heads, width, lengths, past = batch
    s = Sequences(dtype, np.random.default_rng(seed), heads, width, lengths[:1], past[:1]).fill(ops.append)
    slot, start = int(s.slots[0]), past[0]
    out, scores, weights = ops.attention_weights(s.rows(s.q), s.keys, s.values, slot, start, 0.3, s.scales)
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
def test_the_reference_attends_as_its_formula_says(dtype, batch):
    seed, heads, width, lengths, past = batch
    s = Sequences(dtype, np.random.default_rng(seed), heads, width, lengths, past).fill(reference.append)
    got = s.attend(0.3, reference)
    row = 0
    for i, n in enumerate(lengths):
        slot = s.slots[i]
        keys, values = by_token(s.keys[slot], s.values[slot], s.scales[slot], n)
        for t in range(past[i], n):
            for head in range(heads):
                part = slice(head * width, (head + 1) * width)
                v = values[head, : t + 1]
                scores = 0.3 * keys[head, : t + 1] @ exact(s.q[i][t, part])
                w = np.exp(scores - scores.max())
                expected = w @ v / w.sum()
                # float64 against float64, 2^-53 each: a score of `width` products, an exponential of it, a sum of n
                slack = 2.0**-52 * (n + width) * (4 + np.abs(scores).max() * 2) * np.abs(v).max()
                assert (np.abs(got[row, part] - expected) <= bounds.rounded(expected) + slack).all()
            row += 1


# Groups of heads, and windows

groups_ = st.sampled_from([1, 2, 3, 5, 13])  # more than a tile has rows of, too
windows_ = st.sampled_from([0, 1, 2, 5, 12, 31, 32, 33, 64, 100, 2**62])


def unseen(tokens, start, window):
    """Which keys each query from `start` on does not see: [queries, tokens]."""
    before = np.arange(start, tokens)[:, None] - np.arange(tokens)
    return (before < 0) | (before >= (window or tokens))


def exactly(s, lengths, group, scale, window):
    """Of each sequence and head: its rows and columns of the result, and what that is with its bounds, the kernel's and
    the reference's."""
    row, width = 0, s.width
    for i, n in enumerate(lengths):
        hidden = unseen(n, s.past[i], window)
        keys, values = by_token(s.keys[s.slots[i]], s.values[s.slots[i]], s.scales[s.slots[i]], n)
        rows = slice(row, row + n - s.past[i])
        for head in range(s.heads * group):
            part = slice(head * width, (head + 1) * width)
            q, k, v = exact(s.q[i][s.past[i] :, part]), keys[head // group], values[head // group]
            scores = np.where(hidden, -np.inf, scale * (q @ k.T))
            e = np.exp(scores - scores.max(-1, keepdims=True))
            out = e / e.sum(-1, keepdims=True) @ v
            scales = exact(s.scales[s.slots[i], head // group, :, :n]) if s.keys.dtype == np.int8 else None
            bound = bounds.attention(q, k, v, scale, hidden, scales)
            # float64 against float64, 2^-53 each: a score of `width` products, an exponential of it, a sum of n
            largest = np.abs(np.where(hidden, 0, scores)).max()
            slack = 2.0**-52 * (n + width) * (4 + largest * 2) * np.abs(v).max()
            yield (rows, part), out, bound, bounds.rounded(out) + slack
        row = rows.stop


@given(batches(), groups_, windows_)
def test_grouped_heads_within_a_window_are_within_their_bound(isa, dtype, batch, group, window):
    seed, heads, width, lengths, past = batch
    s = Sequences(dtype, np.random.default_rng(seed), heads, width, lengths, past, group).fill(ops.append)
    scale = float(np.float32(width**-0.5))
    got = s.attend(scale, window=window)
    for at, out, bound, _ in exactly(s, lengths, group, scale, window):
        bounds.check(got[at], out, bound, "attention")


@given(batches(), groups_, windows_)
def test_the_reference_groups_heads_and_sees_a_window(dtype, batch, group, window):
    seed, heads, width, lengths, past = batch
    s = Sequences(dtype, np.random.default_rng(seed), heads, width, lengths, past, group).fill(reference.append)
    got = s.attend(0.25, reference, window)
    for at, out, _, bound in exactly(s, lengths, group, 0.25, window):
        bounds.check(got[at], out, bound, "reference.attention")
    rows = slice(int(s.past[0]), lengths[0])
    out, scores, weights = reference.attention_weights(
        s.q[0][rows], s.keys, s.values, int(s.slots[0]), past[0], 0.25, s.scales, window
    )
    assert same_bits(out, got[: rows.stop - rows.start])
    assert (np.isneginf(scores) == unseen(lengths[0], past[0], window)).all()
    assert ((weights > 0) <= np.isfinite(scores)).all()
    assert scores.shape == weights.shape == (heads * group, rows.stop - rows.start, lengths[0])


@given(batches(), groups_, windows_, st.integers(1, 5))
def test_a_group_has_the_bits_of_heads_with_keys_of_their_own(isa, threads, dtype, batch, group, window, count):
    seed, heads, width, lengths, past = batch
    s = Sequences(dtype, np.random.default_rng(seed), heads, width, lengths, past, group).fill(ops.append)
    cpu.set_threads(count)
    together = s.attend(0.3, window=window)
    cpu.set_threads(2)
    for name in ("keys", "values", "scales"):
        setattr(s, name, np.repeat(getattr(s, name), group, 1))
    assert same_bits(s.attend(0.3, window=window), together)


@given(batches(), groups_, windows_)
def test_a_query_depends_on_its_window_alone_however_the_text_was_cut(isa, dtype, batch, group, window):
    seed, heads, width, lengths, past = batch
    rng = np.random.default_rng(seed)
    s = Sequences(dtype, rng, heads, width, lengths, past, group).fill(ops.append)
    whole, row = s.attend(0.3, window=window), 0
    for i, n in enumerate(lengths):
        at = int(rng.integers(past[i], n))  # one query alone, in another slot; what its window leaves out is NaN
        alone = Sequences(dtype, rng, heads, width, [at + 1], [at], group)
        alone.q, alone.k, alone.v = ([x[i][: at + 1].copy()] for x in (s.q, s.k, s.v))
        for x in (*alone.k, *alone.v):
            x[: max(0, at + 1 - window) if window else 0] = np.nan
        assert same_bits(alone.fill(ops.append).attend(0.3, window=window), whole[row + at - past[i]][None])
        row += n - past[i]


@given(batches(), groups_, windows_, st.data())
def test_a_window_reaches_into_tokens_that_are_held_apart(isa, dtype, batch, group, window, data):
    seed, heads, width, lengths, past = batch
    s = Sequences(dtype, np.random.default_rng(seed), heads, width, lengths[:1], past[:1], group).fill(ops.append)
    slot, panels = int(s.slots[0]), data.draw(st.integers(0, past[0] // 32), "panels")
    keys, values, scales = s.keys[slot], s.values[slot], s.scales[slot]
    apart = 32 * panels
    first = [np.ascontiguousarray(x) for x in (keys[:, :panels], values[:, :, :apart], scales[:, :, :apart])]
    own = [np.ascontiguousarray(x)[None] for x in (keys[:, panels:], values[:, :, apart:], scales[:, :, apart:])]
    where = np.array([0]), s.past - apart, s.fresh
    split = ops.attention(s.rows(s.q), *own[:2], *where, 0.3, *first[:2], own[2], first[2], window)
    assert same_bits(split, s.attend(0.3, window=window))


@given(batches(), groups_, windows_)
def test_weights_of_a_window_have_the_bits_of_attention_and_are_zero_outside(isa, dtype, batch, group, window):
    seed, heads, width, lengths, past = batch
    s = Sequences(dtype, np.random.default_rng(seed), heads, width, lengths[:1], past[:1], group).fill(ops.append)
    where = s.keys, s.values, int(s.slots[0]), past[0], 0.3, s.scales, window
    out, scores, weights = ops.attention_weights(s.rows(s.q), *where)
    assert same_bits(out, s.attend(0.3, window=window))
    hidden = unseen(lengths[0], past[0], window)
    assert np.isneginf(scores[:, hidden]).all()
    assert np.isfinite(scores[:, ~hidden]).all()
    assert not weights[:, hidden].any()
    flat = scores.reshape(-1, lengths[0])
    bounds.check(weights.reshape(flat.shape), reference._softmax(exact(flat)),
                 bounds.softmax(np.where(np.isinf(flat), -1e4, exact(flat))), "weights")  # fmt: skip
    assert weights.shape == scores.shape == (heads * group, len(hidden), lengths[0])


@given(batches(), groups_)
def test_a_window_that_holds_the_whole_text_changes_nothing(isa, dtype, batch, group):
    seed, heads, width, lengths, past = batch
    s = Sequences(dtype, np.random.default_rng(seed), heads, width, lengths, past, group).fill(ops.append)
    assert same_bits(s.attend(0.3, window=max(lengths)), s.attend(0.3))


# What is stored


@given(batches())
def test_append_writes_the_layout_of_the_reference(dtype, batch):
    seed, heads, width, lengths, past = batch
    fast, plain = (
        Sequences(dtype, np.random.default_rng(seed), heads, width, lengths, past).fill(m.append)
        for m in (ops, reference)
    )
    assert np.array_equal(fast.keys, plain.keys, equal_nan=dtype == "float32")
    assert np.array_equal(fast.values, plain.values, equal_nan=dtype == "float32")
    assert np.array_equal(fast.scales, plain.scales, equal_nan=True)


# Any bit patterns: NaN, infinities, numbers below the normal range, and rows of one size, which int8 takes apart
any_bits = arrays.arrays(np.uint32, st.tuples(st.integers(1, 9), st.integers(1, 40))).map(lambda x: x.view(np.float32))
alike = st.builds(
    lambda seed, size, rows, width: numbers(np.random.default_rng(seed), rows, width) * np.float32(2.0**size),
    seeds, st.integers(-140, 115), st.integers(1, 40), st.integers(1, 40),
)  # fmt: skip


def stored(arithmetic, dtype, x):
    """The keys and values of one head that `append` makes of x [tokens, width]: the cache's arrays."""
    tokens, width = x.shape
    keys, values, scales = empty_cache(dtype, 1, 1, width, -(-tokens // 32))
    zero = np.array([0])
    arithmetic.append(x, x[::-1].copy(), keys, values, zero, zero, np.array([tokens]), scales)
    return keys, values, scales


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # signalling NaN
@given(st.one_of(any_bits, alike))
def test_any_number_is_stored_as_the_reference_stores_it(dtype, x):
    for fast, plain in zip(stored(ops, dtype, x), stored(reference, dtype, x), strict=True):
        assert np.array_equal(fast, plain, equal_nan=fast.dtype == np.float32)


@given(st.one_of(any_bits.map(np.nan_to_num), alike))
def test_what_is_stored_is_within_the_bound_of_its_format(dtype, x):
    x = np.clip(x, -1e38, 1e38)
    bound = {"float32": np.zeros_like, "bfloat16": bounds.bfloat16, "int8": bounds.int8}[dtype]
    keys, values, scales = stored(ops, dtype, x)
    k, v = by_token(keys[0], values[0], scales[0], len(x))
    assert (np.abs(k[0] - x) <= bound(exact(x))).all()
    assert (np.abs(v[0] - x[::-1]) <= bound(exact(x[::-1]))).all()


INF, NAN, LAST = np.inf, np.nan, 2.0**128 * (1 - 2.0**-8)  # the largest of bfloat16


@pytest.mark.parametrize(("x", "held"), [
    (1 + 2**-8, 1), (1 + 3 * 2**-8, 1 + 2**-6), (-1 - 2**-8 - 2**-20, -1 - 2**-7), (LAST, LAST), (-INF, -INF),
    (LAST + 2.0**118, LAST), (LAST + 2.0**119, INF), (2.0**-133, 2.0**-133), (2.0**-134, 0), (3 * 2.0**-134, 2.0**-132),
])  # fmt: skip
def test_bfloat16_is_the_nearest_and_of_two_the_even_one(x, held):
    keys, values, scales = stored(ops, "bfloat16", np.float32([[x]]))
    assert [part.item() for part in by_token(keys[0], values[0], scales[0], 1)] == [held, held]


@pytest.mark.parametrize("bits", [0x7F800001, 0x7FFFFFFF, 0xFF80FFFF, 0x7FC00000])
def test_a_nan_of_any_bits_stays_one_in_bfloat16(bits):
    keys, values, scales = stored(ops, "bfloat16", np.uint32([[bits]]).view(np.float32))
    assert np.isnan(by_token(keys[0], values[0], scales[0], 1)).all()


@pytest.mark.parametrize(("row", "q", "s"), [
    ([127, 0.5, 1.5, 2.5, -0.5, -1.5, -127], [127, 0, 2, 2, 0, -2, -127], 1.0),
    ([0.0, -0.0], [0, 0], 0.0),
    ([127 * 2.0**-126, 2.0**-126], [127, 1], 2.0**-126),
    ([126 * 2.0**-126, 2.0**-149], [0, 0], 0.0),
    ([1.0, NAN, 2.0], [0, 0, 0], NAN), ([1.0, -INF], [0, 0], NAN), ([3e38, -3e38], [127, -127], 3e38 / 127),
])  # fmt: skip
def test_int8_is_the_nearest_of_127_steps_to_each_side(row, q, s):
    keys, values, scales = stored(ops, "int8", np.float32([row]))
    assert keys[0, 0, 0, :, 0].tolist() == q
    assert values[0, 0, 0, 0, : len(row)].tolist() == q
    np.testing.assert_array_equal(scales[0, 0, :, 0], np.float32([s, s]))


@pytest.mark.parametrize("bad", [NAN, INF])
@pytest.mark.parametrize("which", ["k", "v"])
def test_a_row_that_is_not_finite_spoils_what_sees_it_and_nothing_else(isa, dtype, which, bad):
    heads, width, tokens, at, head = 2, 33, 40, 17, 1
    s = Sequences(dtype, np.random.default_rng(3), heads, width, [tokens], [0])
    clean = s.fill(ops.append).attend(0.3)
    getattr(s, which)[0][at, head * width : (head + 1) * width] = bad
    got = s.fill(ops.append).attend(0.3)
    assert same_bits(got[:at], clean[:at])
    assert same_bits(got[:, :width], clean[:, :width])
    assert not np.isfinite(got[at:, width:]).any()


# Errors

X = np.ones((2, 3), np.float32)
KEYS, VALUES, _ = (np.zeros_like(x) for x in empty_cache("float32", 2, 1, 3, 1))
HALF, BYTES = ([x.astype(kind) for x in (KEYS, VALUES)] for kind in (np.uint16, np.int8))
SCALES = np.zeros((2, 1, 2, 32), np.float32)
ONE, ZERO = np.array([1]), np.array([0])
CALL = ZERO, ZERO, ONE


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.append(X, X, KEYS[..., :31], VALUES, *CALL), "keys must be float32"),
        (lambda: ops.append(X, X, KEYS, VALUES[:1], *CALL), "values must be float32"),
        (lambda: ops.append(X, X, KEYS.astype(np.float64), VALUES, *CALL), "keys must be float32 .* got float64"),
        (
            lambda: ops.append(X, X, KEYS, VALUES, ZERO.astype(np.int32), ZERO, ONE),
            r"slots must be int64 \[sequences\], got int32",
        ),
        (lambda: ops.append(X, X, KEYS, VALUES, *CALL), r"k must be float32 \[1, 3\]"),
        (lambda: ops.append(X[:1], X[:1], HALF[0], VALUES, *CALL), "values must be uint16 .* got float32"),
        (lambda: ops.append(X[:1], X[:1], BYTES[0], HALF[1], *CALL, SCALES), "values must be int8 .* got uint16"),
        (lambda: ops.append(X[:1], X[:1], *BYTES, *CALL), r"scales must be float32 \[2, 1, 2, 32\], got None"),
        (lambda: ops.append(X[:1], X[:1], *HALF, *CALL, SCALES), r"scales must be float32 \[2, 1, 2, 0\]"),
        (lambda: ops.attention_weights(X, *BYTES, 0, 0, 1.0, SCALES[:1]), r"scales must be float32 \[2, 1, 2, 32\]"),
        (lambda: ops.attention_weights(X[:, ::-1], KEYS, VALUES, 0, 0, 1.0), "q must be float32"),
        (
            lambda: ops.attention_weights(X[:, :2], KEYS, VALUES, 0, 0, 1.0),
            r"attention_weights: q must be float32 \[tokens, n \* 3\], got float32 \[2, 2\]",
        ),
        (lambda: ops.attention(X, KEYS, VALUES, *CALL, 1.0), r"q must be float32 \[1, n \* 3\], got float32 \[2, 3\]"),
        (lambda: ops.attention(X[:1], KEYS, VALUES, *CALL, 1.0, window=-1), r"attention: window must be 0 .* got -1"),
        (lambda: ops.attention_weights(X, KEYS, VALUES, 0, 0, 1.0, window=-2), r"weights: window must be 0 .* got -2"),
        (lambda: ops.attention(X[:1], KEYS, VALUES, *CALL, 1.0, KEYS[0], None), "both be given or neither"),
        (lambda: ops.attention(X[:1], KEYS, VALUES, *CALL, 1.0, KEYS, VALUES), "prefix_keys must be"),
        (lambda: ops.attention(X[:1], KEYS, VALUES, *CALL, 1.0, KEYS[0], VALUES), "prefix_values must be"),
        (lambda: ops.attention(X[:1], *HALF, *CALL, 1.0, KEYS[0], VALUES[0]), "prefix_keys must be uint16"),
        (
            lambda: ops.attention(X[:1], *BYTES, *CALL, 1.0, BYTES[0][0], BYTES[1][0], SCALES),
            r"prefix_scales must be float32 \[1, 2, 32\], got None",
        ),
    ],
)
def test_a_wrong_array_is_one_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
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


@pytest.mark.parametrize("name", ["keys", "values", "scales"])
def test_a_read_only_cache_is_refused_and_left_alone(name):
    cache = {"keys": BYTES[0].copy(), "values": BYTES[1].copy(), "scales": SCALES.copy()}
    cache[name].flags.writeable = False
    with pytest.raises(ValueError, match=rf"{name} must be .* not read-only"):
        ops.append(X, X, slots=ZERO, past=ZERO, fresh=np.array([2]), **cache)
    assert not any(x.any() for x in cache.values())


def test_no_rows_give_no_rows(isa):
    assert ops.attention(X[:0], KEYS, VALUES, ZERO, ZERO, ZERO, 1.0).shape == (0, 3)
