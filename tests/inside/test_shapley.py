"""shapley.py: the four axioms, the definition over all orders, and what drawn orders give."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextword.inside.shapley import is_exact, shapley

games = st.integers(1, 5).flatmap(
    lambda players: st.lists(st.integers(-1000, 1000), min_size=2**players, max_size=2**players))


def played(worth, **more):
    players = len(worth).bit_length() - 1
    return shapley(lambda asked: [float(worth[game]) for game in asked], players, **more)


@given(games)
def test_all_coalitions_give_the_mean_over_all_orders(worth):
    players = len(worth).bit_length() - 1
    sums = [0] * players
    for order in itertools.permutations(range(players)):
        game = 0
        for player in order:
            sums[player] += worth[game | 1 << player] - worth[game]
            game |= 1 << player
    found = played(worth, evaluations=len(worth))
    # integers: each share is rounded once and each product once, at most 2000 in size and 16 of them
    np.testing.assert_allclose(found.values, np.array(sums) / math.factorial(players), rtol=0, atol=16 * 2000 * 2**-51)
    assert (found.evaluations, found.exact) == (len(worth), True)
    assert not found.errors.any()


@given(games, st.integers(0, 99), st.integers(0, 40))
def test_values_sum_to_what_all_are_worth_less_what_none_is(worth, seed, more):
    players = len(worth).bit_length() - 1
    found = played(worth, evaluations=2 * players + more, seed=seed)
    assert abs(found.values.sum() - (worth[-1] - worth[0])) <= 2000 * 64 * 2**-51
    assert found.evaluations <= max(2 * players + more, len(worth) * found.exact)


@given(st.lists(st.integers(-50, 50), min_size=7, max_size=7), st.integers(0, 99))
def test_where_each_adds_the_same_to_all_drawn_orders_give_just_that(adds, seed):
    found = shapley(lambda asked: [float(sum(x for i, x in enumerate(adds) if game >> i & 1)) for game in asked], 7, 20,
                    seed)
    np.testing.assert_array_equal(found.values, adds)
    assert not found.errors.any()
    assert not found.exact


def test_the_error_is_the_deviation_of_what_is_added_over_the_root_of_the_orders():
    """Of players of whom the first to come gets 1, each adds 1 in some orders and 0 in the others."""
    players, evaluations = 14, 2 + 13 * 500
    found = shapley(lambda asked: [float(game > 0) for game in asked], players, evaluations, seed=3)
    p = found.values
    # the sample deviation of zeros and ones with mean p, over 500 orders
    np.testing.assert_allclose(found.errors, np.sqrt(p * (1 - p) * 500 / 499) / np.sqrt(500), rtol=1e-12)
    assert np.abs(p - 1 / players).max() < 6 * np.sqrt(1 / 14 * 13 / 14 / 500)  # 14 times 6 deviations: 1 in 10^7


def test_the_same_seed_draws_the_same_orders_and_each_coalition_is_asked_for_once():
    asked = []

    def worth(games):
        asked.append(games)
        return [math.sin(game) for game in games]

    one, two, other = (shapley(worth, 9, 100, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.values, two.values)
    assert (one.values != other.values).any()
    assert asked[0] == asked[1] != asked[2]
    assert all(len(set(games)) == len(games) <= 100 for games in asked)


@pytest.mark.parametrize(("players", "evaluations", "exact"), [(1, 2, True), (10, 1024, True), (10, 1023, False),
                                                               (11, 1024, False), (1, 1, False)])  # fmt: skip
def test_all_coalitions_are_tried_where_there_are_enough_evaluations(players, evaluations, exact):
    assert is_exact(players, evaluations) is exact
