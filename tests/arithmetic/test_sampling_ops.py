"""distribution, sample, log_sum_exp, top and philox in C++ against their definition, on every instruction set."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import bounds
from nextword import cpu, ops, reference
from nextword.arithmetic import logits_reference

words = st.integers(0, 2**64 - 1)
seeds = st.integers(0, 2**32 - 1)
# Around the vector (4, 8, 16), the group (32), the lanes of a group (512) and the block of a draw (512).
sizes = st.one_of(st.integers(1, 70), st.sampled_from([511, 512, 513, 1000, 4099]))
OFF = (1.0, 0, 1.0, 0.0, 1.0, False)


@st.composite
def rows(draw):
    """A row of logits: of any spread and place, with ties, banned tokens, denormals; the first one is finite."""
    rng, n = np.random.default_rng(draw(seeds)), draw(sizes)
    spread, place = draw(st.sampled_from([0.0, 1e-42, 0.01, 1, 4, 30, 1e4])), draw(st.sampled_from([0, -100]))
    x = rng.standard_normal(n) * spread + place
    if draw(st.booleans()):
        x = np.round(x)
    if draw(st.booleans()):
        x[1:][rng.random(n - 1) < draw(st.sampled_from([0.1, 0.5, 1]))] = -np.inf
    return x.astype(np.float32)


temperatures = st.one_of(st.floats(0.05, 20), st.sampled_from([1.0, 1e-6, 1e6]))
shares_ = st.one_of(st.just(1.0), st.sampled_from([1e-300, 1e-6, 0.5, 1 - 2.0**-53]), st.floats(0.01, 0.999))
ks = st.one_of(st.just(0), st.integers(1, 70), st.sampled_from([500, 5000]))
min_ps = st.one_of(st.just(0.0), st.sampled_from([1e-300, 1.0]), st.floats(0.001, 0.9))
rules_ = st.tuples(temperatures, ks, shares_, min_ps, shares_, st.booleans())


def scaled(logits, temperature):
    return logits.astype(np.float64) / temperature


def is_stable(logits, temperature, top_k, top_p, min_p, typical_p):
    """Whether the entropy's rounding errors leave the order in which typical_p takes tokens as it is."""
    if typical_p == 1:
        return True
    ids, _, _ = reference.distribution(logits, temperature, top_k, top_p, min_p, 1.0, False)
    x, d = logits[ids], scaled(logits[ids], temperature)
    d -= d.max()
    p = np.exp(d) / np.exp(d).sum()
    shift = np.abs(d - (p * d).sum())
    order = np.argsort(shift, kind="stable")
    near = np.abs(np.diff(shift[order])) <= 2 * bounds.mean_logit(d) + 2.0**-50 * (np.abs(d).max() + 10)
    return not (near & (np.diff(x[order]) != 0)).any()


@given(rows(), rules_)
def test_what_is_kept_and_how_probable_it_is_are_those_of_the_definition(isa, logits, rules):
    assume(is_stable(logits, *rules[:5]))
    ids, p, cuts = ops.distribution(logits, *rules)
    expected_ids, expected, expected_cuts = reference.distribution(logits, *rules)
    assert np.array_equal(ids, expected_ids)
    d = scaled(logits[ids], rules[0])
    d -= d.max()
    error = np.zeros(len(ids)) if rules[5] else expected * bounds.shares(d) + bounds.FLUSHED
    assert (np.abs(p - expected) <= error + 2.0**-50 * expected).all()
    assert np.array_equal(cuts[:3], expected_cuts[:3])
    if rules[4] < 1:
        before, _, _ = reference.distribution(logits, *rules[:4], 1.0, False)
        d = scaled(logits[before], rules[0])
        d -= d.max()
        mean_error = bounds.mean_logit(d) + 2.0**-50 * (np.abs(d).max() + 50)
        log_error = float((np.exp(d) / np.exp(d).sum() * bounds.weights(d)).sum()) + bounds.gamma(20)
        assert abs(cuts[3] - expected_cuts[3]) <= mean_error + log_error
        assert abs(cuts[4] - expected_cuts[4]) <= mean_error
    else:
        assert cuts[3:].tolist() == [math.inf, math.inf]


@given(rows(), rules_)
def test_a_distribution_is_ascending_sums_to_one_and_holds_no_banned_token(isa, logits, rules):
    ids, p, _ = ops.distribution(logits, *rules)
    assert ids.dtype == np.int64
    assert p.dtype == np.float64
    assert (np.diff(ids) > 0).all()
    assert np.isfinite(logits[ids]).all()
    assert (p >= 0).all()
    assert abs(p.sum() - 1) <= 2.0**-52 * (len(p) + 8)
    if rules[4] == 1:
        assert logits[ids].max() == logits.max()


@given(rows(), temperatures, ks, shares_, min_ps)
def test_the_cuts_tell_why_a_token_is_missing(isa, logits, temperature, top_k, top_p, min_p):
    ids, _, cuts = ops.distribution(logits, temperature, top_k, top_p, min_p, 1.0, False)
    x = scaled(logits, temperature)
    missing = np.setdiff1d(np.flatnonzero(np.isfinite(logits)), ids)
    lowest = cuts[:3].max()
    assert (x[ids] >= lowest).all()
    equal = missing[x[missing] >= lowest]  # lost to a lower id of the same logit, by top_p
    assert (x[equal] == cuts[1]).all()
    if temperature >= 0.01:  # so that different logits stay different
        assert all(ids[logits[ids] == logits[i]].max(initial=-1) < i for i in equal)


@given(rows(), rules_, st.data())
def test_the_chances_of_some_tokens_are_those_of_the_distribution(isa, logits, rules, data):
    tokens = np.array(data.draw(st.lists(st.integers(0, len(logits) - 1), max_size=9)), np.int64)
    for arithmetic in (ops, reference):
        ids, p, cuts = arithmetic.distribution(logits, *rules)
        found, stays, same_cuts = arithmetic.chances(logits, *rules, tokens)
        assert stays.tolist() == [token in ids for token in tokens]
        assert found.tolist() == [p[ids == token].sum() for token in tokens]
        assert np.array_equal(cuts, same_cuts)


@pytest.mark.parametrize("token", [-1, 3])
def test_the_chance_of_a_token_that_is_none_is_an_index_error(token):
    with pytest.raises(IndexError, match=rf"tokens must be 0 .. 2, got {token}"):
        ops.chances(np.zeros(3, np.float32), 1.0, 0, 1.0, 0.0, 1.0, False, np.array([0, token]))


@given(rows(), rules_, st.floats(0, 1, exclude_max=True))
def test_a_sample_is_the_inverse_transform_of_the_distribution(isa, logits, rules, u):
    ids, p, _ = ops.distribution(logits, *rules)
    for draw in (0.0, u, 0.5, 1 - 2.0**-53):
        at = logits_reference._inverse_transform(ids, p, len(logits), draw)
        assert ops.sample(logits, *rules, draw) == (ids[at], p[at], len(ids))
        assert p[at] > 0


@given(rows(), rules_, st.floats(0, 1, exclude_max=True))
def test_the_reference_draws_the_first_token_whose_cumulative_probability_exceeds_u(logits, rules, u):
    ids, p, _ = reference.distribution(logits, *rules)
    drawn, probability, count = reference.sample(logits, *rules, u)
    at = int(np.flatnonzero(ids == drawn)[0])
    assert (count, probability) == (len(ids), p[at])
    slack = 2.0**-52 * (len(p) + 8)  # float64 sums in another order
    assert math.fsum(p[:at]) - slack <= u <= math.fsum(p[: at + 1]) + slack


@given(rows(), rules_, st.integers(1, 5))
def test_the_bits_of_a_distribution_do_not_depend_on_threads_or_earlier_rows(isa, threads, logits, rules, count):
    first = ops.distribution(logits, *rules)
    threads(count)
    ops.sample(np.zeros(9000, np.float32), *OFF, 0.5)
    again = ops.distribution(logits.copy(), *rules)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first, again, strict=True))


def distribution(logits, arithmetic=ops, **changes):
    names = ("temperature", "top_k", "top_p", "min_p", "typical_p", "uniform")
    rules = {**dict(zip(names, OFF, strict=True)), **changes}
    return arithmetic.distribution(np.float32(logits), *(rules[name] for name in names))


def kept(logits, arithmetic=ops, **changes):
    return distribution(logits, arithmetic, **changes)[0].tolist()


@pytest.mark.parametrize(
    ("logits", "rules", "expected"),
    [
        ([7], {}, [0]),
        ([7], {"temperature": 1e-6, "top_k": 3, "top_p": 1e-300, "min_p": 1, "typical_p": 1e-300}, [0]),
        ([1, 2, 2, 3], {"top_k": 2}, [1, 2, 3]),
        ([1, 2, 2, 3], {"top_k": 4}, [0, 1, 2, 3]),
        ([1, -math.inf, 2], {"top_k": 9}, [0, 2]),
        ([1, -math.inf, -math.inf], {"top_k": 2}, [0]),
        ([0, 0, 0, 0], {"top_p": 0.5}, [0, 1]),  # exact in float32
        ([0, 0, 0, 0], {"top_p": 0.51}, [0, 1, 2]),
        ([0, -0.0, 0, -0.0], {"top_p": 0.5}, [0, 1]),
        ([0, 9, 0], {"top_p": 1e-300}, [1]),
        ([0, 9, 9], {"top_p": 0}, [1]),
        ([0, -math.inf, 0, 0, 0], {"top_p": 0.5}, [0, 2]),
        ([5, 5, 4], {"min_p": 1}, [0, 1]),
        ([0, -1, -2], {"min_p": math.exp(-1.5)}, [0, 1]),
        ([0, -1, -2], {"min_p": math.exp(-1.5), "temperature": 0.5}, [0]),
        ([0, -200], {}, [0, 1]),  # of probability 0, and kept
        ([0, -200], {"top_p": 1 - 2.0**-53}, [0]),
        ([3, 3, 3], {"typical_p": 1e-300}, [0, 1, 2]),  # equals of the last one stay
        ([0.0, -0.7, -1.1, -8], {"typical_p": 0.1}, [1]),  # the mean is near -0.4: not the most probable
        ([-math.inf, 1, 1, -math.inf], {"uniform": True}, [1, 2]),
        ([3e38, 0, -3e38], {"temperature": 1e-300}, [0, 1, 2]),
        ([1e-45, 0, -1e-45], {"top_k": 2}, [0, 1]),
    ],
)
@pytest.mark.parametrize("copies", [1, 100])
def test_known_rows_keep_known_tokens(isa, logits, rules, expected, copies):
    """The row itself, and behind many banned tokens, where other code paths find it."""
    row = np.full(len(logits) * copies, -np.inf, np.float32)
    row[-len(logits) :] = logits
    ids = [i + len(row) - len(logits) for i in expected]
    assert distribution(row, **rules)[0].tolist() == ids
    assert distribution(row, reference, **rules)[0].tolist() == ids


def twentieths():
    """All distributions of four tokens in twentieths: the numerators and the logits, the logarithms in float32."""
    for counts in itertools.product(range(1, 18), repeat=3):
        if sum(counts) < 20:
            every = np.array([*counts, 20 - sum(counts)])
            yield every, np.log((every / 20).astype(np.float32))


@pytest.mark.parametrize("arithmetic", [ops, reference])
def test_a_sum_that_is_the_bound_reaches_it(isa, arithmetic):
    """The fewest tokens whose probabilities, as fractions, reach top_p, also where the sum is exactly top_p."""
    for counts, logits in twentieths():
        order = np.argsort(-counts, kind="stable")
        sums = np.cumsum(counts[order])
        for share in range(1, 20):
            expected = np.sort(order[: int(np.searchsorted(sums, share)) + 1]).tolist()
            assert kept(logits, arithmetic=arithmetic, top_p=share / 20) == expected, (counts, share)


@pytest.mark.parametrize("arithmetic", [ops, reference])
def test_a_token_that_has_exactly_min_p_of_the_largest_stays(isa, arithmetic):
    for counts, logits in twentieths():
        for limit in counts:
            expected = np.flatnonzero(counts >= limit).tolist()
            assert kept(logits, arithmetic=arithmetic, min_p=limit / counts.max()) == expected, (counts, limit)


@pytest.mark.parametrize("arithmetic", [ops, reference])
def test_a_typical_sum_that_is_the_bound_reaches_it(isa, arithmetic):
    for counts, logits in twentieths():
        p = counts / 20
        shift = np.abs(-np.log(p) + (p * np.log(p)).sum())
        order = np.argsort(shift, kind="stable")
        if (np.diff(shift[order]) < 1e-6).any():  # equals stay together, of which rounding makes two or one
            continue
        sums = np.cumsum(counts[order])
        for share in range(1, 20):
            expected = np.sort(order[: int(np.searchsorted(sums, share)) + 1]).tolist()
            assert kept(logits, arithmetic=arithmetic, typical_p=share / 20) == expected, (counts, share)


@given(seeds, st.sampled_from([50, 4099, 50257]), st.sampled_from([0.0, 0.1, 1, 4]), shares_, temperatures)
def test_both_twins_cut_the_nucleus_at_the_same_token(isa, seed, n, spread, top_p, temperature):
    logits = (np.random.default_rng(seed).standard_normal(n) * spread).astype(np.float32)
    rules = (temperature, 0, top_p, 0.0, 1.0, False)
    assert np.array_equal(ops.distribution(logits, *rules)[0], reference.distribution(logits, *rules)[0])


@pytest.mark.parametrize("n", [1, 31, 32, 33, 50257])
def test_flat_rows_are_cut_by_id(isa, n):
    flat = np.zeros(n, np.float32)
    assert len(kept(flat)) == n
    assert len(kept(flat, top_k=3)) == n  # all tie with the third
    count = len(kept(flat, top_p=0.25))
    assert kept(flat, top_p=0.25) == list(range(count))
    assert count == math.ceil(n * (0.25 - bounds.U * (1 + math.log(n))))
    assert len(kept(flat, typical_p=0.1)) == n
    ids, p, _ = distribution(flat, uniform=True)
    assert len(ids) == n
    assert (p == 1 / n).all()


@pytest.mark.parametrize("temperature", [1e-300, 1e-6, 1.0, 1e6, 1e300])
def test_no_temperature_overflows(isa, temperature):
    x = np.float32([3e38, 0, -3e38, -np.inf, 1e-45])
    ids, p, _ = distribution(x, temperature=temperature)
    assert ids.tolist() == [0, 1, 2, 4]
    assert p.tolist() == [1, 0, 0, 0]
    assert ops.sample(x, temperature, 0, 1.0, 0.0, 1.0, False, 0.999) == (0, 1.0, 4)


def test_a_token_of_probability_zero_is_never_drawn(isa):
    logits = np.float32([-np.inf, 0, -np.inf, -200, 0])
    drawn = {ops.sample(logits, *OFF, u)[0] for u in [0.0, *np.linspace(0, 1 - 2.0**-53, 99)]}
    assert drawn == {1, 4}


@pytest.mark.parametrize("rules", [OFF, (0.7, 4, 0.9, 0.05, 0.9, False), (1.0, 5, 1.0, 0.0, 1.0, True)])
@pytest.mark.parametrize("along", [0, 1, 2])
def test_draws_follow_the_distribution(isa, rules, along):
    """Draws are fixed by their keys, so this cannot flicker. A true sampler exceeds the threshold once in 10^6."""
    logits = np.log(np.float32([0.05, 0.3, 0.1, 0.25, 0.02, 0.08, 0.2]))
    ids, p, _ = ops.distribution(logits, *rules)
    count = 4000
    keys = [[7, 0, 0] for _ in range(count)]
    for n, key in enumerate(keys):
        key[along] = n
    drawn = [ops.sample(logits, *rules, ops.philox(*key))[0] for key in keys]
    counts = np.bincount(drawn, minlength=7)[ids]
    assert counts.sum() == count
    assert (p * count).min() > 5  # the approximation's usual condition
    # chi-square is at most df + 2 sqrt(df x) + 2 x but for e^-x (Laurent & Massart 2000, lemma 1); x = ln 10^6
    df, x = len(ids) - 1, math.log(1e6)
    assert ((counts - p * count) ** 2 / (p * count)).sum() <= df + 2 * math.sqrt(df * x) + 2 * x


def test_draws_of_a_whole_vocabulary_follow_it_block_by_block(isa):
    rng = np.random.default_rng(0)
    logits = (rng.standard_normal(50257) * 2).astype(np.float32)
    _, p, _ = ops.distribution(logits, *OFF)
    count, edges = 5000, np.arange(0, 50257, 2513)
    drawn = [ops.sample(logits, *OFF, ops.philox(1, 0, step))[0] for step in range(count)]
    expected = np.add.reduceat(p, edges) * count
    counts = np.bincount(np.searchsorted(edges, drawn, side="right") - 1, minlength=len(edges))
    df, x = len(edges) - 1, math.log(1e6)
    assert expected.min() > 5
    assert ((counts - expected) ** 2 / expected).sum() <= df + 2 * math.sqrt(df * x) + 2 * x


@given(rows())
def test_log_sum_exp_is_within_its_bound(isa, logits):
    d = logits.astype(np.float64) - logits.max()
    p = np.exp(d) / np.exp(d).sum()
    relative = (p * bounds.weights(d)).sum() + bounds.gamma(20) + len(d) * bounds.FLUSHED
    exact = reference.log_sum_exp(logits)
    assert abs(ops.log_sum_exp(logits) - exact) <= 1.01 * relative + 2.0**-51 * (abs(exact) + 20)


@given(rows())
def test_log_sum_exp_is_float64_and_the_same_on_every_instruction_set(isa, logits):
    """Exponentials are off by 2 units at most, a sum of n of them by n / 16 + 4 more, both relative to the sum."""
    found, exact = ops.log_sum_exp(logits), reference.log_sum_exp(logits)
    assert abs(found - exact) <= 2.0**-52 * (2 * (5 + len(logits)) + abs(exact))
    cpu.set_isa("baseline")
    same = ops.log_sum_exp(logits)
    cpu.set_isa(isa)
    assert same == found


@given(rows(), st.one_of(st.integers(0, 70), st.sampled_from([500, 5000])))
def test_top_is_the_head_of_a_stable_sort(isa, logits, k):
    got = ops.top(logits, k)
    assert got.dtype == np.int64
    assert np.array_equal(got, reference.top(logits, k))


def test_top_of_banned_tokens_alone_is_by_id(isa):
    assert ops.top(np.full(99, -np.inf, np.float32), 3).tolist() == [0, 1, 2]
    assert ops.top(np.zeros(0, np.float32), 3).tolist() == []


@given(words, words, words)
def test_philox_is_numpys(seed, row, step):
    assert ops.philox(seed, row, step) == reference.philox(seed, row, step)


@pytest.mark.parametrize("key", [(0, 0, 0), (2**64 - 1,) * 3, (2**63, 2**32, 1)])
def test_philox_is_numpys_at_the_ends(key):
    assert ops.philox(*key) == reference.philox(*key)


@pytest.mark.parametrize(("bad", "kind"), [(-1, ValueError), (2**64, ValueError), (1.5, TypeError), ("7", TypeError)])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_philox_takes_64_bits(bad, kind, at):
    key = [1, 2, 3]
    key[at] = bad
    with pytest.raises(kind, match=f"philox: {('seed', 'row', 'step')[at]} "):
        ops.philox(*key)


CALLS = {
    "distribution": lambda x, arithmetic=ops: arithmetic.distribution(x, *OFF),
    "sample": lambda x, arithmetic=ops: arithmetic.sample(x, *OFF, 0.5),
    "log_sum_exp": lambda x, arithmetic=ops: arithmetic.log_sum_exp(x),
    "top": lambda x, arithmetic=ops: arithmetic.top(x, 1),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("n", [1, 3, 32, 100])
def test_a_logit_that_is_no_number_is_one_clear_error(isa, name, bad, n):
    for at in {0, n // 2, n - 1}:
        x = np.zeros(n, np.float32)
        x[at] = bad
        with pytest.raises(ValueError, match=rf"sampling: the largest logit must be .* {bad} .* of {name}; pass"):
            CALLS[name](x)
        with pytest.raises(ValueError, match="sampling: the largest logit must be finite"):
            CALLS[name](x, reference)


@pytest.mark.parametrize("name", ["distribution", "sample", "log_sum_exp"])
@pytest.mark.parametrize("logits", [[], [-np.inf], [-np.inf] * 40])
def test_logits_that_leave_no_token_are_an_error(isa, name, logits):
    with pytest.raises(ValueError, match=r"sampling: the largest logit must be finite .* got -inf"):
        CALLS[name](np.float32(logits))


@pytest.mark.parametrize("name", CALLS)
def test_logits_of_another_type_are_an_error(name):
    for x in (np.zeros(3), np.zeros((1, 3), np.float32), np.zeros(6, np.float32)[::2], [1.0]):
        with pytest.raises(ValueError, match=rf"{name}: logits must be float32 \[vocabulary\], got"):
            CALLS[name](x)


WRONG = [
    ("temperature", 0.0), ("temperature", -1.0), ("temperature", math.nan), ("temperature", math.inf), ("top_k", -1),
    ("top_p", -0.1), ("top_p", 1.1), ("top_p", math.nan), ("min_p", -0.1), ("min_p", 1.1), ("min_p", math.nan),
    ("typical_p", 0.0), ("typical_p", 1.1), ("typical_p", math.nan),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), WRONG)
def test_a_parameter_outside_of_its_range_is_one_clear_error(field, value):
    with pytest.raises(ValueError, match=f"sampling: distribution: {field} must be .*, got {value}"):
        distribution([1, 2], **{field: value})


@pytest.mark.parametrize("u", [-0.1, 1.0, math.nan])
def test_a_draw_needs_a_number_below_one(u):
    with pytest.raises(ValueError, match="sampling: sample: u must be 0 <= u < 1, got"):
        ops.sample(np.zeros(3, np.float32), *OFF, u)


def test_top_needs_a_count():
    with pytest.raises(ValueError, match="sampling: top: k must be 0 or more, got -1"):
        ops.top(np.zeros(3, np.float32), -1)


def test_rows_of_two_threads_do_not_meet(isa):
    """Scratch memory is each thread's own, and the interpreter's lock is released."""
    from concurrent.futures import ThreadPoolExecutor

    rng = np.random.default_rng(1)
    many = [(rng.standard_normal(5000) * 4).astype(np.float32) for _ in range(40)]
    rules = (0.9, 0, 0.9, 0.01, 0.9, False)
    alone = [ops.sample(x, *rules, 0.3) for x in many]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda x: ops.sample(x, *rules, 0.3), many)) == alone
    assert cpu.isa() == isa
