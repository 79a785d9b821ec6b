"""CPU seconds of the exact returns of the two published games: python -m bench.exact [cycle]."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from services.game.engine.definition import GameDefinition
from services.game.maths import report, rounds, screens
from tests.unit.game import published

GAMES = {
    "A, 33.5 M screens, 20 lines": published.atkins_diet(),
    "B, 259 M screens, 15 lines": published.lobstermania("96.2"),
}


def measure(what: str, play: Callable[[GameDefinition], object], game: GameDefinition, *, times: int) -> None:
    """Print the least CPU time of some runs; nothing is kept from one to the next."""
    spent = []
    for _ in range(times):
        screens.screen_of.cache_clear()
        start = time.process_time()
        play(game)
        spent.append(time.process_time() - start)
    print(f"  {what}: {min(spent):.3f} CPU s", flush=True)


def returns(game: GameDefinition) -> None:
    """RTP, its split, and the hit frequency."""
    played = rounds.round_of(game, game.modes_by_name["base"])
    _ = rounds.returns(played), rounds.symbol_returns(played), rounds.hit_frequency(played)


def main() -> None:
    """Print the figures of docs/maths.md."""
    print(f"process start: {time.process_time():.3f} CPU s")
    for name, game in GAMES.items():
        print(name)
        measure("first run, kernels compiled or loaded", returns, game, times=1)
        measure("RTP, split, hit frequency", returns, game, times=5)
        measure("whole report", report.report_of, game, times=3)
        if "cycle" in sys.argv:
            measure("whole cycle", lambda game: screens.full_cycle(game, "base", free=False), game, times=1)


if __name__ == "__main__":
    main()
