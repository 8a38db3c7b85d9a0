"""sampling.py against a plain definition: sort all tokens, cut, renormalise; and the draws against the distribution."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import bounds
from nextword import Sampling
from nextword.decoding.sampling import choose, new_seed, probabilities, uniform


def logit_rows():
    """float32 rows with ties, infinities below and wide ranges."""
    number = st.one_of(st.integers(-3, 3).map(float), st.floats(-80, 80, width=32), st.just(-math.inf))
    rows = st.lists(number, min_size=1, max_size=40).filter(lambda row: max(row) > -math.inf)
    return rows.map(lambda row: np.array(row, np.float32))


def plain(logits, temperature, top_k, top_p):
    """{token: probability} by definition; also how near the nucleus came to ending elsewhere."""
    order = sorted(np.flatnonzero(logits > -np.inf).tolist(), key=lambda i: (-logits[i], i))
    if 0 < top_k < len(order):
        order = [i for i in order if logits[i] >= logits[order[top_k - 1]]]
    weights = [math.exp((float(logits[i]) - float(logits[order[0]])) / temperature) for i in order]
    p = [w / math.fsum(weights) for w in weights]
    reached = [math.fsum(p[: n + 1]) for n in range(len(p))]
    count = next((n + 1 for n, sum_ in enumerate(reached) if sum_ >= top_p), len(p)) if top_p < 1 else len(p)
    kept = math.fsum(p[:count])
    return {i: x / kept for i, x in zip(order[:count], p, strict=False)}, min(abs(sum_ - top_p) for sum_ in reached)


settings = st.tuples(st.floats(0.05, 20), st.integers(0, 45), st.floats(0.01, 1))


@given(logit_rows(), settings)
def test_probabilities_are_those_of_the_definition(logits, setting):
    temperature, top_k, top_p = setting
    expected, margin = plain(logits, temperature, top_k, top_p)
    assume(margin > 1e-4 or top_p == 1)  # where the nucleus ends exactly at top_p, rounding decides
    ids, p = probabilities(logits, Sampling(temperature=temperature, top_k=top_k, top_p=top_p))
    assert ids.tolist() == sorted(expected)
    bound = bounds.shares((logits[ids].astype(np.float64) - logits.max()) / temperature)
    assert (np.abs(p - [expected[i] for i in ids]) <= bound * p + 1e-37).all()
    assert abs(p.sum() - 1) <= 50 * 2.0**-53


@given(logit_rows(), settings)
def test_every_filter_keeps_the_most_probable_token(logits, setting):
    temperature, top_k, top_p = setting
    ids, p = probabilities(logits, Sampling(temperature=temperature, top_k=top_k, top_p=top_p))
    assert int(logits.argmax()) in ids
    assert len(ids) == len(p) == len(set(ids.tolist()))


@given(logit_rows(), st.integers(0, 45))
def test_top_k_keeps_k_tokens_and_those_equal_to_the_last(logits, k):
    ids, _ = probabilities(logits, Sampling(temperature=1, top_k=k))
    limit = np.sort(logits)[::-1][min(k, len(logits)) - 1] if k else -np.inf
    assert ids.tolist() == [i for i, x in enumerate(logits) if x >= limit and x > -np.inf]


@given(logit_rows(), st.floats(0.01, 1))
def test_temperature_zero_takes_the_first_of_the_largest_whatever_the_filters(logits, top_p):
    assert choose(logits, Sampling(top_p=top_p, top_k=3, seed=9), 1, 2).token == int(logits.argmax())


@given(logit_rows(), st.integers(0, 2**64 - 1), st.integers(0, 99), st.integers(0, 2**40))
def test_top_k_of_one_and_a_tiny_top_p_are_greedy(logits, seed, row, step):
    best = int(logits.argmax())
    assume((logits == logits[best]).sum() == 1)  # tokens as probable as the best stay with it
    assert choose(logits, Sampling(temperature=2, top_k=1, seed=seed), row, step).token == best
    assert choose(logits, Sampling(temperature=2, top_p=1e-9, seed=seed), row, step).token == best


@given(logit_rows(), st.integers(0, 2**20))
def test_adding_a_constant_changes_no_choice(logits, seed):
    rounded = np.round(logits.clip(-50, 50))  # so that the sum is exact
    for setting in (Sampling(temperature=1, seed=seed), Sampling(temperature=3, top_k=4, top_p=0.9, seed=seed)):
        assert choose(rounded, setting).token == choose(rounded + np.float32(16), setting).token


@given(logit_rows(), settings, st.integers(0, 2**64 - 1), st.integers(0, 2**31), st.integers(0, 2**31))
def test_a_choice_depends_on_seed_row_and_step_alone(logits, setting, seed, row, step):
    s = Sampling(temperature=setting[0], top_k=setting[1], top_p=setting[2], seed=seed)
    first = choose(logits, s, row, step)
    np.random.default_rng(0).random()
    np.random.seed(1)
    choose(logits, Sampling(temperature=1, seed=seed + 1 if seed < 5 else 0))
    assert choose(logits.copy(), s, row, step) == first
    ids, p = probabilities(logits, s)
    assert first.token in ids
    assert first.kept == len(ids)
    assert first.drawn == uniform(seed, row, step)
    assert first.probability == pytest.approx(p[ids.tolist().index(first.token)], rel=1e-6)


def test_draws_differ_between_seeds_rows_and_steps():
    draws = {uniform(seed, row, step) for seed in range(9) for row in range(9) for step in range(9)}
    assert len(draws) == 9**3
    assert all(0 <= u < 1 for u in draws)
    assert uniform(1, 2, 3) != uniform(2, 1, 3) != uniform(3, 2, 1)


@pytest.mark.parametrize("seed", [0, 2**53, 2**63 - 1, 2**63, 2**64 - 2])
def test_neighbouring_seeds_of_any_size_draw_differently(seed):
    assert uniform(seed, 0, 0) != uniform(seed + 1, 0, 0)


def chi_square(counts, expected):
    return float(((counts - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("along", ["seed", "row", "step"])
@pytest.mark.parametrize("setting", [{}, {"top_k": 4}, {"top_p": 0.8}, {"temperature": 0.5}])
def test_draws_follow_the_distribution(along, setting):
    """Draws are fixed by their keys, so this cannot flicker. A true sampler exceeds the threshold once in 10^6."""
    logits = np.log(np.float32([0.05, 0.3, 0.1, 0.25, 0.02, 0.08, 0.2]))
    s = {"temperature": 1.0, **setting}
    ids, p = probabilities(logits, Sampling(**s))
    count = 4000
    keys = [{"seed": 7, "row": 0, "step": 0, along: n} for n in range(count)]
    drawn = [choose(logits, Sampling(**s, seed=k["seed"]), k["row"], k["step"]).token for k in keys]
    counts = np.array([drawn.count(i) for i in ids])
    assert counts.sum() == count
    assert (p * count).min() > 5  # the approximation's usual condition
    # chi-square is at most df + 2 sqrt(df x) + 2 x but for e^-x (Laurent & Massart 2000, lemma 1); x = ln 10^6
    df, x = len(ids) - 1, math.log(1e6)
    assert chi_square(counts, p * count) <= df + 2 * math.sqrt(df * x) + 2 * x


def test_a_distribution_that_is_wrong_by_a_fifth_would_be_noticed():
    p = np.array([0.05, 0.3, 0.1, 0.25, 0.02, 0.08, 0.2])
    df, x = 6, math.log(1e6)
    assert chi_square(4000 * p * np.array([1, 1.2, 1, 0.76, 1, 1, 1]), 4000 * p) > df + 2 * math.sqrt(df * x) + 2 * x


def test_a_token_of_probability_zero_is_never_drawn():
    logits = np.float32([-np.inf, 0, -np.inf, -200, 0])
    drawn = {choose(logits, Sampling(temperature=1, seed=seed)).token for seed in range(500)}
    assert drawn == {1, 4}


def test_a_tiny_temperature_does_not_overflow():
    logits = np.float32([3e38, 0, -3e38])
    assert choose(logits, Sampling(temperature=1e-300, seed=1)).token == 0
    ids, p = probabilities(logits, Sampling(temperature=1e-300))
    assert p[ids == 0].tolist() == [1]
    assert p.sum() == 1


@pytest.mark.parametrize("logits", [[np.nan, 1], [1, np.nan], [-np.inf, -np.inf], [np.inf, 0], []])
@pytest.mark.parametrize("temperature", [0, 1])
def test_logits_that_define_no_distribution_are_an_error(logits, temperature):
    with pytest.raises(ValueError, match="sampling: "):
        choose(np.float32(logits), Sampling(temperature=temperature))


def test_new_seeds_differ_and_are_valid():
    seeds = {new_seed() for _ in range(20)}
    assert len(seeds) > 15  # 20 of 2^32: two alike have a chance of 4e-8
    assert all(Sampling(seed=seed).seed == seed for seed in seeds)
