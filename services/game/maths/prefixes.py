"""The exact distribution of line and ways wins of a screen: the arrays of `cycle.walk`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from services.game.engine.definition import GameDefinition
from services.game.maths import exact, histogram, reels
from services.game.maths.cycle import walk
from services.game.maths.histogram import Histogram, Radix
from services.game.maths.reels import Counts, Reel
from services.game.maths.rules import NONE, Ints, Rules

TOTAL_MAX = 1 << 60
"""Largest cycle whose numbers fit the kernel."""
COUNTED_MAX = 1 << 62
BOTH_MAX = 400_000_000
"""Largest cycle where runs of both directions pay: nothing is cut short there."""


def screen_histogram(game: GameDefinition, rules: Rules, shown: Sequence[Reel]) -> Histogram:
    """The histogram of a screen of lines or ways without cascade.

    Errors: ValueError when the reels have too many windows or draws.
    """
    total = reels.totals_of(shown)
    both = game.direction == "both"
    if total > (BOTH_MAX if both else TOTAL_MAX):
        raise ValueError(f"a cycle of {total:,} is too long")
    mirrored = game.direction == "right"
    ordered = shown[::-1] if mirrored else shown
    radix = histogram.radix_of(reels.count_weights(shown))
    ways = game.evaluation == "ways"
    if ways:
        paying = np.flatnonzero(rules.regular & rules.pays.any(axis=1))
        arrays = _match_arrays(rules, ordered, radix, paying.tolist())
        rules = rules._replace(pays=np.ascontiguousarray(rules.pays[paying]), payer=NONE)
        items = paying.size
    else:
        arrays = _window_arrays(rules, ordered, radix)
        if mirrored:
            rules = rules._replace(lines=np.ascontiguousarray(rules.lines[:, ::-1]))
        items = len(rules.lines)
    factors = int(rules.multiplier.max()) ** game.grid.reels * (
        game.grid.rows**game.grid.reels if ways else 1
    )
    if 2 * items * int(rules.pays.max()) * factors * radix.size > COUNTED_MAX:
        raise ValueError("wins beyond what the kernel counts")
    prefixes = walk.Prefixes(ways, both, *arrays, *_rest_arrays(ordered, radix), radix.size)
    return histogram.collect(
        lambda table: walk.walk(rules, prefixes, walk.room(prefixes, items), table), radix, total
    )


def _window_arrays(rules: Rules, shown: Sequence[Reel], radix: Radix) -> tuple[Ints, Ints, Ints, Ints]:
    by_reel = []
    for reel in shown:
        if reel.windows is None:
            raise ValueError("too many windows by weights")
        by_reel.append(
            [
                (reels.expanded(rules, window), reels.counts_of(rules, window), weight)
                for window, weight in reel.windows.items()
            ]
        )
    return _entry_arrays(by_reel, radix)


def _match_arrays(
    rules: Rules, shown: Sequence[Reel], radix: Radix, symbols: Sequence[int]
) -> tuple[Ints, Ints, Ints, Ints]:
    by_reel = []
    for reel in shown:
        merged: dict[tuple[tuple[int, ...], Counts], int] = {}
        for view, weight in reel.views.items():
            found_here = tuple(exact.matches(rules, symbol, view.symbols) for symbol in symbols)
            key = (found_here, view.counts)
            merged[key] = merged.get(key, 0) + weight
        by_reel.append([(*key, weight) for key, weight in merged.items()])
    return _entry_arrays(by_reel, radix)


def _entry_arrays(
    by_reel: Sequence[Sequence[tuple[tuple[int, ...], Counts, int]]], radix: Radix
) -> tuple[Ints, Ints, Ints, Ints]:
    """By reel and entry: what it shows, the code of its counts, its weight; and the entries of each reel."""
    size = max(len(entries) for entries in by_reel)
    found = np.zeros((len(by_reel), size, len(by_reel[0][0][0])), np.int64)
    codes = np.zeros((len(by_reel), size), np.int64)
    weights = np.zeros((len(by_reel), size), np.int64)
    for reel, entries in enumerate(by_reel):
        for i, (shown, counts, weight) in enumerate(entries):
            found[reel, i] = shown
            codes[reel, i] = radix.code(counts)
            weights[reel, i] = weight
    return found, codes, weights, np.array([len(entries) for entries in by_reel], np.int64)


def _rest_arrays(shown: Sequence[Reel], radix: Radix) -> tuple[Ints, Ints, Ints]:
    """By depth: codes that the reels from there on show together, with their number of draws."""
    rest: list[Mapping[Counts, int]] = [reels.count_weights(shown[depth:]) for depth in range(len(shown) + 1)]
    size = max(len(counts) for counts in rest)
    codes = np.zeros((len(rest), size), np.int64)
    weights = np.zeros((len(rest), size), np.int64)
    for depth, counts in enumerate(rest):
        for i, (shows, weight) in enumerate(counts.items()):
            codes[depth, i] = radix.code(shows)
            weights[depth, i] = weight
    return codes, weights, np.array([len(counts) for counts in rest], np.int64)
