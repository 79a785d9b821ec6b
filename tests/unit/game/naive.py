"""The rules of a screen written again, slowly and from the names only: shares no code with the engine."""

from __future__ import annotations

from collections.abc import Sequence

from services.game.engine.definition import GameDefinition


def names_of(game: GameDefinition, kind: str) -> set[str]:
    return {symbol.name for symbol in game.symbols if symbol.kind == kind}


def line_multiple(game: GameDefinition, line: Sequence[str]) -> int:
    """Best pay of one line, x line bet: every symbol of the pay table is tried in turn."""
    wilds = names_of(game, "wild")
    best = 0
    for name, multiple_by_run in game.pays.items():
        run = 0
        while run < len(line) and line[run] in wilds | {name}:
            run += 1
        best = max(best, multiple_by_run.get(run, 0))
    return best


def highest_listed(values: dict[int, int], count: int) -> int:
    """The value of the highest listed count that is not above `count`; 0 below all of them."""
    return max((value for listed, value in values.items() if listed <= count), default=0)


def line_wins(game: GameDefinition, grid: Sequence[Sequence[str]], *, line_bet_minor: int) -> dict[int, int]:
    """Line -> win in minor units, paying lines only."""
    wins = {}
    for line, rows in enumerate(game.paylines):
        symbols = [grid[reel][row] for reel, row in enumerate(rows)]
        win_minor = line_multiple(game, symbols) * line_bet_minor
        if win_minor:
            wins[line] = win_minor
    return wins


def scatter_count(game: GameDefinition, grid: Sequence[Sequence[str]]) -> int:
    return sum(name in names_of(game, "scatter") for reel in grid for name in reel)
