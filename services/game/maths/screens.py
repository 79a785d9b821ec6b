"""One screen of a reel set, by the best method there is for it."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from services.game.engine.definition import GameDefinition
from services.game.maths import exact, histogram, prefixes, reels
from services.game.maths.cycle import run, wins
from services.game.maths.cycle.table import Table
from services.game.maths.histogram import Histogram, Radix
from services.game.maths.reels import Counts, Reel
from services.game.maths.rules import Ints, Rules, rules_of

CYCLE_MAX = 400_000_000
"""Largest cycle that is run through, at 0.1 to 2 us a screen."""
SUM_MAX = 1 << 62


class NoExactMethod(Exception):
    """The text says why."""


class Screen(NamedTuple):
    """One screen, before `free_spins.multiplier`."""

    method: str
    pays: Mapping[tuple[str, int], Fraction]
    """(symbol, count) -> mean coins, scatters not included."""
    counts: Mapping[Counts, Fraction]
    """What the last grid shows -> probability."""
    histogram: Histogram | None
    """None when only means are exact."""

    @property
    def mean_coins(self) -> Fraction:
        return sum(self.pays.values(), Fraction(0))


@functools.lru_cache(maxsize=8)  # modes share their reels
def screen_of(game: GameDefinition, name: str, *, free: bool) -> Screen:
    """A screen on the reels `name`; `free` chooses the multipliers of cascades. Errors: NoExactMethod."""
    shown = reels.reel_set(game, name)
    if game.cascade is not None or game.evaluation == "clusters":
        return full_cycle(game, name, free=free)
    rules = rules_of(game)
    total = reels.totals_of(shown)
    found = _wins(game, rules, name, shown)
    return Screen(
        method="symbol counts" + (", prefix walk" if found else ""),
        pays=_means(game, exact.screen_pays(game, rules, shown), total),
        counts={counts: Fraction(weight, total) for counts, weight in reels.count_weights(shown).items()},
        histogram=found,
    )


def full_cycle(game: GameDefinition, name: str, *, free: bool) -> Screen:
    """A screen by evaluating the whole cycle. Errors: NoExactMethod."""
    rules = rules_of(game)
    if game.cascade is not None and name not in game.strips:
        raise NoExactMethod("cascades on weighted reels draw without end")
    shown = reels.reel_set(game, name)
    total = reels.totals_of(shown)
    windows, weights, sizes, strips = _arrays(game, name, shown)
    combinations = math.prod(sizes.tolist())
    if combinations > CYCLE_MAX:
        raise NoExactMethod(f"a cycle of {combinations:,} screens is above {CYCLE_MAX:,}")
    radix = histogram.radix_of(_countable(game, rules, shown))
    cycle = run.Cycle(
        windows=windows,
        codes=_codes(rules, windows, radix),
        weights=weights,
        weighed=bool((weights > 1).any()),
        sizes=sizes,
        strips=strips,
        evaluation=("lines", "ways", "clusters", "anywhere").index(game.evaluation),
        direction=("left", "right", "both").index(game.direction),
        expands=bool(rules.expands.any()),
        falls=_fall_multipliers(game, free=free),
        radix=np.array([0, 1, radix.bonus, radix.coin], np.int64),
        radix_size=radix.size,
        coins_max=min(SUM_MAX // total, wins.PRODUCT_MAX - 1),
    )
    sums = np.zeros_like(rules.pays)

    def count(table: Table) -> bool:
        board = wins.board(rules, game.grid.reels, game.grid.rows)
        sums[:] = 0
        result = run.run(rules, cycle, run.room(cycle, board), board, sums, table)
        if result == run.TOO_MUCH:
            raise NoExactMethod("its wins are beyond what is counted exactly")
        if not cycle.weighed:
            sums[:] = board.tally
        return result == run.DONE

    found = histogram.collect(count, radix, total)
    pays = Counter({(s, n): int(sums[s, n]) for s, n in np.argwhere(sums).tolist()})
    return Screen(
        method=f"full cycle of {combinations:,} screens",
        pays=_means(game, pays, total),
        counts={counts: Fraction(sum(draws.values()), total) for counts, draws in found.draws.items()},
        histogram=found,
    )


def _wins(game: GameDefinition, rules: Rules, name: str, shown: tuple[Reel, ...]) -> Histogram | None:
    try:
        if game.evaluation == "anywhere":
            return full_cycle(game, name, free=False).histogram
        return prefixes.screen_histogram(game, rules, shown)
    except (NoExactMethod, ValueError):
        return None


def _means(game: GameDefinition, pays: exact.Pays, total: int) -> dict[tuple[str, int], Fraction]:
    return {
        (game.symbols[symbol].name, count): Fraction(paid, total)
        for (symbol, count), paid in sorted(pays.items())
    }


def _fall_multipliers(game: GameDefinition, *, free: bool) -> Ints:
    """Of the first grid and of each fall."""
    if game.cascade is None:
        return np.ones(1, np.int64)
    listed = (free and game.cascade.free_multipliers) or game.cascade.multipliers
    last = len(listed) - 1
    return np.array([listed[min(fall, last)] for fall in range(game.cascade.falls_max + 1)], np.int64)


def _countable(game: GameDefinition, rules: Rules, shown: tuple[Reel, ...]) -> list[Counts]:
    """Counts that a last grid may show. What falls in may be anything."""
    if game.cascade is None:
        return list(reels.count_weights(shown))
    cells = game.grid.reels * game.grid.rows
    return [Counts(*(cells * bool((rules.special == kind).any()) for kind in (1, 2, 3)))]


def _arrays(game: GameDefinition, name: str, shown: tuple[Reel, ...]) -> tuple[Ints, Ints, Ints, Ints]:
    """Windows, their weights and number by reel, and the strips (of cascades: a window per stop)."""
    rows = game.grid.rows
    if name in game.strips:
        ids = {symbol.name: index for index, symbol in enumerate(game.symbols)}
        strips = [[ids[symbol] for symbol in strip] for strip in game.strips[name]]
        entries = [
            [([strip[(stop + row) % len(strip)] for row in range(rows)], 1) for stop in range(len(strip))]
            for strip in strips
        ]
    else:
        strips = [[] for _ in shown]
        entries = []
        for reel in shown:
            if reel.windows is None:
                raise NoExactMethod("too many windows by weights")
            entries.append([(list(window), weight) for window, weight in reel.windows.items()])
    size = max(len(reel) for reel in entries)
    windows = np.zeros((len(shown), size, rows), np.int64)
    weights = np.ones((len(shown), size), np.int64)
    circular = np.zeros((len(shown), size), np.int64)
    for reel_index, reel_entries in enumerate(entries):
        circular[reel_index, : len(strips[reel_index])] = strips[reel_index]
        for number, (window, weight) in enumerate(reel_entries):
            windows[reel_index, number] = window
            weights[reel_index, number] = weight
    return windows, weights, np.array([len(reel) for reel in entries], np.int64), circular


def _codes(rules: Rules, windows: Ints, radix: Radix) -> Ints:
    codes = np.zeros(windows.shape[:2], np.int64)
    for reel, number in np.ndindex(codes.shape):
        codes[reel, number] = radix.code(reels.counts_of(rules, windows[reel, number].tolist()))
    return codes
