"""One screen: the reels stop, the grid wins, what fell may win again, and scatters pay and award."""

from __future__ import annotations

from services.game.engine import cascade, outcome
from services.game.engine.reels import Strips
from services.game.engine.rng import DrawSource
from services.game.engine.tables import Cells, Stage, Tables, at_count


def play_screen(
    tables: Tables, stage: Stage, bet_minor: int, award_max: int, draws: DrawSource
) -> outcome.Screen:
    """Draw a screen, reels from the left: one stop each, or one draw per cell from the top.

    It awards at most `award_max` free spins.
    """
    drawn = stage.reels
    cells: Cells = ()
    tops: list[int] = []
    scatters = 0
    if isinstance(drawn, Strips):
        columns = []
        for length, visible in drawn.reels:
            stop = draws.below(length)
            tops.append(stop)
            ids, names, on_reel = visible[stop]
            cells += ids
            columns.append(names)
            scatters += on_reel
        grid = tuple(columns)
    else:
        cells = drawn.fill(tables.columns, draws=draws)
        scatters = cells.count(tables.scatter)
        grid = tables.named(cells)
        if tables.expanding:
            cells = tables.expanded(cells)
    wins = tables.evaluate(cells, bet_minor // tables.coins_per_bet, stage.multipliers[0])
    falls: tuple[outcome.Fall, ...] = ()
    if wins and tables.falls_max:
        falls, cells = cascade.play_falls(
            tables, stage, cells=cells, tops=tops, wins=wins, bet_minor=bet_minor, draws=draws
        )
        scatters = cells.count(tables.scatter)
    win_minor, awarded, scatter_win = 0, 0, None
    if scatters:
        awarded = min(at_count(stage.awards, scatters), award_max)
        scatter_win = _scatter_win(tables, scatters, bet_minor=bet_minor, multiplier=stage.multiplier)
        if scatter_win:
            win_minor = scatter_win.win_minor
    for win in wins:
        win_minor += win.win_minor
    for fall in falls:
        win_minor += fall.win_minor
    line_wins, symbol_wins = tables.by_kind(wins)
    return outcome.Screen(grid, line_wins, scatter_win, awarded, win_minor, symbol_wins, falls)


def last_grid(screen: outcome.Screen) -> outcome.Names:
    """The grid that scatters, bonus symbols and coins are counted on: as drawn, after the last fall."""
    return screen.falls[-1].grid if screen.falls else screen.grid


def _scatter_win(tables: Tables, count: int, *, bet_minor: int, multiplier: int) -> outcome.ScatterWin | None:
    multiple = at_count(tables.scatter_multiples, count)
    if not multiple:
        return None
    win_minor = multiple * bet_minor * multiplier
    return outcome.ScatterWin(tables.names[tables.scatter], count, win_minor, multiplier)
