"""How often one screen wins how much, together with what it shows of scatters, bonus symbols and coins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import NamedTuple

from services.game.maths.cycle.table import Table, table
from services.game.maths.reels import Counts

SLOTS = 1 << 18
"""First size of a table; one that comes back full is tried again at 16 times the size."""
SLOTS_MAX = 1 << 26


class Radix(NamedTuple):
    """Counts as one number that adds: scatters + bonuses * bonus + coins * coin."""

    bonus: int
    coin: int
    size: int
    """Above every code of a screen."""

    def code(self, counts: Counts) -> int:
        return counts.scatters + counts.bonuses * self.bonus + counts.coins * self.coin

    def counts(self, code: int) -> Counts:
        return Counts(code % self.bonus, code % self.coin // self.bonus, code // self.coin)


def radix_of(shown: Iterable[Counts]) -> Radix:
    """The radix for screens that show these counts."""
    most = [max(values) + 1 for values in zip(*shown, strict=True)]
    return Radix(most[0], most[0] * most[1], most[0] * most[1] * most[2])


class Histogram(NamedTuple):
    """Draws of a reel set by line or symbol wins (coins, without scatters) and counts."""

    total: int
    """All draws: the cycle."""
    draws: Mapping[Counts, Mapping[int, int]]
    """Counts -> coins -> draws."""

    def chance_of(self, holds: Callable[[Counts, int], bool]) -> Fraction:
        """Probability of a condition on counts and coins."""
        return Fraction(
            sum(
                number
                for counts, by_coins in self.draws.items()
                for coins, number in by_coins.items()
                if holds(counts, coins)
            ),
            self.total,
        )

    def mean_square(self, more: Callable[[Counts], int | Fraction], factor: int = 1) -> Fraction:
        """Mean of (coins * factor + more(counts)) ** 2: whole sums first, as fractions are slow."""
        total: int | Fraction = 0
        for counts, by_coins in self.draws.items():
            number = sum(by_coins.values())
            first = sum(coins * draws for coins, draws in by_coins.items()) * factor
            square = sum(coins * coins * draws for coins, draws in by_coins.items()) * factor * factor
            added = more(counts)
            total += square + 2 * added * first + added * added * number
        return Fraction(total) / self.total

    @property
    def coins_max(self) -> int:
        return max(coins for by_coins in self.draws.values() for coins in by_coins)


def collect(count: Callable[[Table], bool], radix: Radix, total: int) -> Histogram:
    """Call a kernel with tables that grow until all fits; its keys are coins * radix.size + code.

    Errors: MemoryError when even SLOTS_MAX entries do not do.
    """
    slots = SLOTS
    while slots <= SLOTS_MAX:
        found = table(slots)
        if count(found):
            return _histogram(found, radix, total)
        slots *= 16
    raise MemoryError(f"more than {SLOTS_MAX} different wins")


def _histogram(found: Table, radix: Radix, total: int) -> Histogram:
    used = found.keys >= 0
    draws: dict[Counts, dict[int, int]] = {}
    for key, number in sorted(zip(found.keys[used].tolist(), found.values[used].tolist(), strict=True)):
        coins, code = divmod(key, radix.size)
        draws.setdefault(radix.counts(code), {})[coins] = number
    return Histogram(total, draws)
