"""`make bench-maths`: simulated spins per CPU-second, and per spin the floors of the same run.

Floors: the same number of draws and nothing else, compiled; one spin of the serving engine, in Python.
CPU time of one process, the best of a few repeats: other work on the machine still takes caches and clock.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable

import numba
from rich.console import Console
from rich.table import Table

from bench import maths_games
from services.game.engine import definition, loading, play, rng
from services.game.engine.definition import GameDefinition
from services.game.maths.blocks import Player
from services.game.maths.kernel import draws
from tests.unit.game import published

_ENGINE_SPINS = 400


@numba.njit
def _draw(source: draws.Source, bound: int, number: int) -> int:
    total = 0
    for _ in range(number):
        total += draws.below(source, bound)
    return total


def _cpu_s(function: Callable[[], object], repeats: int) -> float:
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        function()
        best = min(best, time.process_time() - start)
    return best


def measure(game: GameDefinition, *, spins: int, repeats: int) -> tuple[float, float, float, float]:
    """(kernel ns, draws, ns of as many draws, serving engine ns), each per spin of mode base."""
    player = Player(game, definition.BASE)
    player.play_block(1, 0, 1000)
    kernel_s = _cpu_s(lambda: player.play_block(1, 1, spins), repeats)
    source = rng.Draws(random.Random(1).randbytes)

    def engine() -> None:
        for _ in range(_ENGINE_SPINS):
            play.spin(game, bet_minor=game.coins_per_bet, draws=source)

    engine_s = _cpu_s(engine, repeats)
    drawn = len(source.log) / (_ENGINE_SPINS * repeats)
    generated = draws.generated(1, 0)
    _draw(generated, 41, 1)
    draws_s = _cpu_s(lambda: _draw(generated, 41, round(drawn * spins)), repeats)
    return kernel_s / spins * 1e9, drawn, draws_s / spins * 1e9, engine_s / _ENGINE_SPINS * 1e9


def main() -> None:
    """Measure every shipped game and those of `maths_games`."""
    parser = argparse.ArgumentParser(prog="bench-maths", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the spins")
    quick = parser.parse_args().quick
    spins, repeats = (200_000, 3) if quick else (2_000_000, 5)
    games = {**loading.load_all(definition.SHIPPED_GAMES), "atkins-diet": published.atkins_diet()}
    columns = ("game", "M spins/CPU-s", "ns", "draws", "ns of draws alone", "serving engine ns", "times")
    table = Table(*columns, box=None)
    for name, game in {**games, **maths_games.games()}.items():
        kernel_ns, drawn, draws_ns, engine_ns = measure(game, spins=spins, repeats=repeats)
        table.add_row(
            name, f"{1e3 / kernel_ns:.2f}", f"{kernel_ns:.0f}", f"{drawn:.1f}", f"{draws_ns:.0f}",
            f"{engine_ns:.0f}", f"{engine_ns / kernel_ns:.0f}",
        )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main()
