"""What the windows of one reel set show, with how many of its equally likely draws show it.

A reel is either a strip, whose windows are its stops, or weights, by which every cell is drawn on its own.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from services.game.engine.definition import GameDefinition
from services.game.maths.rules import Rules, rules_of

WINDOWS_MAX = 4096
"""Most windows of one reel that are written out when it is given by weights."""

Window = tuple[int, ...]
"""Symbol ids, top row first."""


class Counts(NamedTuple):
    """What is counted anywhere on a grid."""

    scatters: int = 0
    bonuses: int = 0
    coins: int = 0

    def plus(self, other: Counts) -> Counts:
        return Counts(self.scatters + other.scatters, self.bonuses + other.bonuses, self.coins + other.coins)


class View(NamedTuple):
    """A window without its order."""

    symbols: Window
    """As evaluated, wilds expanded, sorted."""
    counts: Counts
    """As drawn."""


class Reel(NamedTuple):
    """One reel. All weights are whole and sum to `total` in each of the three readings."""

    total: int
    cells: tuple[Mapping[int, int], ...]
    """By row: symbol as evaluated -> weight."""
    views: Mapping[View, int]
    windows: Mapping[Window, int] | None
    """As drawn -> weight; None when there are more than WINDOWS_MAX."""


def reel_set(game: GameDefinition, name: str) -> tuple[Reel, ...]:
    """The reels `name` of a game, from the left."""
    rules = rules_of(game)
    ids = {symbol.name: index for index, symbol in enumerate(game.symbols)}
    if name in game.strips:
        strips = [[ids[symbol] for symbol in strip] for strip in game.strips[name]]
        return tuple(_of_windows(rules, _stops(strip, game.grid.rows)) for strip in strips)
    weighted = []
    for weights in game.weights[name]:
        common = math.gcd(*weights.values())
        weighted.append({ids[symbol]: weight // common for symbol, weight in weights.items()})
    return tuple(_of_weights(rules, weights, game.grid.rows) for weights in weighted)


def counts_of(rules: Rules, symbols: Iterable[int]) -> Counts:
    """The scatters, bonus symbols and coins among some symbols."""
    kinds = Counter(int(rules.special[symbol]) for symbol in symbols)
    return Counts(kinds[1], kinds[2], kinds[3])


def expanded(rules: Rules, window: Window) -> Window:
    """The window as its wins are evaluated: the upper expanding wild fills the reel."""
    for symbol in window:
        if rules.expands[symbol]:
            return (symbol,) * len(window)
    return window


def totals_of(reels: Sequence[Reel]) -> int:
    """Equally likely draws of the whole set: its cycle."""
    return math.prod(reel.total for reel in reels)


def count_weights(reels: Sequence[Reel]) -> dict[Counts, int]:
    """How many draws of the set show each combination of counts."""
    weights = {Counts(): 1}
    for reel in reels:
        by_counts: Counter[Counts] = Counter()
        for view, weight in reel.views.items():
            by_counts[view.counts] += weight
        convolved: Counter[Counts] = Counter()
        for before, weight in weights.items():
            for counts, more in by_counts.items():
                convolved[before.plus(counts)] += weight * more
        weights = dict(convolved)
    return weights


def _stops(strip: Sequence[int], rows: int) -> Counter[Window]:
    return Counter(
        tuple(strip[(stop + row) % len(strip)] for row in range(rows)) for stop in range(len(strip))
    )


def _of_windows(rules: Rules, windows: Counter[Window]) -> Reel:
    rows = len(next(iter(windows)))
    cells: list[Counter[int]] = [Counter() for _ in range(rows)]
    views: Counter[View] = Counter()
    for window, weight in windows.items():
        shown = expanded(rules, window)
        for row, symbol in enumerate(shown):
            cells[row][symbol] += weight
        views[View(tuple(sorted(shown)), counts_of(rules, window))] += weight
    return Reel(windows.total(), tuple(cells), views, windows)


def _of_weights(rules: Rules, weights: Mapping[int, int], rows: int) -> Reel:
    total = sum(weights.values())
    expanding = sum(weight for symbol, weight in weights.items() if rules.expands[symbol])
    cell: Counter[int] = Counter()
    for symbol, weight in weights.items():
        if rules.expands[symbol]:
            # Of all windows with an expanding wild: those where this one is the upper.
            cell[symbol] = weight * (total**rows - (total - expanding) ** rows) // expanding
        else:
            cell[symbol] = weight * (total - expanding) ** (rows - 1)
    views: Counter[View] = Counter()
    for symbols in itertools.combinations_with_replacement(sorted(weights), rows):
        numbers = Counter(symbols)
        arranged = math.factorial(rows)
        for symbol, number in numbers.items():
            arranged = arranged // math.factorial(number) * weights[symbol] ** number
        counts = counts_of(rules, symbols)
        wilds = {symbol: number for symbol, number in numbers.items() if rules.expands[symbol]}
        for symbol, number in wilds.items():
            views[View((symbol,) * rows, counts)] += arranged * number // sum(wilds.values())
        if not wilds:
            views[View(symbols, counts)] += arranged
    windows = None
    if len(weights) ** rows <= WINDOWS_MAX:
        windows = {
            window: math.prod(weights[symbol] for symbol in window)
            for window in itertools.product(sorted(weights), repeat=rows)
        }
    return Reel(total**rows, (cell,) * rows, views, windows)
