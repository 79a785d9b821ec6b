"""The formulas and walks agree with the whole cycle to the last digit, and that with the serving engine."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction

import msgspec
import pytest

from services.game.engine import play
from services.game.engine.definition import GameDefinition
from services.game.engine.rng import ReplayedDraws
from services.game.maths import reels, screens
from services.game.maths.rules import highest_listed
from tests.unit.game import published
from tests.unit.maths import shipped, small_games

CYCLES = {
    **shipped.GAMES,
    "atkins-diet": published.atkins_diet(),
    "lobstermania": published.lobstermania("85.0"),
}


def small_reel_sets(
    evaluation: small_games.Evaluation, *, cycle_max: int, number: int, cascade: bool = False
) -> Iterator[tuple[GameDefinition, str]]:
    """Games by seed, their reel sets whose cycle is small enough, until there were `number` of them."""
    found = 0
    for seed in itertools.count():
        game = small_games.small_game(random.Random(seed), evaluation, cascade=cascade, weights=seed % 3 == 0)
        for name in ("base", "free", "ante"):
            shown = reels.reel_set(game, name)
            windows = [len(reel.windows) if reel.windows is not None else cycle_max for reel in shown]
            if found < number and _product(windows) <= cycle_max and reels.totals_of(shown) < 1 << 40:
                found += 1
                yield game, name
        if found == number:
            return


def _product(numbers: list[int]) -> int:
    product = 1
    for number in numbers:
        product *= number
    return product


@pytest.mark.parametrize("evaluation", ["lines", "ways", "anywhere"])
def test_the_formulas_are_the_whole_cycle(evaluation: small_games.Evaluation) -> None:
    directions, features = set(), Counter[str]()
    for game, name in small_reel_sets(evaluation, cycle_max=60_000, number=60):
        exact = screens.screen_of(game, name, free=False)
        cycle = screens.full_cycle(game, name, free=False)
        assert exact.pays == cycle.pays
        assert exact.counts == cycle.counts
        assert exact.histogram == cycle.histogram
        directions.add(game.direction)
        features["wins"] += bool(exact.pays)
        features["weights"] += name in game.weights
        for symbol in game.symbols:
            features["expands"] += symbol.expands
            features["multiplies"] += symbol.multiplier > 1
            features["takes no wild"] += symbol.kind == "regular" and not symbol.takes_wild
    assert evaluation == "anywhere" or directions == {"left", "right", "both"}
    assert min(features[name] for name in ("wins", "weights", "expands", "multiplies", "takes no wild")) > 2


@pytest.mark.parametrize("cascade", [False, True], ids=["", "cascade"])
@pytest.mark.parametrize("evaluation", small_games.EVALUATIONS)
def test_the_whole_cycle_is_the_serving_engine_on_every_stop(
    evaluation: small_games.Evaluation, cascade: bool
) -> None:
    played = 0
    for game, name in small_reel_sets(evaluation, cycle_max=4000, number=12, cascade=cascade):
        if name != "base" or name in game.weights:
            continue
        game = msgspec.structs.replace(
            game, free_spins=None, hold_and_win=None, pick=None, max_win_multiple=10**9, modes=()
        )
        lengths = [len(strip) for strip in game.strips[name]]
        wins = Counter(
            play.spin(
                game,
                bet_minor=game.coins_per_bet,
                draws=ReplayedDraws(list(zip(lengths, stops, strict=True))),
            ).win_minor
            for stops in itertools.product(*(range(length) for length in lengths))
        )
        cycle = screens.full_cycle(game, name, free=False)
        assert cycle.histogram is not None
        found = Counter[int]()
        for counts, draws in cycle.histogram.draws.items():
            scatter = highest_listed(game.scatter_pays, counts.scatters) * game.coins_per_bet
            for coins, number in draws.items():
                found[coins + scatter] += number
        assert found == wins
        played += bool(sum(wins) and len(wins) > 1)
    assert played > 1


@pytest.mark.parametrize(
    ("game_id", "name"),
    [(game.game_id, name) for game in shipped.GAMES.values() for name in (*game.strips, *game.weights)],
)
def test_the_parts_of_a_shipped_screen_add_up(game_id: str, name: str) -> None:
    game = shipped.GAMES[game_id]
    try:
        screen = screens.screen_of(game, name, free=name == "free")
    except screens.NoExactMethod:
        return
    assert sum(screen.counts.values()) == 1
    if screen.histogram is None:
        return
    total = screen.histogram.total
    mean = sum(coins * n for draws in screen.histogram.draws.values() for coins, n in draws.items())
    assert Fraction(mean, total) == screen.mean_coins
    for counts, draws in screen.histogram.draws.items():
        assert Fraction(sum(draws.values()), total) == screen.counts[counts]


def test_double_dawn_is_its_whole_cycle() -> None:
    game = shipped.GAMES["double-dawn"]
    assert screens.screen_of(game, "base", free=False)[1:] == screens.full_cycle(game, "base", free=False)[1:]


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("game", CYCLES.values(), ids=CYCLES.keys())
def test_every_known_screen_is_its_whole_cycle(game: GameDefinition) -> None:
    for name in game.strips:
        try:
            exact = screens.screen_of(game, name, free=name == "free")
            cycle = screens.full_cycle(game, name, free=name == "free")
        except screens.NoExactMethod:
            continue
        assert exact[1:] == cycle[1:]
