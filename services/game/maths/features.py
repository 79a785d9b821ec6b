"""What hold-and-win, the pick and free spins give, exactly, once they are triggered. Amounts in coins."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from services.game.engine.definition import CoinValue, FreeSpins, GameDefinition, HoldAndWin
from services.game.maths.reels import Counts
from services.game.maths.rules import highest_listed
from services.game.maths.screens import Screen

NOTHING = Fraction(0)


class Moments(NamedTuple):
    """Of one amount, coins and coins squared."""

    mean: Fraction = NOTHING
    variance: Fraction = NOTHING


def moments_of(amounts: Mapping[int, Fraction]) -> Moments:
    """Amount -> probability."""
    mean = sum((amount * p for amount, p in amounts.items()), NOTHING)
    square = sum((amount * amount * p for amount, p in amounts.items()), NOTHING)
    return Moments(mean, square - mean * mean)


def prizes_of(values: Sequence[CoinValue], coins_per_bet: int) -> dict[int, Fraction]:
    """Amount -> probability of one coin's value, or of the pick's prize."""
    total = sum(value.weight for value in values)
    prizes: dict[int, Fraction] = {}
    for value in values:
        amount = value.multiple * coins_per_bet
        prizes[amount] = prizes.get(amount, NOTHING) + Fraction(value.weight, total)
    return prizes


class Hold:
    """Hold-and-win as a Markov chain over filled cells: a step ends with new coins, or without respins."""

    def __init__(self, feature: HoldAndWin, *, cells: int, coins_per_bet: int) -> None:
        self.cells = cells
        self.values = prizes_of(feature.values, coins_per_bet)
        self.full_coins = feature.full_multiple * coins_per_bet
        self._respins = feature.respins
        self._hit = Fraction(feature.coin_odds.hits, feature.coin_odds.of)

    @functools.cache  # noqa: B019 - lives as long as the report
    def final(self, coins: int) -> dict[int, Fraction]:
        """Coins at the end -> probability, from so many at the start."""
        empty = self.cells - coins
        if not empty:
            return {coins: Fraction(1)}
        miss = 1 - self._hit
        none = miss**empty
        ended = none**self._respins
        final = {coins: ended}
        if none == 1:
            return final
        for new in range(1, empty + 1):
            chance = math.comb(empty, new) * self._hit**new * miss ** (empty - new)
            chance *= (1 - ended) / (1 - none)
            for number, p in self.final(coins + new).items():
                final[number] = final.get(number, NOTHING) + chance * p
        return final

    @functools.cache  # noqa: B019 - lives as long as the report
    def moments(self, coins: int) -> Moments:
        """Of the feature's win, from so many coins at the start."""
        value = moments_of(self.values)
        final = self.final(coins)
        given = {n: n * value.mean + (self.full_coins if n == self.cells else 0) for n in final}
        mean = sum((given[n] * p for n, p in final.items()), NOTHING)
        square = sum((given[n] ** 2 * p for n, p in final.items()), NOTHING)
        number = sum((n * p for n, p in final.items()), NOTHING)
        return Moments(mean, number * value.variance + square - mean * mean)

    @property
    def coins_max(self) -> int:
        return self.cells * max(self.values) + self.full_coins

    def chance_of_max(self, coins: int) -> Fraction:
        return self.final(coins).get(self.cells, NOTHING) * self.values[max(self.values)] ** self.cells


class FreeSpinTree(NamedTuple):
    """One free spin with all that it retriggers, without the limit of free spins."""

    spins: Fraction
    """Mean number of spins, itself included."""
    own_mean: Fraction
    """Mean win of one free spin alone."""
    mean: Fraction
    variance: Fraction | None
    """None when the screen's own is not known."""


def retriggered(feature: FreeSpins, counts: Counts) -> int:
    return highest_listed(feature.retrigger, counts.scatters)


def free_spin_tree(game: GameDefinition, feature: FreeSpins, screen: Screen) -> FreeSpinTree:
    """Errors: ValueError when a free spin brings one or more on average: then they never end."""
    retrigger = sum((retriggered(feature, counts) * p for counts, p in screen.counts.items()), NOTHING)
    if retrigger >= 1:
        raise ValueError(f"a free spin retriggers {float(retrigger)} more: only spins_max ends them")
    spins = 1 / (1 - retrigger)
    scatter = scatter_coins(game)
    own = screen.mean_coins + sum((scatter(counts) * p for counts, p in screen.counts.items()), NOTHING)
    own *= feature.multiplier
    mean = own * spins
    variance = None
    if screen.histogram is not None:
        # The variance of a spin and of what it leads to; those it leads to are independent and alike.
        square = screen.histogram.mean_square(
            lambda counts: scatter(counts) * feature.multiplier + retriggered(feature, counts) * mean,
            feature.multiplier,
        )
        variance = (square - mean * mean) * spins
    return FreeSpinTree(spins, own, mean, variance)


def scatter_coins(game: GameDefinition) -> Callable[[Counts], int]:
    """What the scatters of a screen pay, in coins."""
    return lambda counts: highest_listed(game.scatter_pays, counts.scatters) * game.coins_per_bet


def spins_lost(
    feature: FreeSpins, starts: Mapping[int, Fraction], retriggers: Mapping[int, Fraction]
) -> float:
    """Mean free spins that `spins_max` takes from a round, at most. `starts`: spins awarded -> probability,
    `retriggers`: spins that one free spin brings -> probability."""
    steps = [(more, float(p)) for more, p in retriggers.items()]
    more_max = max(more for more, _ in steps)
    left = np.zeros(max(starts) + feature.spins_max * more_max + 1)
    for spins, probability in starts.items():
        left[spins] += float(probability)
    top = max(starts)
    for _ in range(feature.spins_max):
        played, left[1 : top + 1] = left[1 : top + 1].copy(), 0.0
        for more, p in steps:
            left[more : more + top] += played * p
        top = max(top, top - 1 + more_max)
    return float(np.arange(left.size) @ left) / (1 - sum(more * p for more, p in steps))
