"""Wins of symbols anywhere: enough of one symbol on the grid, wilds included."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from services.game.engine import outcome

if TYPE_CHECKING:
    from services.game.engine.definition import GameDefinition


class Symbol(msgspec.Struct, frozen=True):
    """A symbol that pays by its number."""

    id: int
    name: str
    matches: frozenset[int]
    """Its id, and the wilds where they stand in for it."""
    count_min: int
    """Fewest that pay."""
    multiples: tuple[int, ...]
    """[count] up to every cell of the grid, x coin: between two listed counts as for the lower one."""


class Counted(msgspec.Struct, frozen=True):
    """The paying symbols, in the order of the definition."""

    symbols: tuple[Symbol, ...]
    rows: int
    factors: tuple[int, ...]
    """[symbol id] -> its multiplier."""


def build(game: GameDefinition) -> Counted:
    """The table of a game by number of symbols."""
    wilds = frozenset(index for index, symbol in enumerate(game.symbols) if symbol.kind == "wild")
    symbols = []
    for index, symbol in enumerate(game.symbols):
        if symbol.name in game.pays:
            pays = game.pays[symbol.name]
            multiples = [0]
            for count in range(1, game.grid.reels * game.grid.rows + 1):
                multiples.append(pays.get(count, multiples[-1]))
            matches = frozenset({index}) | (wilds if symbol.takes_wild else frozenset())
            symbols.append(Symbol(index, symbol.name, matches, min(pays), tuple(multiples)))
    return Counted(tuple(symbols), game.grid.rows, tuple(symbol.multiplier for symbol in game.symbols))


def win(
    table: Counted, symbol: Symbol, cells: Sequence[int], coin_minor: int, multiplier: int
) -> outcome.SymbolWin:
    """The win of a symbol on these cells, which are in ascending order and enough."""
    count = len(cells)
    shown = tuple([divmod(cell, table.rows) for cell in cells])
    win_minor = symbol.multiples[count] * coin_minor * multiplier
    return outcome.SymbolWin(symbol.name, count, shown, win_minor, multiplier)


def anywhere_wins(
    table: Counted, cells: tuple[int, ...], coin_minor: int, multiplier: int
) -> tuple[outcome.SymbolWin, ...]:
    """Every paying symbol of a grid, by its first cell; two that share a wild there, in the order of the
    definition."""
    found = []
    for symbol in table.symbols:
        if symbol.id not in cells:
            continue
        won = [cell for cell, shown in enumerate(cells) if shown in symbol.matches]
        if len(won) >= symbol.count_min:
            factor = multiplier * math.prod([table.factors[cells[cell]] for cell in won])
            found.append((won[0], win(table, symbol, won, coin_minor, factor)))
    found.sort(key=lambda entry: entry[0])
    return tuple([won for _, won in found])
