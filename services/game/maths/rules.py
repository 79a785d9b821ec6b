"""A definition as arrays over symbol ids: what the formulas and the kernels of this package read.

Every amount is in coins; a bet is `coins_per_bet` of them. Nothing here evaluates anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.game.engine.definition import GameDefinition

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
NONE = -1


class Rules(NamedTuple):
    """Index 0 of every array is the symbol id: its place in the definition's `symbols`."""

    pays: Ints
    """[symbol][count], coins; lines and ways: count in reels, else in cells, gaps filled from below."""
    wild: Flags
    multiplier: Ints
    """1 for everything that is not a wild."""
    expands: Flags
    regular: Flags
    takes_wild: Flags
    """Regular, and wilds stand in for it."""
    payer: int
    """The wild that a run of wilds is paid as; NONE when wilds pay nothing."""
    special: Ints
    """0 none, 1 scatter, 2 bonus, 3 coin: what is counted anywhere on the grid."""
    lines: Ints
    """[line][reel] -> row; empty unless the game has lines."""


def highest_listed(values: Mapping[int, int], count: int) -> int:
    """The value of the highest listed count that is not above `count`; 0 below all of them."""
    listed = [number for number in values if number <= count]
    return values[max(listed)] if listed else 0


def rules_of(game: GameDefinition) -> Rules:
    """The arrays of a definition that `engine.checks` found playable."""
    by_cells = game.evaluation in ("clusters", "anywhere")
    count_max = game.grid.reels * (game.grid.rows if by_cells else 1)
    pays = np.zeros((len(game.symbols), count_max + 1), np.int64)
    for symbol, shown in enumerate(game.symbols):
        for count in range(count_max + 1) if shown.name in game.pays else ():
            pays[symbol, count] = highest_listed(game.pays[shown.name], count)
    kinds = [symbol.kind for symbol in game.symbols]
    paid_wilds = [
        i for i, symbol in enumerate(game.symbols) if kinds[i] == "wild" and symbol.name in game.pays
    ]
    special = {"scatter": 1, "bonus": 2, "coin": 3}
    lines = game.paylines if game.evaluation == "lines" else ()
    return Rules(
        pays=pays,
        wild=np.array([kind == "wild" for kind in kinds]),
        multiplier=np.array([symbol.multiplier for symbol in game.symbols], np.int64),
        expands=np.array([symbol.expands for symbol in game.symbols]),
        regular=np.array([kind == "regular" for kind in kinds]),
        takes_wild=np.array([symbol.kind == "regular" and symbol.takes_wild for symbol in game.symbols]),
        payer=paid_wilds[0] if paid_wilds else NONE,
        special=np.array([special.get(kind, 0) for kind in kinds], np.int64),
        lines=np.array(lines, np.int64).reshape(len(lines), game.grid.reels),
    )
