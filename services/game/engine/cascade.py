"""Falls: what won vanishes, what is above it falls, new symbols come from above, and the grid wins again."""

from __future__ import annotations

from collections.abc import Sequence

from services.game.engine import outcome, reels
from services.game.engine.rng import DrawSource
from services.game.engine.tables import Cells, Stage, Tables, Wins


def play_falls(
    tables: Tables,
    stage: Stage,
    *,
    cells: Cells,
    tops: Sequence[int],
    wins: Wins,
    bet_minor: int,
    draws: DrawSource,
) -> tuple[tuple[outcome.Fall, ...], Cells]:
    """Every fall of a screen, and its last grid. `tops` are the stops of its strips, empty for weights.

    From strips nothing is drawn: they continue upwards. A grid that wins after the last fall is paid.
    """
    coin_minor = bet_minor // tables.coins_per_bet
    tops = list(tops)
    falls: list[outcome.Fall] = []
    while wins and len(falls) < tables.falls_max:
        cells = _fall(tables, stage, cells=cells, tops=tops, won=tables.won_cells(wins), draws=draws)
        multiplier = stage.multipliers[min(len(falls) + 1, len(stage.multipliers) - 1)]
        wins = tables.evaluate(cells, coin_minor, multiplier)
        win_minor = sum([win.win_minor for win in wins])
        falls.append(outcome.Fall(tables.named(cells), multiplier, win_minor, *tables.by_kind(wins)))
    return tuple(falls), cells


def _fall(
    tables: Tables, stage: Stage, *, cells: Cells, tops: list[int], won: set[int], draws: DrawSource
) -> Cells:
    """The grid after `won` vanished; moves `tops` up their strips. Drawn cells come reels from the left, the
    top row first."""
    fallen: Cells = ()
    drawn = stage.reels
    for reel, column in enumerate(tables.columns):
        left = tuple([cells[cell] for cell in column if cell not in won])
        new = range(tables.rows - len(left))
        if isinstance(drawn, reels.Strips):
            strip = drawn.ids[reel]
            tops[reel] = (tops[reel] - len(new)) % len(strip)
            fallen += tuple([strip[(tops[reel] + row) % len(strip)] for row in new]) + left
        else:
            fallen += tuple([drawn.draw(reel, draws=draws) for _ in new]) + left
    return fallen
