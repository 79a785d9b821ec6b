"""Events: whatever mechanic a game has, they tell its grids, its wins and its sum."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.game.books.events import Event, events_of
from services.game.engine import play
from services.game.engine.definition import GameDefinition
from services.game.engine.outcome import Names, Outcome, Screen
from services.game.engine.rng import Draws
from tests.unit.game import small

Grid = list[list[str]]


def grids_told(told: list[Event]) -> list[Grid]:
    """Every grid that a player sees, from boards and from what vanishes and falls."""
    grids: list[Grid] = []
    for event in told:
        if event["type"] == "reveal":
            grids.append([[cell["name"] for cell in reel] for reel in event["board"]])
        elif event["type"] == "tumbleBoard":
            gone = {(cell["reel"], cell["row"]) for cell in event["explodingSymbols"]}
            grid = []
            for reel, (names, new) in enumerate(zip(grids[-1], event["newSymbols"], strict=True)):
                rest = [name for row, name in enumerate(names) if (reel, row) not in gone]
                grid.append([cell["name"] for cell in new] + rest)
            grids.append(grid)
    return grids


def grids_played(outcome: Outcome) -> list[Names]:
    """Every grid of the outcome."""
    screens: list[Screen] = [*([outcome.base] if outcome.base else []), *outcome.free_spins]
    return [grid for screen in screens for grid in (screen.grid, *(fall.grid for fall in screen.falls))]


def of_type(told: list[Event], *kinds: str) -> list[Event]:
    return [event for event in told if event["type"] in kinds]


@pytest.mark.parametrize("evaluation", small.EVALUATIONS)
@settings(max_examples=20, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_events_tell_the_whole_round(evaluation: str, data: st.DataObject) -> None:
    game: GameDefinition = data.draw(small.games(evaluation=evaluation))
    source = random.Random(data.draw(st.integers(0, 1_000_000)))
    for mode in game.modes_by_name:
        for _ in range(5):
            draws = Draws(source.randbytes)
            outcome = play.spin(game, bet_minor=game.coins_per_bet, mode=mode, draws=draws).outcome
            check(game, outcome, events_of(game, outcome))


def check(game: GameDefinition, outcome: Outcome, told: list[dict[str, Any]]) -> None:
    per_coin = 100 // game.coins_per_bet
    assert [event["index"] for event in told] == list(range(len(told)))
    assert told[-1] == {"index": len(told) - 1, "type": "finalWin", "amount": outcome.win_minor * per_coin}
    grids = grids_told(told)
    assert [tuple(map(tuple, grid)) for grid in grids] == grids_played(outcome)
    features = of_type(told, "pick", "holdAndWin")
    wins = of_type(told, "winInfo")
    paid = sum(event["amount"] for event in features) + sum(event["totalWin"] for event in wins)
    totals = [event["amount"] for event in of_type(told, "setTotalWin")]
    assert paid == totals[-1] and totals == sorted(totals)
    capped = of_type(told, "wincap")
    assert told[-1]["amount"] == (capped[0]["amount"] if capped else paid)
    assert bool(capped) is outcome.capped is (paid > 100 * game.max_win_multiple)
    assert len(of_type(told, "updateFreeSpin")) == len(outcome.free_spins)
    if outcome.hold_and_win is not None:
        (feature,) = of_type(told, "holdAndWin")
        coins = sum(coin["amount"] for coin in feature["coins"])
        assert coins + feature.get("fullAmount", 0) == feature["amount"]
