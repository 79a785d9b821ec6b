"""Every screen of a reel set, one after the other, its grid evaluated whole, with all that falls into it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from services.game.maths.cycle import wins
from services.game.maths.cycle.table import Table, add
from services.game.maths.kernel.compiled import compiled
from services.game.maths.rules import Flags, Ints, Rules

DONE, FULL, TOO_MUCH = range(3)


class Cycle(NamedTuple):
    """What is run through."""

    windows: Ints
    """[reel][number][row] -> symbol as drawn; with falls the number is the stop."""
    codes: Ints
    """[reel][number] -> what it counts, see `histogram.Radix`."""
    weights: Ints
    """[reel][number]."""
    weighed: bool
    """Whether any weight is above 1."""
    sizes: Ints
    """[reel] -> numbers in use."""
    strips: Ints
    """[reel][index] -> symbol, of the same sizes; used by falls only."""
    evaluation: int
    direction: int
    expands: bool
    falls: Ints
    """Multiplier of the first grid and of each fall that may follow."""
    radix: Ints
    """By `Rules.special`: what one such symbol adds to the code of a grid that fell."""
    radix_size: int
    coins_max: int
    """A screen that wins more could make the sums overflow."""


class Room(NamedTuple):
    """[reel][row] or [reel]."""

    stops: Ints
    drawn: Ints
    tops: Ints


def room(cycle: Cycle, board: wins.Board) -> Room:
    indices = np.zeros((2, cycle.sizes.size), np.int64)
    changes = cycle.expands or cycle.falls.size > 1
    return Room(indices[0], np.zeros_like(board.grid) if changes else board.grid, indices[1])


@compiled
def run(rules: Rules, cycle: Cycle, room: Room, board: wins.Board, sums: Ints, table: Table) -> int:
    """Add to `board.tally`, or if `weighed` to `sums`: [symbol][count] -> coins. Add to the table:
    coins * radix_size + code of the last grid -> screens.

    Returns DONE, FULL when the table is, or TOO_MUCH when a screen wins more than `coins_max`.
    """
    reels = cycle.sizes.size
    changed = 0
    while changed >= 0:
        for reel in range(changed, reels):
            for row in range(room.drawn.shape[1]):
                room.drawn[reel, row] = cycle.windows[reel, room.stops[reel], row]
        coins = _screen(rules, cycle, room, board)
        if coins > cycle.coins_max:
            return TOO_MUCH
        weight, code = 1, 0
        for reel in range(reels):
            weight *= cycle.weights[reel, room.stops[reel]]
            code += cycle.codes[reel, room.stops[reel]]
        if cycle.falls.size > 1:
            code = _code(rules, cycle, board.grid)
        if coins and cycle.weighed:
            for symbol in range(sums.shape[0]):
                for count in range(sums.shape[1]):
                    sums[symbol, count] += board.tally[symbol, count] * weight
                    board.tally[symbol, count] = 0
        if not add(table, coins * cycle.radix_size + code, weight):
            return FULL
        changed = _next(cycle, room)
    return DONE


@compiled
def _next(cycle: Cycle, room: Room) -> int:
    """Go to the next stops, the last reel first: the first reel that moved, -1 at the end."""
    reel = cycle.sizes.size - 1
    while reel >= 0:
        room.stops[reel] += 1
        if room.stops[reel] < cycle.sizes[reel]:
            break
        room.stops[reel] = 0
        reel -= 1
    return reel


@compiled
def _screen(rules: Rules, cycle: Cycle, room: Room, board: wins.Board) -> int:
    """Coins of the screen at the stops; with falls the board's grid is the last one then."""
    if cycle.falls.size == 1 and not cycle.expands:  # the grid is `drawn` itself
        return wins.evaluate(rules, cycle.evaluation, cycle.direction, board, cycle.falls[0])
    for reel in range(cycle.sizes.size):
        room.tops[reel] = room.stops[reel]
        for row in range(board.grid.shape[1]):
            board.grid[reel, row] = room.drawn[reel, row]
    if cycle.expands:
        _expand(rules, board.grid)
    if cycle.falls.size == 1:
        return wins.evaluate(rules, cycle.evaluation, cycle.direction, board, cycle.falls[0])
    coins = 0
    for fall in range(cycle.falls.size):
        board.won[:] = False
        won = wins.evaluate(rules, cycle.evaluation, cycle.direction, board, cycle.falls[fall])
        coins += won
        if won == 0 or fall + 1 == cycle.falls.size:
            break
        for reel in range(cycle.sizes.size):
            strip = cycle.strips[reel, : cycle.sizes[reel]]
            room.tops[reel] = _fall(board.grid[reel], board.won[reel], strip, room.tops[reel])
    return coins


@compiled
def _code(rules: Rules, cycle: Cycle, shown: Ints) -> int:
    code = 0
    for reel in range(shown.shape[0]):
        for row in range(shown.shape[1]):
            code += cycle.radix[rules.special[shown[reel, row]]]
    return code


@compiled
def _expand(rules: Rules, grid: Ints) -> None:
    reels, rows = grid.shape
    for reel in range(reels):
        for row in range(rows):
            if rules.expands[grid[reel, row]]:
                wild = grid[reel, row]
                for to_row in range(rows):
                    grid[reel, to_row] = wild
                break


@compiled
def _fall(cells: Ints, won: Flags, strip: Ints, top: int) -> int:
    """Drop what is left of a reel; the strip continues upwards from where it stood. Returns its new top."""
    free = cells.size - 1
    for row in range(cells.size - 1, -1, -1):
        if not won[row]:
            cells[free] = cells[row]
            free -= 1
    top = (top - free - 1) % strip.size
    for row in range(free + 1):
        cells[row] = strip[(top + row) % strip.size]
    return top
