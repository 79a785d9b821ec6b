"""How much a round pays, how often: exactly for a round that is one screen, else by Fourier transform.

A screen's wins are a list of probabilities by coins, and parts that follow it add to them. Sums of
independent parts are products of transforms; a free spin T with its retriggers solves T = sum over r of
F_r T^r, where F_r are its wins together with r further spins. Single wins are cut at a limit, which leaves
every sum below it as it is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.game.maths import features
from services.game.maths.rounds import Follow, Round
from services.game.maths.screens import Screen

SIZE_MAX = 1 << 22
"""Most amounts that a transform tells apart."""
ALIAS_MAX = 1e-14
"""A transform is made long enough that a sum beyond its end is less likely than this, up to SIZE_MAX."""
ROUNDING = 1e-13
"""Above what rounding adds to the probability of any set of amounts: 1e-16 to 1e-15 where it was compared."""
MULTIPLES = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000)
"""Bands: nothing, then from above 0, from 1, ... x stake."""

Complex = NDArray[np.complex128]


class Wins(NamedTuple):
    """Amounts of one part, coins, and the probability of each."""

    coins: NDArray[np.int64]
    chances: NDArray[np.float64]


_Transform = Callable[[Wins], Complex]


class Distribution(NamedTuple):
    """Probability by amount; `exact` when nothing was rounded."""

    coins: NDArray[np.int64]
    """Ascending."""
    probabilities: NDArray[np.float64]
    exact: dict[int, Fraction] | None
    limit_coins: int
    """The last amount stands for itself and everything above."""
    error: float
    """No probability of any set of amounts is wrong by more; 0 when exact."""
    cap_bound: float
    """P(sum >= cap) is at most this: Chernoff's bound."""
    excess_bound: float
    """Mean coins that a sum has above the cap, at most."""


class Band(NamedTuple):
    """Wins from `low` to below `high` x stake; the first is no win, the second all below 1."""

    low: int
    high: int | None
    probability: float
    rtp: float
    """Return that wins of the band bring."""


def distribution_of(played: Round) -> Distribution | None:
    """None when a screen's own distribution is not known."""
    if any(screen.histogram is None for screen in played.screens):
        return None
    if played.paid is not None and not any(f.free_spins or f.hold_coins or f.pick for f in played.follows()):
        return _of_one_screen(played, played.paid)
    return _by_transform(played)


def _of_one_screen(played: Round, screen: Screen) -> Distribution:
    draws: Counter[int] = Counter()
    for group in _groups(played, screen).values():
        draws.update(group)
    coins = sorted(draws)
    assert screen.histogram is not None
    exact = {amount: Fraction(draws[amount], screen.histogram.total) for amount in coins}
    cap = played.cap_coins
    at_cap = float(sum(p for amount, p in exact.items() if amount >= cap))
    excess = float(sum((amount - cap) * p for amount, p in exact.items() if amount > cap))
    chances = np.array([float(p) for p in exact.values()])
    return Distribution(np.array(coins, np.int64), chances, exact, coins[-1], 0.0, at_cap, excess)


def _groups(played: Round, screen: Screen) -> dict[Follow, dict[int, int]]:
    """Draws by what the paid screen pays itself, scatters included, for each thing that may follow."""
    assert screen.histogram is not None
    groups: dict[Follow, dict[int, int]] = {}
    for counts, by_coins in screen.histogram.draws.items():
        follow = played.follow(counts)
        group = groups.setdefault(follow._replace(scatter_coins=0), {})
        for coins, draws in by_coins.items():
            amount = coins + follow.scatter_coins
            group[amount] = group.get(amount, 0) + draws
    return groups


def _free_groups(played: Round, screen: Screen) -> dict[int, dict[int, int]]:
    """Draws by what one free spin pays, for each number of spins that it brings."""
    assert screen.histogram is not None
    scatter = features.scatter_coins(played.game)
    groups: dict[int, dict[int, int]] = {}
    for counts, by_coins in screen.histogram.draws.items():
        group = groups.setdefault(features.retriggered(played.feature, counts), {})
        for coins, draws in by_coins.items():
            amount = (coins + scatter(counts)) * played.feature.multiplier
            group[amount] = group.get(amount, 0) + draws
    return groups


def _wins(draws: Mapping[int, int | Fraction], total: int) -> Wins:
    return Wins(
        np.array(list(draws), np.int64), np.array([float(Fraction(n) / total) for n in draws.values()])
    )


class _Parts(NamedTuple):
    paid: dict[Follow, Wins]
    free: dict[int, Wins]
    value: Wins | None
    """Of one coin of hold-and-win."""
    prize: Wins | None
    """Of the pick."""

    def unit(self, *amounts: int) -> int:
        """The greatest amount that all amounts are multiples of, coins."""
        wins = (*self.paid.values(), *self.free.values(), self.value, self.prize)
        return math.gcd(*(int(np.gcd.reduce(part.coins)) for part in wins if part is not None), *amounts) or 1


def _parts_of(played: Round) -> _Parts:
    if played.paid is None or played.paid.histogram is None:
        paid = {follow: _wins({0: p}, 1) for follow, p in played.follows().items()}
    else:
        total = played.paid.histogram.total
        paid = {follow: _wins(draws, total) for follow, draws in _groups(played, played.paid).items()}
    free = {}
    if played.free is not None and played.free.histogram is not None:
        total = played.free.histogram.total
        free = {more: _wins(draws, total) for more, draws in _free_groups(played, played.free).items()}
    value = _wins(played.hold.values, 1) if played.hold else None
    return _Parts(paid, free, value, _wins(played.prizes, 1) if played.prizes else None)


def _by_transform(played: Round) -> Distribution:
    parts = _parts_of(played)
    unit = parts.unit(played.cap_coins, played.hold.full_coins if played.hold else 0)
    cap = played.cap_coins // unit
    generating = _Generating(played, parts, unit)
    size = 1 << 12
    while generating.bound(size) > ALIAS_MAX and size < SIZE_MAX and size < 4 * cap:
        size *= 2
    limit = min(cap + 1, size // 2)

    def transform(wins: Wins) -> Complex:
        dense = np.bincount(np.minimum(wins.coins // unit, limit), wins.chances, size)
        return np.fft.rfft(dense)

    whole = np.fft.irfft(_sum_of(played, parts, transform), size)
    return Distribution(
        np.arange(limit + 1, dtype=np.int64) * unit,
        np.append(whole[:limit], whole[limit:].sum()),
        None,
        limit * unit,
        generating.bound(size) + ROUNDING,
        generating.bound(cap),
        generating.excess(cap) * unit,
    )


def _sum_of(played: Round, parts: _Parts, transform: _Transform) -> Complex:
    """The transform of a whole round, from those of its parts."""
    tree = _free_spin(parts, transform)
    prize = transform(parts.prize) if parts.prize else None
    value = transform(parts.value) if parts.value else None
    total: Complex = np.zeros(1, np.complex128)
    for follow, wins in parts.paid.items():
        product = transform(wins)
        if follow.free_spins and tree is not None:
            product = product * _power(tree, follow.free_spins)
        if follow.hold_coins and played.hold is not None and value is not None:
            product = product * _held(played.hold, follow.hold_coins, value, transform)
        if follow.pick and prize is not None:
            product = product * prize
        total = total + product
    return total


def _held(hold: features.Hold, coins: int, value: Complex, transform: _Transform) -> Complex:
    total: Complex = np.zeros(1, np.complex128)
    for number, probability in hold.final(coins).items():
        share = _power(value, number) * float(probability)
        if number == hold.cells and hold.full_coins:
            share = share * transform(_wins({hold.full_coins: 1}, 1))
        total = total + share
    return total


def _free_spin(parts: _Parts, transform: _Transform) -> Complex | None:
    if not parts.free:
        return None
    own = {more: transform(wins) for more, wins in parts.free.items()}
    tree: Complex = np.ones(1, np.complex128)
    for _ in range(500):
        following: Complex = np.zeros(1, np.complex128)
        for more, wins in own.items():
            following = following + (wins * _power(tree, more) if more else wins)
        change = float(np.abs(following - tree).max())
        tree = following
        if not change > 1e-16 or change > 1e100:  # solved, or without a solution (of _Generating: diverged)
            break
    return tree


def _power(base: Complex, exponent: int) -> Complex:
    """By squaring: many times faster than numpy's power of complex numbers."""
    power: Complex | None = None
    while exponent:
        if exponent & 1:
            power = base if power is None else power * base
        exponent >>= 1
        base = base * base if exponent else base
    assert power is not None
    return power


class _Generating:
    """Generating functions at real points: they bound the tail of a sum (Chernoff)."""

    def __init__(self, played: Round, parts: _Parts, unit: int) -> None:
        self._exponents = np.geomspace(1e-3 * unit / played.cap_coins, 1, 120)
        self._values = np.full(self._exponents.size, np.inf)
        for index, exponent in enumerate(self._exponents):

            def transform(wins: Wins, exponent: float = float(exponent)) -> Complex:
                return np.array([wins.chances @ np.exp(exponent * (wins.coins // unit))], np.complex128)

            with np.errstate(over="ignore", invalid="ignore"):
                value = float(_sum_of(played, parts, transform).real[0])
            if not value < 1e100:
                break  # nor is any larger exponent finite
            self._values[index] = value

    def bound(self, amount: int) -> float:
        """P(sum >= amount) is at most this; amount in units."""
        return min(1.0, float(self._bounds(amount).min(initial=1.0)))

    def excess(self, amount: int) -> float:
        """The mean of what a sum has above the amount is at most this, as x <= exp(a x) / (e a)."""
        exponents = self._exponents[np.isfinite(self._values)]
        return float((self._bounds(amount) / (math.e * exponents)).min(initial=math.inf))

    def _bounds(self, amount: int) -> NDArray[np.float64]:
        finite = np.isfinite(self._values)
        bounds: NDArray[np.float64] = self._values[finite] * np.exp(-self._exponents[finite] * amount)
        return bounds


def bands(found: Distribution, *, stake_coins: Fraction) -> list[Band]:
    """The distribution by multiples of the stake; those that cannot be told apart are left out."""
    edges = [multiple * stake_coins for multiple in MULTIPLES if multiple * stake_coins <= found.limit_coins]
    places = [int(np.searchsorted(found.coins, math.ceil(edge))) for edge in edges[1:]]
    starts = [0, int(np.searchsorted(found.coins, 1)), *places, found.coins.size]
    rows = []
    for index in range(len(starts) - 1):
        part = slice(starts[index], starts[index + 1])
        low = MULTIPLES[max(index - 1, 0)]
        high = None if index + 2 == len(starts) else MULTIPLES[index]
        wins = found.coins[part] * found.probabilities[part]
        probability = max(float(found.probabilities[part].sum()), 0.0)
        rows.append(Band(low, high, probability, float(wins.sum()) / float(stake_coins)))
    return rows


def chance_of_at_least(found: Distribution, coins: int) -> float | None:
    """P(win >= coins); None where it is below what the transform resolves, or beyond its limit."""
    if coins > found.limit_coins:
        return 0.0 if found.exact is not None else None
    chance = float(found.probabilities[np.searchsorted(found.coins, coins) :].sum())
    return chance if chance > 10 * found.error or found.exact is not None else None
