"""The highest win of a round and its probability, and what the cap takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

from services.game.maths import distribution, features, rounds
from services.game.maths.distribution import Distribution
from services.game.maths.reels import Counts
from services.game.maths.rounds import Round
from services.game.maths.screens import Screen


class Highest(NamedTuple):
    """The highest win that a round can pay. `coins` is the cap when a sum reaches it."""

    coins: int
    is_cap: bool
    exact: Fraction | None
    """Probability, when it is known as a fraction."""
    probability: float | None
    """Probability from the distribution; None when it is below what that resolves."""
    bound: float
    """The probability is at most this."""


class Cut(NamedTuple):
    """What the cap takes from the return that is stated before it."""

    probability_bound: float
    """P(sum >= cap) is at most this."""
    rtp_bound: float
    """Return that the cap takes, at most."""


def highest_win(played: Round, found: Distribution | None) -> Highest | None:
    """None when a screen's own distribution is not known."""
    if found is None:
        return None
    if played.tree is not None and any(follow.free_spins for follow in played.follows()):
        most = _most_with_free_spins(played)
        coins = min(most, played.cap_coins)
        chance = distribution.chance_of_at_least(found, coins)
        return Highest(
            coins,
            most >= played.cap_coins,
            None,
            chance,
            found.cap_bound if coins == played.cap_coins else 1.0,
        )
    most, chance_of_most = _most_without(played)
    if most < played.cap_coins:
        return Highest(most, False, chance_of_most, float(chance_of_most), float(chance_of_most))
    if found.exact is not None:
        at_cap = sum((p for coins, p in found.exact.items() if coins >= played.cap_coins), Fraction(0))
        return Highest(played.cap_coins, True, at_cap, float(at_cap), float(at_cap))
    chance = distribution.chance_of_at_least(found, played.cap_coins)
    return Highest(played.cap_coins, True, None, chance, found.cap_bound)


def cut_by_cap(played: Round, found: Distribution | None, variance: Fraction | None) -> Cut | None:
    """None when neither the distribution nor the variance is known."""
    stake = float(played.stake_coins)
    cut = Cut(found.cap_bound, found.excess_bound / stake) if found is not None else Cut(1.0, math.inf)
    if variance is None:
        return cut if found is not None else None
    over = played.cap_coins / stake - float(sum(rounds.returns(played).values()))
    if over <= 0:
        return cut
    # E max(X - c, 0) <= (sqrt(v + (c - m)^2) - (c - m)) / 2, written so that nothing cancels; and Cantelli.
    lost = float(variance) / (math.sqrt(float(variance) + over * over) + over) / 2
    return Cut(
        min(cut.probability_bound, float(variance) / (float(variance) + over * over)),
        min(cut.rtp_bound, lost),
    )


def _highest_by_counts(screen: Screen) -> Mapping[Counts, tuple[int, Fraction]]:
    """Counts -> most coins that a screen with them wins, and the probability of both."""
    assert screen.histogram is not None
    total = screen.histogram.total
    return {
        counts: (max(by_coins), Fraction(by_coins[max(by_coins)], total))
        for counts, by_coins in screen.histogram.draws.items()
    }


def _most_without(played: Round) -> tuple[int, Fraction]:
    """Of a round without free spins: (coins, probability)."""
    assert played.paid is not None
    best: dict[int, Fraction] = {0: Fraction(1)} if not played.paid.counts else {}
    for counts, (coins, chance) in _highest_by_counts(played.paid).items():
        follow = played.follow(counts)
        coins += follow.scatter_coins
        if follow.hold_coins and played.hold is not None:
            coins += played.hold.coins_max
            chance *= played.hold.chance_of_max(follow.hold_coins)
        if follow.pick:
            coins += max(played.prizes)
            chance *= played.prizes[max(played.prizes)]
        best[coins] = best.get(coins, Fraction(0)) + chance
    return max(best), best[max(best)]


def _most_with_free_spins(played: Round) -> int:
    """The highest sum, cap aside, of every path of awards and retriggers up to `spins_max`."""
    assert played.free is not None
    scatter = features.scatter_coins(played.game)
    by_retrigger: dict[int, int] = {}
    for counts, (coins, _) in _highest_by_counts(played.free).items():
        more = features.retriggered(played.feature, counts)
        amount = (coins + scatter(counts)) * played.feature.multiplier
        by_retrigger[more] = max(by_retrigger.get(more, 0), amount)
    limit = played.feature.spins_max

    def most_of(award: int) -> int:
        """By the number of spins granted so far (row) after each spin (loop)."""
        best = {min(award, limit): 0}
        done, most = 0, 0
        while best:
            done += 1
            following: dict[int, int] = {}
            for granted, coins in best.items():
                for more, amount in by_retrigger.items():
                    reached = min(granted + more, limit)
                    following[reached] = max(following.get(reached, 0), coins + amount)
            most = max([most, *(coins for granted, coins in following.items() if granted == done)])
            best = {granted: coins for granted, coins in following.items() if granted > done}
        return most

    highest = 0
    starts = _highest_by_counts(played.paid) if played.paid else {Counts(): (0, Fraction(1))}
    for counts, (coins, _) in starts.items():
        follow = played.follow(counts) if played.paid else next(iter(played.follows()))
        coins += follow.scatter_coins + (most_of(follow.free_spins) if follow.free_spins else 0)
        coins += played.hold.coins_max if follow.hold_coins and played.hold else 0
        highest = max(highest, coins + (max(played.prizes) if follow.pick else 0))
    return highest
