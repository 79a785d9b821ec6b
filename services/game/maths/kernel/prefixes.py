"""The first reels of every run, evaluated beforehand: most lines lose there, at one look-up for all."""

from __future__ import annotations

import itertools
import math

import numpy as np

from services.game.maths.kernel import screens, wins
from services.game.maths.kernel.compiled import compiled
from services.game.maths.kernel.draws import Counts

_ENTRIES_MAX = 1 << 18


def build(paid: wins.Wins, reels: screens.Reels) -> screens.Prefix:
    """The look-ups of both reel sets; depth 0 where cells fall or are drawn by weight, or where what wins
    has no first reel."""
    # One memory layout: another would be another type, and compiled again.
    windows = np.ascontiguousarray(_windows(paid, reels))
    prefix = screens.Prefix(
        depth=np.zeros(2, np.int64),
        table=np.zeros((2, len(paid.order), 1, 2), np.int64),
        open=np.zeros((2, len(paid.order), 1), np.int64),
        windows=windows,
        matching=np.ascontiguousarray(_matching(paid, windows)),
        tally=np.ascontiguousarray(reels.tally[_unexpanded(paid, reels)].sum(axis=3)),
    )
    depths = [_depth(paid, reels, which) for which in (screens.PAID, screens.FREE)]
    if not any(depths):
        return prefix
    lines = paid.evaluation == wins.LINES
    candidates = np.arange(len(paid.lines)) if lines else np.flatnonzero(paid.lowest <= paid.reels)
    sides = range(len(paid.order))
    entries = max(_entries(paid, reels, which, side, depths[which]) for which in (0, 1) for side in sides)
    table = np.zeros((2, len(sides), entries, 2), np.int64)
    places = 1
    found: dict[tuple[int, int], Counts] = {}
    board = wins.board(paid)
    for which, side in itertools.product((screens.PAID, screens.FREE), sides):
        if depths[which]:
            size = _entries(paid, reels, which, side, depths[which])
            candidates_open = np.empty(
                size * len(candidates), np.int64
            )  # room for all; pages unused stay free
            number = _decide(
                paid,
                reels,
                prefix,
                board,
                which,
                side,
                depths[which],
                candidates,
                table[which, side, :size],
                candidates_open,
            )
            found[which, side] = candidates_open[:number].copy()
            places = max(places, number)
    still_open = np.zeros((2, len(sides), places), np.int64)
    for (which, side), open_here in found.items():
        still_open[which, side, : len(open_here)] = open_here
    return prefix._replace(depth=np.array(depths, np.int64), table=table, open=still_open)


def _entries(paid: wins.Wins, reels: screens.Reels, which: int, side: int, depth: int) -> int:
    return math.prod(int(reels.bounds[which, reel]) for reel in paid.order[side, :depth])


def _depth(paid: wins.Wins, reels: screens.Reels, which: int) -> int:
    """As many reels as the table has room for, at least one."""
    if reels.falls_max or reels.by_weight[which] or paid.evaluation not in (wins.LINES, wins.WAYS):
        return 0
    sides = range(len(paid.order))
    depth = 1
    while depth < paid.reels and all(
        _entries(paid, reels, which, side, depth + 1) <= _ENTRIES_MAX for side in sides
    ):
        depth += 1
    return depth


def _unexpanded(paid: wins.Wins, reels: screens.Reels) -> wins.Cells:
    """[set, reel, stop, row]: symbols as drawn."""
    stops = reels.strips.shape[2] - paid.rows
    return np.stack([reels.strips[:, :, row : row + stops] for row in range(paid.rows)], axis=3)


def _windows(paid: wins.Wins, reels: screens.Reels) -> wins.Cells:
    """The same, as they win: a window with an expanding wild is that wild, of two the upper one."""
    windows = _unexpanded(paid, reels)
    expands = reels.expands[windows].astype(bool)
    first = np.take_along_axis(windows, expands.argmax(axis=3)[..., None], axis=3)
    return np.where(expands.any(axis=3, keepdims=True), first, windows)


def _matching(paid: wins.Wins, windows: wins.Cells) -> Counts:
    """[set, reel, stop, symbol]: ways through the window, a wild by its multiplier."""
    symbols = np.arange(len(paid.wild))
    own = windows[..., None] == symbols
    joined = paid.wild[windows].astype(bool)[..., None] & paid.takes.astype(bool)
    ways: Counts = ((own | joined) * paid.multiplier[windows][..., None]).sum(axis=3)
    return ways


@compiled
def _decide(
    paid: wins.Wins,
    reels: screens.Reels,
    prefix: screens.Prefix,
    board: wins.Board,
    which: int,
    side: int,
    depth: int,
    candidates: Counts,
    table: Counts,
    candidates_open: Counts,
) -> int:
    """Fill the table of one reel set and side, and what is open; answer the number of the latter."""
    places = 0
    for entry in range(table.shape[0]):
        rest = entry
        for step in range(depth - 1, -1, -1):
            reel = paid.order[side, step]
            board.stops[reel] = rest % reels.bounds[which, reel]
            rest //= reels.bounds[which, reel]
        first = places
        for candidate in candidates:
            coins, decided = screens.candidate_win(paid, prefix, board, which, side, candidate, depth)
            if decided < depth or depth == paid.reels:
                table[entry, 0] += coins
                continue
            candidates_open[places] = candidate
            places += 1
        table[entry, 1] = (first << screens.COUNT_BITS) + places - first
    return places
