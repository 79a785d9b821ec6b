"""The exact return of a game as a fraction, from symbol counts alone (no spin is played).

Every stop is equally likely, so on any line the symbol of each reel is distributed like its strip and the
reels are independent. The cap of the game and the limit of free spins are left out: see `lost_to_limit`.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from fractions import Fraction

from services.game.engine.definition import GameDefinition, Strip
from tests.unit.game import naive

Distribution = dict[int, Fraction]
"""Number of scatters on a screen -> probability."""


def line_return(game: GameDefinition, strips: tuple[Strip, ...]) -> Fraction:
    """Expected pay of one line, x line bet. As all lines are alike it is also the return x total stake."""
    wilds = naive.names_of(game, "wild")
    shortest_run = min(min(row) for row in game.pays.values())
    total = 0
    for combination in itertools.product(*(Counter(strip).items() for strip in strips)):
        line = [name for name, _ in combination]
        if len(set(line[:shortest_run]) - wilds) <= 1:
            total += naive.line_multiple(game, line) * math.prod(count for _, count in combination)
    return Fraction(total, math.prod(len(strip) for strip in strips))


def scatter_distribution(game: GameDefinition, strips: tuple[Strip, ...]) -> Distribution:
    """Probability of each number of scatters: windows per reel, then convolved over the reels."""
    scatters = naive.names_of(game, "scatter")
    total: Distribution = {0: Fraction(1)}
    for strip in strips:
        visible = Counter(
            sum(strip[(stop + row) % len(strip)] in scatters for row in range(game.grid.rows))
            for stop in range(len(strip))
        )
        convolved: Distribution = {}
        for count, probability in total.items():
            for more, stops in visible.items():
                share = probability * Fraction(stops, len(strip))
                convolved[count + more] = convolved.get(count + more, Fraction(0)) + share
        total = convolved
    return total


def expected(distribution: Distribution, values: dict[int, int]) -> Fraction:
    """Mean of a by-count table: scatter pays, awards or retriggers."""
    return sum(
        (probability * naive.highest_listed(values, count) for count, probability in distribution.items()),
        Fraction(0),
    )


def screen_return(game: GameDefinition, strips: tuple[Strip, ...]) -> Fraction:
    """Lines and scatters of one screen without multiplier, x total stake."""
    scatter = expected(scatter_distribution(game, strips), game.scatter_pays)
    return line_return(game, strips) + scatter


def exact_rtp(game: GameDefinition) -> Fraction:
    """Return of a paid spin with all that follows from it, x total stake."""
    rtp = screen_return(game, game.strips.base)
    if game.free_spins is None:
        return rtp
    award = expected(scatter_distribution(game, game.strips.base), game.free_spins.award)
    retrigger = expected(scatter_distribution(game, game.strips.free), game.free_spins.retrigger)
    # Each free spin brings `retrigger` further ones, each of these as many again: a geometric series.
    spins = award / (1 - retrigger)
    return rtp + spins * game.free_spins.multiplier * screen_return(game, game.strips.free)


def lost_to_limit(game: GameDefinition) -> float:
    """Expected free spins per paid spin that `spins_max` takes away (upper bound)."""
    assert game.free_spins is not None
    base = scatter_distribution(game, game.strips.base)
    free = scatter_distribution(game, game.strips.free)
    steps = {
        more: float(sum(p for count, p in free.items() if _retrigger(game, count) == more))
        for more in {_retrigger(game, count) for count in free}
    }
    left: dict[int, float] = {}
    for count, probability in base.items():
        spins = naive.highest_listed(game.free_spins.award, count)
        left[spins] = left.get(spins, 0.0) + float(probability)
    for _ in range(game.free_spins.spins_max):
        following: dict[int, float] = {0: left.get(0, 0.0)}
        for spins, mass in left.items():
            for more, probability_more in steps.items() if spins else ():
                key = spins - 1 + more
                following[key] = following.get(key, 0.0) + mass * probability_more
        left = following
    mean_left = sum(spins * mass for spins, mass in left.items())
    return mean_left / (1 - sum(more * probability for more, probability in steps.items()))


def _retrigger(game: GameDefinition, count: int) -> int:
    assert game.free_spins is not None
    return naive.highest_listed(game.free_spins.retrigger, count)
