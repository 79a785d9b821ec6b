"""The compiled kernel plays what the words of the format say, and what the serving engine plays."""

from __future__ import annotations

import itertools
import random

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.game.engine import definition, play, rng
from services.game.engine.definition import GameDefinition
from services.game.maths import blocks, simulate
from services.game.maths.kernel import prefixes, rounds
from services.game.maths.result import PARTS
from tests.unit.game import published
from tests.unit.maths import naive_round, shipped, small_games

GAMES = {**shipped.GAMES, "atkins-diet": published.atkins_diet()}
# The first run compiles for half a minute of CPU, on a busy machine for some minutes.
pytestmark = pytest.mark.timeout(900)
COMPARED = (*PARTS, "win", "free_spins_played", "capped")


def seeded_draws(seed: int) -> rng.Draws:
    return rng.Draws(random.Random(seed).randbytes)


def kernel_round(
    game: GameDefinition, mode: str, log: list[rng.Draw], player: blocks.Player
) -> dict[str, int]:
    """One round of the kernel from recorded draws: raises unless it asks for exactly these."""
    tally = simulate.replay(game, mode, log, player=player).tally
    return {**{name: tally[name] for name in (*COMPARED, "falls")}, "histogram": sum(tally.histogram)}


def engine_round(game: GameDefinition, mode: str, draws: rng.DrawSource) -> dict[str, int]:
    """One round of the serving engine at a bet of one minor unit per coin."""
    spin = play.spin(game, bet_minor=game.coins_per_bet, mode=mode, draws=draws)
    shown = spin.outcome
    base, scatter, falls = 0, 0, 0
    if shown.base:
        scatter = shown.base.scatter_win.win_minor if shown.base.scatter_win else 0
        base = shown.base.win_minor - scatter
        falls = len(shown.base.falls)
    return {
        "base": base,
        "scatter": scatter,
        "free_spins": sum(screen.win_minor for screen in shown.free_spins),
        "hold_and_win": shown.hold_and_win.win_minor if shown.hold_and_win else 0,
        "pick": shown.pick.win_minor if shown.pick else 0,
        "win": spin.win_minor,
        "free_spins_played": len(shown.free_spins),
        "capped": int(shown.capped),
        "falls": falls + sum(len(screen.falls) for screen in shown.free_spins),
        "histogram": 1,
    }


@pytest.mark.parametrize("evaluation", small_games.EVALUATIONS)
@settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**32),
    cascade=st.booleans(),
    weights=st.booleans(),
    entries_max=st.sampled_from([1, 200, 20_000]),
)
def test_a_round_of_any_mechanic_is_the_engines_and_what_the_words_say(
    evaluation: small_games.Evaluation, seed: int, cascade: bool, weights: bool, entries_max: int
) -> None:
    check_small_game(evaluation, seed, cascade=cascade, weights=weights, entries_max=entries_max)


@pytest.mark.long
@pytest.mark.parametrize("evaluation", small_games.EVALUATIONS)
def test_rounds_of_many_small_games(evaluation: small_games.Evaluation) -> None:
    for seed in range(2000):
        entries_max = (1, 200, 20_000)[seed % 3]
        check_small_game(
            evaluation, seed, cascade=seed % 5 < 2, weights=seed % 7 < 3, entries_max=entries_max
        )


def check_small_game(
    evaluation: small_games.Evaluation, seed: int, *, cascade: bool, weights: bool, entries_max: int
) -> None:
    """Rounds of every mode. `entries_max` decides how many reels the kernel looks up: one, some, or all."""
    game = small_games.small_game(random.Random(seed), evaluation, cascade=cascade, weights=weights)
    for mode in game.modes_by_name:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(prefixes, "_ENTRIES_MAX", entries_max)
            player = blocks.Player(game, mode)
        for number in range(6):
            draws = seeded_draws(seed + number)
            expected = naive_round.play(game, mode, draws.below)
            found = kernel_round(game, mode, draws.log, player)
            replayed = rng.ReplayedDraws(draws.log)
            assert engine_round(game, mode, replayed) == found
            assert replayed.exhausted
            assert {name: found[name] for name in (*COMPARED, "falls")} == {
                name: expected.get(name, 0) for name in (*COMPARED, "falls")
            }


@pytest.mark.parametrize("game_id", sorted(GAMES))
def test_a_round_of_a_known_game_is_the_serving_engines(game_id: str) -> None:
    check_known_game(GAMES[game_id], grids=2_000)


@pytest.mark.long
@pytest.mark.parametrize("game_id", sorted(GAMES))
def test_many_rounds_of_a_known_game(game_id: str) -> None:
    check_known_game(GAMES[game_id], grids=50_000)


def check_known_game(game: GameDefinition, *, grids: int) -> None:
    """Rounds of every mode, until that many grids were evaluated: they are what costs time."""
    for mode in game.modes_by_name:
        player = blocks.Player(game, mode)
        seen = 0
        for seed in itertools.count():
            draws = seeded_draws(seed)
            expected = engine_round(game, mode, draws)
            assert kernel_round(game, mode, draws.log, player) == expected
            seen += 1 + expected["free_spins_played"] + expected["falls"]
            if seen >= grids:
                break


@pytest.mark.parametrize("cascade", [True, False])
@pytest.mark.parametrize("evaluation", small_games.EVALUATIONS)
def test_a_win_beyond_every_integer_is_the_cap(evaluation: small_games.Evaluation, cascade: bool) -> None:
    """Wilds, falls and free spins that each multiply by 2**20: nothing overflows on the way to the cap."""
    most = 1 << 20
    game = small_games.small_game(random.Random(4), evaluation, cascade=False, weights=False)
    symbols = (
        definition.Symbol(name="A", kind="regular"),
        definition.Symbol(name="WILD", kind="wild", multiplier=most),
        definition.Symbol(name="SCATTER", kind="scatter"),
    )
    game = msgspec.structs.replace(
        game,
        symbols=symbols,
        pays={"A": {2: 1, 3: most, 4: most, 5: most}},
        strips={name: (("A", "WILD", "WILD", "SCATTER", "WILD"),) * game.grid.reels for name in game.strips},
        weights={},
        free_spins=definition.FreeSpins(award={2: 2}, multiplier=most, spins_max=9),
        cascade=definition.Cascade(falls_max=3, multipliers=(most,)) if cascade else None,
        max_win_multiple=100_000_000,
        # Every line, so that many amounts at the limit are added before they are multiplied.
        paylines=tuple(itertools.product(range(game.grid.rows), repeat=game.grid.reels)),
        hold_and_win=None,
        pick=None,
    )
    player = blocks.Player(game, "base")
    capped = 0
    for seed in range(60):
        draws = seeded_draws(seed)
        expected = engine_round(game, "base", draws)
        found = kernel_round(game, "base", draws.log, player)
        assert [found[name] for name in ("win", "capped")] == [expected[name] for name in ("win", "capped")]
        capped += found["capped"]
    assert capped


def test_every_game_is_played_by_the_same_compiled_loop() -> None:
    for game in GAMES.values():
        blocks.Player(game, "base").play_block(1, 0, 0)
    assert len(rounds.play.signatures) == 1  # type: ignore[attr-defined]
