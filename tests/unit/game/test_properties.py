"""Every mechanic and combination on small games: the engine against the naive reading of the same draws."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.game.engine import outcome, play, rng
from services.game.engine.definition import GameDefinition
from services.game.engine.reels import Strips
from tests.unit.game import naive, small

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
SOMETIMES = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=SLOW)
OFTEN = settings(SOMETIMES, max_examples=400)
SPINS = 8
"""Spins of each generated game and mode."""


def check_spins(game: GameDefinition, seed: int, *, spins: int = SPINS) -> None:
    """Everything that must hold for each spin of each mode."""
    source = random.Random(seed)
    for mode in game.modes_by_name:
        for _ in range(spins):
            bet_minor = game.coins_per_bet * source.randint(1, 5)
            draws = rng.Draws(source.randbytes)
            spin = play.spin(game, bet_minor=bet_minor, mode=mode, draws=draws)
            replayed = rng.ReplayedDraws(rng.decode_draws(rng.encode_draws(draws.log)))
            told = naive.told(spin.outcome)
            assert told == naive.play(game, bet_minor=bet_minor, mode=mode, below=replayed.below)
            assert replayed.exhausted
            check_amounts(spin, cap_minor=bet_minor * game.max_win_multiple)
            again = rng.ReplayedDraws(draws.log)
            assert play.spin(game, bet_minor=bet_minor, mode=mode, draws=again) == spin
            assert again.exhausted
            encoded = outcome.encode_outcome(spin.outcome)
            assert outcome.decode_outcome(encoded) == spin.outcome


def check_amounts(spin: play.Spin, *, cap_minor: int) -> None:
    """None negative, none above the cap, and the total is the sum of the parts that are shown."""
    shown = spin.outcome
    screens = [*([shown.base] if shown.base else []), *shown.free_spins]
    parts = [feature.win_minor for feature in (shown.hold_and_win, shown.pick) if feature]
    for screen in screens:
        grids: list[outcome.Screen | outcome.Fall] = [screen, *screen.falls]
        wins_minor = [win.win_minor for grid in grids for win in grid.line_wins]
        wins_minor += [win.win_minor for grid in grids for win in grid.symbol_wins]
        wins_minor += [screen.scatter_win.win_minor] if screen.scatter_win else []
        assert all(win_minor > 0 for win_minor in wins_minor)
        assert screen.win_minor == sum(wins_minor)
        parts += wins_minor
    assert spin.win_minor == shown.win_minor == min(sum(parts), cap_minor)
    assert shown.capped is (sum(parts) > cap_minor)


@pytest.mark.parametrize("evaluation", small.EVALUATIONS)
def test_the_engine_plays_what_the_naive_reading_tells(evaluation: str) -> None:
    @SOMETIMES
    @given(game=small.games(evaluation=evaluation), seed=st.integers(0, 2**32))
    def holds(game: GameDefinition, seed: int) -> None:
        check_spins(game, seed)

    holds()


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("evaluation", small.EVALUATIONS)
def test_the_engine_plays_what_the_naive_reading_tells_long(evaluation: str) -> None:
    @OFTEN
    @given(game=small.games(evaluation=evaluation), seed=st.integers(0, 2**32))
    def holds(game: GameDefinition, seed: int) -> None:
        check_spins(game, seed)

    holds()


class Reached:
    """What the engine shows over every stop of some strips."""

    def __init__(self, game: GameDefinition, strips: list[Strips]) -> None:
        self.wins: set[tuple[str, int]] = set()
        self.counts: dict[str, set[int]] = {"scatter": set(), "bonus": set(), "coin": set()}
        names = {kind: naive.names_of(game, kind) for kind in self.counts}
        for reels in strips:
            for stops in itertools.product(*(visible for _, visible in reels.reels)):
                cells = tuple(itertools.chain.from_iterable(ids for ids, _, _ in stops))
                self.wins |= {(win.symbol, win.count) for win in game.tables.evaluate(cells, 1, 1)}
                for kind, counts in self.counts.items():
                    counts.add(sum(name in names[kind] for _, shown, _ in stops for name in shown))


@pytest.mark.parametrize("evaluation", ["lines", "ways", "anywhere"])  # a cluster also needs a shape
def test_everything_that_a_game_without_faults_lists_is_reached(evaluation: str) -> None:
    @settings(SOMETIMES, max_examples=30)
    @given(game=small.games(evaluation=evaluation, strips_only=True))
    def holds(game: GameDefinition) -> None:
        paid = Reached(
            game, [one.reels for one in game.tables.paid.values() if isinstance(one.reels, Strips)]
        )
        free = game.tables.free
        free_strips = [free.reels] if free and isinstance(free.reels, Strips) else []
        freely = Reached(game, free_strips)
        for name, values in game.pays.items():
            check_reached(
                values, {count for symbol, count in paid.wins | freely.wins if symbol == name}, name
            )
        check_reached(game.scatter_pays, paid.counts["scatter"] | freely.counts["scatter"], "scatter_pays")
        if game.free_spins:
            check_reached(game.free_spins.award, paid.counts["scatter"], "award")
            check_reached(game.free_spins.retrigger, freely.counts["scatter"], "retrigger")
        for kind, feature in (("bonus", game.pick), ("coin", game.hold_and_win)):
            assert feature is None or max(paid.counts[kind]) >= feature.trigger_count

    holds()


def check_reached(values: dict[int, int], counts: set[int], name: str) -> None:
    """Some count pays as each listed one does."""
    for listed, following in itertools.pairwise([*sorted(values), 10**6]):
        assert counts & set(range(listed, min(following, 101))), f"{listed} {name}"
