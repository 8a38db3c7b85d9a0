"""Shapley values: what each player of a game adds to its worth, in the mean over all orders of joining. No model."""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Worth = Callable[[list[int]], Iterable[float]]
"""Coalitions -> the worth of each; bit i of a coalition says whether player i is in it."""


class Shapley(NamedTuple):
    """values, errors: float64 [players], and the standard error of each value, 0 where all coalitions were tried.
    evaluations: coalitions whose worth was asked for. exact: whether those were all."""

    values: NDArray[np.float64]
    errors: NDArray[np.float64]
    evaluations: int
    exact: bool


def is_exact(players: int, evaluations: int) -> bool:
    """Whether so many evaluations are enough for all coalitions."""
    return players <= evaluations.bit_length() - 1


def shapley(worth: Worth, players: int, evaluations: int, seed: int = 0) -> Shapley:
    """The mean of what each player adds when all join one by one, over all orders or some drawn at random.

    All coalitions are tried if 2 ** players <= evaluations (Shapley 1953). Else as many orders are drawn as evaluations
    allow, two at least (Castro, Gomez, Tejada 2009); the error is the standard deviation of what a player adds over the
    square root of the orders. The values sum to what all players are worth together less what none is worth, but for
    rounding.
    evaluations: at least 2 * players, or 2 ** players where that is less.

    >>> found = shapley(lambda games: [3.0 if game == 3 else 0.0 for game in games], 2, 4)  # worth 3 only together
    >>> found.values.tolist(), found.exact
    ([1.5, 1.5], True)
    """
    return _all(worth, players) if is_exact(players, evaluations) else _drawn(worth, players, evaluations, seed)


def _all(worth: Worth, players: int) -> Shapley:
    games = np.arange(2**players)
    v = np.fromiter(worth(games.tolist()), np.float64, len(games))
    sizes = np.array([game.bit_count() for game in games.tolist()])
    shares = np.array([1 / (players * math.comb(players - 1, size)) for size in range(players)])
    values = np.empty(players)
    for player in range(players):
        without = games[games >> player & 1 == 0]
        values[player] = math.fsum(shares[sizes[without]] * (v[without | 1 << player] - v[without]))
    return Shapley(values, np.zeros(players), len(games), True)


def _drawn(worth: Worth, players: int, evaluations: int, seed: int) -> Shapley:
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(players).tolist() for _ in range((evaluations - 2) // (players - 1))]
    joined = {0: 0.0}  # in the order in which they are first asked for
    for order in orders:
        game = 0
        for player in order:
            game |= 1 << player
            joined[game] = 0.0
    joined = dict(zip(joined, worth(list(joined)), strict=True))
    added = np.empty((len(orders), players))
    for row, order in zip(added, orders, strict=True):
        game = 0
        for player in order:
            row[player] = joined[game | 1 << player] - joined[game]
            game |= 1 << player
    return Shapley(added.mean(0), added.std(0, ddof=1) / len(orders) ** 0.5, len(joined), False)
