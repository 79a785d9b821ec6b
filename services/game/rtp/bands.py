"""What rounds returned against what they should: RTP plus or minus z x sigma / sqrt(n), for unequal bets.

A round pays stake x X, where X has the game's RTP as mean and its deviation sigma. So what rounds pay in all
has the mean RTP x sum(stake) and the variance sigma^2 x sum(stake^2). Rounds of several currencies have no
common unit: each weighs by its stake over the mean stake of its currency, one of average stake weighs 1.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from services.game.rtp.store import Sums

Z_ATTENTION = 1.96
"""95 % of honest readings are within."""
Z_ALARM = 3.29
"""99.9 % of honest readings are within."""
ROUNDS_MIN = 10_000
"""Fewer are not judged: one high win would be most of their spread, which the bands take for normal."""


class Status(StrEnum):
    """How a reading stands to its bands."""

    UNKNOWN = "unknown"  # some of its rounds have no theory
    FEW = "few"
    WITHIN = "within"
    ATTENTION = "attention"
    ALARM = "alarm"


class Reading(NamedTuple):
    """Actual against theoretical return of rounds of one game and mode, as fractions of the stake."""

    rounds: int
    actual: float
    theory: float
    spread: float
    """Standard deviation of `actual`, if the theory holds."""
    deviation: float
    """Of a round of average stake, x stake."""
    deviation_observed: bool
    """True when the definition does not state it for all rounds: then it is that of the rounds themselves."""
    status: Status

    @property
    def z_score(self) -> float:
        """How many spreads the actual return is above theory."""
        return (self.actual - self.theory) / self.spread if self.spread else 0.0

    def band(self, z: float) -> tuple[float, float]:
        """Lowest and highest return within z spreads of theory."""
        return self.theory - z * self.spread, self.theory + z * self.spread


def read(parts: Sequence[Sums]) -> Reading:
    """The reading of rounds of one game and mode; versions, operators, currencies may differ. Not empty."""
    rounds = sum(part.rounds for part in parts)
    unit = _mean_stakes(parts)
    actual = theory = variance = squares = 0.0
    for part in parts:
        stake = unit[part.currency_code]
        rtp = part.rtp_target or 0.0
        actual += part.win_minor / stake
        theory += rtp * part.stake_minor / stake
        squares += part.stake_squares / stake**2
        if part.deviation is not None:
            variance += part.deviation**2 * part.stake_squares / stake**2
        else:
            # Sum of (win - rtp x stake)^2: what the rounds themselves show of it.
            off = part.win_squares - 2 * rtp * part.stake_wins + rtp**2 * part.stake_squares
            variance += off / stake**2
    variance = max(variance, 0.0)  # it may be a little below by rounding
    spread = math.sqrt(variance) / rounds
    reading = Reading(
        rounds=rounds,
        actual=actual / rounds,
        theory=theory / rounds,
        spread=spread,
        deviation=math.sqrt(variance / squares),
        deviation_observed=any(part.deviation is None for part in parts),
        status=Status.UNKNOWN if any(part.rtp_target is None for part in parts) else Status.FEW,
    )
    if reading.status is Status.UNKNOWN or rounds < ROUNDS_MIN:
        return reading
    off_by = abs(reading.z_score)
    judged = Status.ALARM if off_by > Z_ALARM else Status.ATTENTION if off_by > Z_ATTENTION else Status.WITHIN
    return reading._replace(status=judged)


def _mean_stakes(parts: Iterable[Sums]) -> dict[str, float]:
    """By currency: the unit in which its amounts are summed."""
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for part in parts:
        sums[part.currency_code][0] += part.stake_minor
        sums[part.currency_code][1] += part.rounds
    return {code: stake_minor / rounds for code, (stake_minor, rounds) in sums.items()}
