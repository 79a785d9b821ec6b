"""The double-up: fair, limited, replayable, and refused before any draw."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.game.engine import definition, loading, play, rng

GAMES = loading.load_all(definition.SHIPPED_GAMES)
DAWN = GAMES["double-dawn"]
RED_SUITS = ("H", "D")


@pytest.mark.parametrize("choice", ["RED", "BLACK"])
def test_a_step_is_fair_over_the_whole_deck(choice: str) -> None:
    steps = [
        play.gamble_step(DAWN, choice=choice, at_risk_minor=10, draws=rng.ReplayedDraws([(52, card)]))
        for card in range(52)
    ]
    assert len({step.card for step in steps}) == 52
    assert Fraction(sum(step.at_risk_minor for step in steps), 10 * len(steps)) == 1
    for step in steps:
        assert step.won is ((step.card[-1] in RED_SUITS) == (choice == "RED"))
        assert step.at_risk_minor == (20 if step.won else 0)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    choice=st.sampled_from(["RED", "BLACK"]),
    bet_minor=st.sampled_from(DAWN.stakes_minor["USD"]),
    multiple=st.integers(min_value=1, max_value=DAWN.max_win_multiple),
    step=st.integers(min_value=0, max_value=8),
)
def test_an_offered_step_stays_within_the_limits(
    choice: str, bet_minor: int, multiple: int, step: int
) -> None:
    assert DAWN.gamble is not None
    at_risk_minor = multiple * bet_minor
    offered = play.gamble_offered(DAWN, at_risk_minor=at_risk_minor, bet_minor=bet_minor, step=step)
    assert offered is (step < DAWN.gamble.steps_max and 2 * multiple <= DAWN.gamble.win_multiple_max)
    draws = rng.Draws()
    drawn = play.gamble_step(DAWN, choice=choice, at_risk_minor=at_risk_minor, draws=draws)
    again = play.gamble_step(
        DAWN, choice=choice, at_risk_minor=at_risk_minor, draws=rng.ReplayedDraws(draws.log)
    )
    assert drawn == again
    if offered:
        assert drawn.at_risk_minor <= bet_minor * DAWN.max_win_multiple


def test_nothing_is_offered_without_a_win_or_a_gamble() -> None:
    assert not play.gamble_offered(DAWN, at_risk_minor=0, bet_minor=5, step=0)
    assert play.gamble_offered(DAWN, at_risk_minor=6, bet_minor=5, step=0)
    harbour = GAMES["harbour-lights"]
    assert not harbour.offers_choice
    assert not play.gamble_offered(harbour, at_risk_minor=20, bet_minor=20, step=0)


@pytest.mark.parametrize(
    ("game_id", "choice", "at_risk_minor"),
    [
        ("double-dawn", "GREEN", 10),
        ("double-dawn", "red", 10),
        ("double-dawn", "RED", 0),
        ("double-dawn", "RED", 2**52 + 1),
        ("harbour-lights", "RED", 10),
    ],
)
def test_a_refused_step_draws_nothing(game_id: str, choice: str, at_risk_minor: int) -> None:
    draws = rng.Draws()
    with pytest.raises(ValueError):
        play.gamble_step(GAMES[game_id], choice=choice, at_risk_minor=at_risk_minor, draws=draws)
    assert draws.log == []
