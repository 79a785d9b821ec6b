"""Exact returns: of the shipped games against their files, and of a published game against its analysis."""

from __future__ import annotations

import itertools
from decimal import Decimal
from fractions import Fraction

import pytest

from services.game.engine import checks, definition, play
from services.game.engine.definition import GameDefinition
from services.game.engine.rng import ReplayedDraws
from tests.unit.game import published, rtp

GAMES = definition.load_all(definition.SHIPPED_GAMES)


def six_decimals(value: Fraction) -> Decimal:
    return (Decimal(value.numerator) / Decimal(value.denominator)).quantize(Decimal("0.000001"))


@pytest.mark.parametrize("game", GAMES.values(), ids=GAMES.keys())
def test_rtp_target_is_the_exact_return(game: GameDefinition) -> None:
    exact = rtp.exact_rtp(game)
    assert six_decimals(exact) == game.rtp_target
    assert Fraction(94, 100) <= exact <= Fraction(965, 1000)


def test_the_limit_of_free_spins_does_not_touch_the_target() -> None:
    assert rtp.lost_to_limit(GAMES["harbour-lights"]) < 1e-9


def test_every_stop_of_double_dawn_played_by_the_engine_gives_the_exact_return() -> None:
    game = GAMES["double-dawn"]
    lengths = game.base_reels.lengths
    stake_minor = 5
    wins = [
        play.spin(game, stake_minor=stake_minor, draws=ReplayedDraws(list(zip(lengths, stops, strict=True))))
        for stops in itertools.product(*(range(length) for length in lengths))
    ]
    total_minor = sum(spin.win_minor for spin in wins)
    assert Fraction(total_minor, stake_minor * len(wins)) == rtp.exact_rtp(game)
    assert not any(spin.outcome.capped for spin in wins), "the cap would lower the return below its target"
    hits = sum(spin.win_minor > 0 for spin in wins)
    assert Fraction(20, 100) <= Fraction(hits, len(wins)) <= Fraction(33, 100)


def test_published_strips_give_the_published_return() -> None:
    game = published.atkins_diet()
    assert list(checks.faults(game)) == []
    scatters = rtp.scatter_distribution(game, game.strips.base)
    assert rtp.line_return(game, game.strips.base) == Fraction(21293527, 33554432)
    assert rtp.expected(scatters, game.scatter_pays) == Fraction(1170315, 16777216)
    assert sum(scatters[count] for count in (3, 4, 5)) == Fraction(93825, 8388608)
    assert rtp.exact_rtp(game) == Fraction(60651793523489, 62498132721664)
