"""What a look-up table comes to, exactly: whole numbers and fractions, never float."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import msgspec

from services.game.books import published


class Totals(msgspec.Struct):
    """Sums over the rows of one mode, w the weight and p the payout in hundredths of the base bet."""

    cost: Decimal
    """Stake of the mode, x base bet."""
    books: int = 0
    weight_sum: int = 0
    payout_sum: int = 0
    """Sum of w p."""
    square_sum: int = 0
    """Sum of w p^2."""
    hit_weight: int = 0
    """Sum of w where p is above 0."""
    payout_max: int = 0
    payout_divisor: int = 0
    """Greatest whole number that divides every payout; 0 when nothing pays."""

    def add(self, row: published.Row) -> None:
        """Counts one row in."""
        weight, payout = row.weight, row.payout_x100
        self.books += 1
        self.weight_sum += weight
        if payout:
            self.payout_sum += weight * payout
            self.square_sum += weight * payout * payout
            self.hit_weight += weight
            self.payout_max = max(self.payout_max, payout)
            self.payout_divisor = math.gcd(self.payout_divisor, payout)

    @property
    def rtp(self) -> Fraction:
        """Mean of what a round pays, x stake of the mode."""
        return Fraction(self.payout_sum, 100 * self.weight_sum) / Fraction(self.cost)

    @property
    def hit_frequency(self) -> Fraction:
        """Share of the rounds that pay anything."""
        return Fraction(self.hit_weight, self.weight_sum)

    @property
    def variance(self) -> Fraction:
        """Variance of what a round pays, x stake of the mode."""
        mean_square = Fraction(self.square_sum, 10_000 * self.weight_sum)
        return mean_square / Fraction(self.cost) ** 2 - self.rtp**2

    @property
    def deviation(self) -> float:
        """Standard deviation of what a round pays, x stake of the mode."""
        return math.sqrt(self.variance)

    @property
    def win_max(self) -> Fraction:
        """The most that a round pays, x base bet."""
        return Fraction(self.payout_max, 100)

    @property
    def bet_step_minor(self) -> int:
        """A bet pays whole minor units, whatever is drawn, exactly when it is a multiple of this."""
        return 100 // math.gcd(self.payout_divisor, 100)


def of_folder(folder: Path) -> dict[str, Totals]:
    """The totals of each mode by its published name, from the look-up tables alone; the books are not read.

    Errors: DefinitionError.
    """
    totals = {}
    for mode in published.read_index(folder):
        totals[mode.name] = Totals(cost=mode.cost)
        for row in published.read_rows(mode.weights):
            totals[mode.name].add(row)
    return totals


def exact_rtp(folder: Path) -> dict[str, Fraction]:
    """Return of each mode on its stake, by its published name. Errors: DefinitionError."""
    return {name: totals.rtp for name, totals in of_folder(folder).items()}
