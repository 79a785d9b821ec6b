"""Wins of ways: runs of a symbol on neighbouring reels, in every combination of its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from services.game.engine import outcome

if TYPE_CHECKING:
    from services.game.engine.definition import GameDefinition


class Ways(msgspec.Struct, frozen=True):
    """The paying symbols, in the order of the definition."""

    reels: int
    rows: int
    symbols: tuple[tuple[str, tuple[int, ...], Mapping[int, int]], ...]
    """(name, multiple x coin by run length, id of each symbol that matches -> the ways it counts for)."""
    directions: tuple[bool, ...]
    """Whether from the right, in the order they are shown."""


def build(game: GameDefinition) -> Ways:
    """The table of a game by ways."""
    wilds = {index: symbol.multiplier for index, symbol in enumerate(game.symbols) if symbol.kind == "wild"}
    symbols = []
    for index, symbol in enumerate(game.symbols):
        if symbol.name in game.pays:
            pays = game.pays[symbol.name]
            multiples = tuple(pays.get(count, 0) for count in range(game.grid.reels + 1))
            symbols.append((symbol.name, multiples, {index: 1} | (wilds if symbol.takes_wild else {})))
    directions = {"left": (False,), "right": (True,), "both": (False, True)}[game.direction]
    return Ways(game.grid.reels, game.grid.rows, tuple(symbols), directions)


def way_wins(
    table: Ways, cells: tuple[int, ...], coin_minor: int, multiplier: int
) -> tuple[outcome.SymbolWin, ...]:
    """Every paying symbol of a grid, in the order of the definition, from the left before from the right."""
    rows = table.rows
    from_left = [cells[start : start + rows] for start in range(0, len(cells), rows)]
    wins = []
    for name, multiples, counted in table.symbols:
        for from_right in table.directions:
            columns = from_left[::-1] if from_right else from_left
            run, ways = _run(columns, counted)
            # In both directions a run over all reels pays once, as from the left.
            if not multiples[run] or (from_right and run == table.reels and len(table.directions) > 1):
                continue
            first = table.reels - run if from_right else 0
            won = tuple(
                (reel, row)
                for reel in range(first, first + run)
                for row in range(rows)
                if from_left[reel][row] in counted
            )
            win_minor = multiples[run] * ways * coin_minor * multiplier
            wins.append(outcome.SymbolWin(name, run, won, win_minor, multiplier, ways, from_right))
    return tuple(wins)


def _run(columns: Sequence[tuple[int, ...]], counted: Mapping[int, int]) -> tuple[int, int]:
    """(reels of the run, its number of ways) from the first of `columns`."""
    run, ways = 0, 1
    for column in columns:
        on_reel = 0
        for symbol in column:
            if symbol in counted:
                on_reel += counted[symbol]
        if not on_reel:
            break
        ways *= on_reel
        run += 1
    return run, ways
