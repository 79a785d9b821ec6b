"""What a simulation found: exact sums in coins, and the figures that follow from them."""

from __future__ import annotations

import itertools
import math
from decimal import Decimal
from fractions import Fraction
from statistics import NormalDist
from typing import Any

import msgspec

from services.game.maths.blocks import Tally
from services.game.maths.kernel.rounds import TOTALS
from services.game.maths.kernel.tables import BAND_STAKES

PARTS = ("base", "scatter", "free_spins", "hold_and_win", "pick")
"""What a win is made of: wins and scatters of the paid screen, all of the free spins, the two features."""
Z99 = NormalDist().inv_cdf(0.995)


class Result(msgspec.Struct, frozen=True):
    """A simulation of one mode of a game. Sums are whole coins; a stake is `stake_coins` of them."""

    game_id: str
    version: int
    definition_hash: str
    mode: str
    seed: int
    rtp_target: Decimal
    coins_per_bet: int
    cost: Decimal
    tally: Tally

    @property
    def spins(self) -> int:
        """Rounds played."""
        return self.tally.spins

    @property
    def win_coins(self) -> int:
        """Sum of the wins, each at most the cap."""
        return self.tally["win"]

    @property
    def win_squares(self) -> int:
        """Sum of the squares of the wins, coins squared."""
        return self.tally.win_squares

    @property
    def hits(self) -> int:
        """Rounds that won anything."""
        return self.tally["hits"]

    @property
    def stake_coins(self) -> Fraction:
        """Coins that one round costs."""
        return Fraction(self.cost) * self.coins_per_bet

    @property
    def rtp(self) -> Fraction:
        """Win by stake, exactly what was seen."""
        return self.win_coins / (self.stake_coins * self.spins)

    @property
    def parts(self) -> dict[str, Fraction]:
        """The return by PARTS, and `cut`, what the cap took (0 or below): they add up to `rtp`."""
        staked = self.stake_coins * self.spins
        by_part = {part: self.tally[part] / staked for part in PARTS}
        return {**by_part, "cut": -self.tally["cut"] / staked}

    @property
    def deviation(self) -> float:
        """Standard deviation of a round's win, x stake (of the sample, n - 1); 0 below two spins."""
        n = self.spins
        if n < 2:
            return 0.0
        variance = Fraction(n * self.win_squares - self.win_coins**2, n * (n - 1))
        return math.sqrt(variance) / float(self.stake_coins)

    @property
    def half_width(self) -> float:
        """Half of the 99 % interval around `rtp`, by the normal distribution of the mean: a game of rare,
        large wins needs many spins before it holds."""
        return Z99 * self.deviation / math.sqrt(self.spins)

    @property
    def win_max(self) -> Fraction:
        """The highest win, x stake."""
        return self.tally["win_max"] / self.stake_coins

    @property
    def bands(self) -> list[tuple[str, int]]:
        """Rounds by win x stake: none, then from each bound (included) to the next."""
        bounds = ("0", *BAND_STAKES)
        names = [f"{low} - {high}" for low, high in itertools.pairwise(bounds)]
        return list(zip(["none", *names, f"{bounds[-1]} -"], self.tally.histogram, strict=True))

    def as_json(self) -> dict[str, Any]:
        """Everything as plain values: whole numbers are exact, the rest are floats."""
        return {
            "game_id": self.game_id,
            "version": self.version,
            "definition_hash": self.definition_hash,
            "mode": self.mode,
            "seed": self.seed,
            "spins": self.spins,
            "stake_coins": float(self.stake_coins),
            "rtp": float(self.rtp),
            "rtp_target": float(self.rtp_target),
            "half_width_99": self.half_width,
            "parts": {part: float(share) for part, share in self.parts.items()},
            "hit_frequency": self.hits / self.spins,
            "deviation": self.deviation,
            "win_max": float(self.win_max),
            "bands": dict(self.bands),
            "sums": {**_named(self.tally), "win_squares": self.win_squares},
        }


def _named(tally: Tally) -> dict[str, int]:
    sums = dict(zip(TOTALS, tally.totals, strict=True))
    return {name: value for name, value in sums.items() if not name.startswith("squares_")}
