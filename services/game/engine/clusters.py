"""Wins of clusters: enough of one symbol side by side, wilds included."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from services.game.engine import anywhere, outcome

if TYPE_CHECKING:
    from services.game.engine.definition import GameDefinition


class Clusters(msgspec.Struct, frozen=True):
    """The paying symbols, and which cells touch."""

    pays: anywhere.Counted
    neighbours: tuple[tuple[int, ...], ...]
    """[cell] -> the cells beside, above and below it."""


def build(game: GameDefinition) -> Clusters:
    """The table of a game by clusters."""
    reels, rows = game.grid.reels, game.grid.rows

    def touching(cell: int) -> tuple[int, ...]:
        reel, row = divmod(cell, rows)
        beside = ((reel - 1, row), (reel, row - 1), (reel, row + 1), (reel + 1, row))
        return tuple(r * rows + c for r, c in beside if 0 <= r < reels and 0 <= c < rows)

    return Clusters(anywhere.build(game), tuple(touching(cell) for cell in range(reels * rows)))


def cluster_wins(
    table: Clusters, cells: tuple[int, ...], coin_minor: int, multiplier: int
) -> tuple[outcome.SymbolWin, ...]:
    """Every paying cluster of a grid, by its first cell; two that share a wild there, in the order of the
    definition."""
    pays = table.pays
    found = []
    for symbol in pays.symbols:
        if symbol.id not in cells:
            continue
        loose = {cell for cell, shown in enumerate(cells) if shown in symbol.matches}
        if len(loose) < symbol.count_min:
            continue
        while loose:
            cluster = _grow(loose, table.neighbours)
            # A group of wilds alone is no cluster of the symbol.
            if len(cluster) >= symbol.count_min and any(cells[cell] == symbol.id for cell in cluster):
                cluster.sort()
                factor = multiplier * math.prod([pays.factors[cells[cell]] for cell in cluster])
                found.append((cluster[0], anywhere.win(pays, symbol, cluster, coin_minor, factor)))
    found.sort(key=lambda entry: entry[0])
    return tuple([win for _, win in found])


def _grow(loose: set[int], neighbours: tuple[tuple[int, ...], ...]) -> list[int]:
    """Takes one cell out of `loose` and all that hang together with it."""
    cluster = [loose.pop()]
    for cell in cluster:  # grows while it is walked
        for beside in neighbours[cell]:
            if beside in loose:
                loose.remove(beside)
                cluster.append(beside)
    return cluster
