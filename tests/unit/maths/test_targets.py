"""What a shipped file says of its return and deviation is exact, or found by simulation."""

from __future__ import annotations

import math
from decimal import Decimal
from statistics import NormalDist, mean, stdev

import pytest

from services.game.engine.definition import GameDefinition, Mode
from services.game.maths import distribution, rounds, simulate
from services.game.maths.screens import NoExactMethod
from tests.unit.maths import shipped

pytestmark = pytest.mark.timeout(900)  # see test_kernel
Z999 = NormalDist().inv_cdf(0.9995)
T999 = 4.073
"""Student's, two-sided, of 16 values."""
RUNS = 16
SPINS, BOUGHT = 12_000, 4_000
"""Rounds of a run; of bought free spins, each of which is a dozen screens."""


@pytest.mark.parametrize(("game", "mode"), shipped.EXACT.values(), ids=shipped.EXACT)
def test_the_target_and_the_deviation_are_the_exact_ones(game: GameDefinition, mode: Mode) -> None:
    played = rounds.round_of(game, mode)
    rtp, variance = rounds.rtp(played), rounds.variance(played)
    assert variance is not None
    assert round(Decimal(rtp.numerator) / Decimal(rtp.denominator), 6) == mode.rtp_target
    if mode.deviation is not None:
        assert round(Decimal(math.sqrt(variance)), 2) == mode.deviation
    found = distribution.distribution_of(played)
    assert found is not None
    of_wins = float((found.coins * found.probabilities).sum() / float(played.stake_coins))
    # The last amount stands for all above it, too: rarer than 1e-9 in every game, but of many coins.
    above = float(found.probabilities[-1] * found.limit_coins / played.stake_coins) if found.error else 0
    assert of_wins == pytest.approx(float(rtp), abs=1e-9 + above)
    assert found.error == 0 or found.probabilities[-1] < 1e-9
    assert rounds.limit_effect(played) < 1e-9


@pytest.mark.parametrize(("game", "mode"), shipped.EXACT.values(), ids=shipped.EXACT)
def test_a_simulation_finds_the_exact_return(game: GameDefinition, mode: Mode) -> None:
    variance = rounds.variance(rounds.round_of(game, mode))
    assert variance is not None
    result = simulate.simulate(game, mode.name, spins=500_000, seed=11)
    error = abs(float(result.rtp) - float(mode.rtp_target))
    assert error < Z999 * math.sqrt(variance / result.spins)
    assert sum(result.parts.values()) == result.rtp


@pytest.mark.parametrize(("game", "mode"), shipped.SIMULATED.values(), ids=shipped.SIMULATED)
def test_a_simulation_finds_a_simulated_target_and_deviation(game: GameDefinition, mode: Mode) -> None:
    with pytest.raises(NoExactMethod):
        rounds.round_of(game, mode)
    assert mode.deviation is not None
    assert round(mode.rtp_target, 4) == mode.rtp_target
    spins = BOUGHT if mode.free_spins else SPINS
    results = [simulate.simulate(game, mode.name, spins=spins, seed=seed) for seed in range(RUNS)]
    error = mean(float(result.rtp) for result in results) - float(mode.rtp_target)
    assert abs(error) < Z999 * float(mode.deviation) / math.sqrt(RUNS * spins)
    variances = [result.deviation**2 for result in results]
    half_width = T999 * stdev(variances) / math.sqrt(RUNS)
    assert abs(mean(variances) - float(mode.deviation) ** 2) < half_width
    assert all(sum(result.parts.values()) == result.rtp for result in results)


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("game", "mode"), shipped.SIMULATED.values(), ids=shipped.SIMULATED)
def test_a_long_simulation_ends_within_a_thousandth(game: GameDefinition, mode: Mode) -> None:
    *_, last = simulate.run(game, mode.name, spins=400_000_000, seed=2, processes=2, precision=0.001)
    assert abs(float(last.rtp) - float(mode.rtp_target)) < 0.001
    assert abs(last.deviation / float(mode.deviation or 0) - 1) < 0.02
