"""Actual against theoretical return: honest rounds stay in their band, doctored ones leave it."""

import math
import random
from collections.abc import Sequence
from fractions import Fraction

import pytest
from msgspec.structs import replace

from services.game.engine import definition, loading, play, rng
from services.game.engine.definition import GameDefinition
from services.game.rtp import bands
from services.game.rtp.bands import Status
from services.game.rtp.store import Sums

GAMES = loading.load_all(definition.SHIPPED_GAMES)
DAWN = GAMES["double-dawn"]
# Of the full cycle (make rtp); its file of version 1 does not state it.
DAWN_DEVIATION = 6.19
ROUNDS = 12_000


def sums_of(
    rounds: Sequence[tuple[int, int]],
    *,
    rtp_target: float | None = float(DAWN.rtp_target),
    deviation: float | None = DAWN_DEVIATION,
    currency_code: str = "EUR",
    version: int = 1,
) -> Sums:
    """What the store sums of rounds of (stake, win)."""
    return Sums(
        game_id="double-dawn",
        game_version=version,
        mode="base",
        operator_id="dev",
        currency_code=currency_code,
        kind=1,
        rounds=len(rounds),
        stake_minor=sum(stake for stake, _ in rounds),
        win_minor=sum(win for _, win in rounds),
        stake_squares=sum(stake * stake for stake, _ in rounds),
        stake_wins=sum(stake * win for stake, win in rounds),
        win_squares=sum(win * win for _, win in rounds),
        rtp_target=rtp_target,
        deviation=deviation,
    )


def played(game: GameDefinition, *, seed: int, bets: Sequence[int] = (5, 10, 100)) -> list[tuple[int, int]]:
    """Rounds of the engine, at bets as players choose them: (stake, win)."""
    source = random.Random(seed)
    rounds = []
    for _ in range(ROUNDS):
        bet_minor = source.choice(bets)
        spin = play.spin(game, bet_minor=bet_minor, draws=rng.Draws(source.randbytes))
        rounds.append((bet_minor, spin.win_minor))
    return rounds


@pytest.fixture(scope="module")
def honest() -> list[tuple[int, int]]:
    return played(DAWN, seed=1)


@pytest.mark.parametrize("deviation", [DAWN_DEVIATION, None])
def test_honest_rounds_stay_in_their_band(honest: list[tuple[int, int]], deviation: float | None) -> None:
    reading = bands.read([sums_of(honest, deviation=deviation)])
    assert reading.status is Status.WITHIN
    lower, upper = reading.band(bands.Z_ATTENTION)
    assert lower < reading.actual < upper
    assert reading.deviation_observed is (deviation is None)
    assert reading.theory == pytest.approx(0.959183)


@pytest.mark.parametrize("deviation", [DAWN_DEVIATION, None])
def test_a_doctored_game_leaves_its_band(deviation: float | None) -> None:
    """Its strips lost a cloud's neighbour on each reel to a sunrise: it claims the return of before."""
    strips = tuple(("SUNRISE", *strip[1:]) for strip in DAWN.strips["base"])
    rounds = played(replace(DAWN, strips={"base": strips}), seed=2)
    reading = bands.read([sums_of(rounds, deviation=deviation)])
    assert reading.status is Status.ALARM
    assert reading.actual > reading.band(bands.Z_ALARM)[1]


def test_wins_that_somebody_keeps_leave_the_band_below(honest: list[tuple[int, int]]) -> None:
    kept = [(stake, win // 2) for stake, win in honest]
    reading = bands.read([sums_of(kept)])
    assert reading.status is Status.ALARM
    assert reading.z_score < -bands.Z_ALARM


def test_few_rounds_and_rounds_without_theory_are_not_judged(honest: list[tuple[int, int]]) -> None:
    stolen = [(stake, 0) for stake, _ in honest]
    assert bands.read([sums_of(stolen)]).status is Status.ALARM
    assert bands.read([sums_of(stolen[: bands.ROUNDS_MIN - 1])]).status is Status.FEW
    assert bands.read([sums_of(stolen, rtp_target=None, deviation=None)]).status is Status.UNKNOWN


def test_the_spread_is_that_of_a_sum_of_unequal_bets() -> None:
    """sigma^2 x sum(stake^2), exactly: one bet of 1,000 outweighs 10,000 bets of 1."""
    rounds = [(1, 0)] * 10_000 + [(1_000, 0)]
    reading = bands.read([sums_of(rounds)])
    stake = Fraction(11_000)
    expected = DAWN_DEVIATION * math.sqrt(10_000 + 1_000**2) / stake
    assert reading.spread == pytest.approx(float(expected))
    # Equal bets: sigma / sqrt(n).
    equal = bands.read([sums_of([(50, 0)] * 10_000)])
    assert equal.spread == pytest.approx(DAWN_DEVIATION / 100)
    assert equal.deviation == pytest.approx(DAWN_DEVIATION)
    assert equal.z_score == pytest.approx(-0.959183 / (DAWN_DEVIATION / 100))


def test_currencies_weigh_by_their_rounds_not_by_the_size_of_their_unit(
    honest: list[tuple[int, int]],
) -> None:
    """Yen at 100 times the number: the same rounds, and the reading of both is that of either."""
    yen = [(100 * stake, 100 * win) for stake, win in honest]
    euros = bands.read([sums_of(honest)])
    both = bands.read([sums_of(honest), sums_of(yen, currency_code="JPY")])
    assert both.rounds == 2 * euros.rounds
    assert both.actual == pytest.approx(euros.actual)
    assert both.spread == pytest.approx(euros.spread / math.sqrt(2))


def test_versions_of_other_returns_are_held_against_both() -> None:
    """Half of the stakes at 0.96, half at 0.90: 0.93 is right, and neither of them would be."""
    rounds = [(100, 93)] * 20_000
    parts = [
        sums_of(rounds, rtp_target=rtp, version=version, deviation=0.5)
        for version, rtp in ((1, 0.96), (2, 0.90))
    ]
    reading = bands.read(parts)
    assert reading.theory == pytest.approx(0.93)
    assert (reading.status, round(reading.z_score, 6)) == (Status.WITHIN, 0)
    assert bands.read(parts[:1]).status is Status.ALARM
