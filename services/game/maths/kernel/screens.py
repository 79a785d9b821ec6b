"""One stop of the reels: what it draws, what falls, and what that pays.

Two roads to the same result. A screen of strips without falls looks up its first reels in a table made
beforehand (`Prefix`): nearly every line is decided there. Every other screen is drawn cell by cell.
"""

from __future__ import annotations

from typing import NamedTuple

from services.game.maths.kernel.compiled import compiled, inlined
from services.game.maths.kernel.draws import Counts, Source, below
from services.game.maths.kernel.wins import (
    LINES,
    PRODUCT_MAX,
    Board,
    Cells,
    Wins,
    grid_win,
    line_win,
    times,
)

PAID, FREE = 0, 1
"""The reels of a screen: axis 0 of the tables below."""
COUNT_BITS = 16
_COUNT_MASK = (1 << COUNT_BITS) - 1
_TALLY_BITS = 20
_TALLY_MASK = (1 << _TALLY_BITS) - 1


class Reels(NamedTuple):
    """How screens are drawn."""

    bounds: Counts
    """[set, reel]: length of the strip, or sum of the weights."""
    by_weight: Cells
    """[set]: 1 when cells are drawn by weight."""
    strips: Cells
    """[set, reel, stop]: the strip, followed by as many of its first symbols as there are rows."""
    cumulative: Counts
    """[set, reel, symbol]: weights up to and with the symbol."""
    guide: Cells
    """[set, reel, value >> shift]: the first symbol that may be meant."""
    shift: Counts
    """[set, reel]."""
    tally: Counts
    """[symbol]: 1 for a scatter, 1 << 20 for a bonus symbol, 1 << 40 for a coin."""
    expands: Cells
    """[symbol]: 1 for a wild that fills its reel."""
    any_expands: int
    falls_max: int
    multipliers: Counts
    """[set, fall]: of the cascade; the last holds for later falls."""


class Prefix(NamedTuple):
    """The first reels of a run, evaluated beforehand. A candidate is a line or, of ways, a symbol."""

    depth: Counts
    """[set]: reels that are looked up; 0: the set is drawn cell by cell."""
    table: Counts
    """[set, pass, stops of the first reels, 0]: coins that are decided; 1: the first place in `open` of what
    is not, << COUNT_BITS, plus its length."""
    open: Counts
    """[set, pass, place]: candidates that the further reels decide."""
    windows: Cells
    """[set, reel, stop, row]: symbols as they win."""
    matching: Counts
    """[set, reel, stop, symbol]: ways through a reel."""
    tally: Counts
    """[set, reel, stop]: the sum of `Reels.tally` over the window."""


def scatters_of(tally: int) -> int:
    """Scatters in a tally."""
    return tally & _TALLY_MASK


def bonuses_of(tally: int) -> int:
    """Bonus symbols in a tally."""
    return (tally >> _TALLY_BITS) & _TALLY_MASK


def coins_of(tally: int) -> int:
    """Coins in a tally."""
    return tally >> (2 * _TALLY_BITS)


scatters_of, bonuses_of, coins_of = inlined(scatters_of), inlined(bonuses_of), inlined(coins_of)


@inlined
def candidate_win(
    wins: Wins, prefix: Prefix, board: Board, which: int, direction: int, candidate: int, length: int
) -> tuple[int, int]:
    """What a line, or a symbol's ways, pays over the first `length` reels: (coins, reels that decided it)."""
    if wins.evaluation == LINES:
        for step in range(length):
            reel = wins.order[direction, step]
            row = wins.lines[candidate, reel]
            board.run[step] = prefix.windows[which, reel, board.stops[reel], row]
        coins, paid, decided = line_win(wins, board.run, length)
    else:
        product = 1
        paid = 0
        while paid < length:
            reel = wins.order[direction, paid]
            matching = prefix.matching[which, reel, board.stops[reel], candidate]
            if matching == 0:
                break
            product = min(product * matching, PRODUCT_MAX)
            paid += 1
        coins, decided = times(wins.pays[candidate, paid], product), paid
    if direction == 1 and paid == wins.reels:
        return 0, decided  # it was paid from the left
    return coins, decided


@inlined
def _looked_up(
    wins: Wins, reels: Reels, prefix: Prefix, board: Board, source: Source, which: int
) -> tuple[int, int]:
    tally = 0
    for reel in range(wins.reels):
        stop = below(source, reels.bounds[which, reel])
        board.stops[reel] = stop
        tally += prefix.tally[which, reel, stop]
    sum_coins = 0
    for direction in range(wins.order.shape[0]):
        entry = 0
        for step in range(prefix.depth[which]):
            reel = wins.order[direction, step]
            entry = entry * reels.bounds[which, reel] + board.stops[reel]
        sum_coins += prefix.table[which, direction, entry, 0]
        undecided = prefix.table[which, direction, entry, 1]
        first = undecided >> COUNT_BITS
        for place in range(first, first + (undecided & _COUNT_MASK)):
            candidate = prefix.open[which, direction, place]
            coins, _ = candidate_win(wins, prefix, board, which, direction, candidate, wins.reels)
            sum_coins += coins
    return sum_coins, tally


@inlined
def by_weight(cumulative: Counts, value: int, first: int) -> int:
    """The place in a list of summed weights that a drawn value means; it is not before `first`."""
    place = first
    while value >= cumulative[place]:
        place += 1
    return place


@inlined
def _draw_cell(reels: Reels, source: Source, which: int, reel: int) -> int:
    value = below(source, reels.bounds[which, reel])
    first = reels.guide[which, reel, value >> reels.shift[which, reel]]
    return by_weight(reels.cumulative[which, reel], value, first)


@compiled
def _draw_grid(wins: Wins, reels: Reels, board: Board, source: Source, which: int) -> None:
    for reel in range(wins.reels):
        if reels.by_weight[which]:
            for row in range(wins.rows):
                board.grid[reel * wins.rows + row] = _draw_cell(reels, source, which, reel)
        else:
            board.stops[reel] = below(source, reels.bounds[which, reel])
    if not reels.by_weight[which]:
        show(wins, reels, board, which)


@inlined
def show(wins: Wins, reels: Reels, board: Board, which: int) -> None:
    """Fill the grid from where the strips stand."""
    for reel in range(wins.reels):
        for row in range(wins.rows):
            board.grid[reel * wins.rows + row] = reels.strips[which, reel, board.stops[reel] + row]


@inlined
def _expand(wins: Wins, reels: Reels, board: Board) -> None:
    """A reel with an expanding wild is seen as that wild; of two the upper one."""
    for start in range(0, board.seen.size, wins.rows):
        for cell in range(start, start + wins.rows):
            if reels.expands[board.grid[cell]]:
                for place in range(start, start + wins.rows):
                    board.seen[place] = board.grid[cell]
                break


@compiled
def _fall(wins: Wins, reels: Reels, board: Board, source: Source, which: int) -> None:
    """Take the cells that won away, let the rest drop, and fill from above."""
    for reel in range(wins.reels):
        top = reel * wins.rows
        place = top + wins.rows - 1
        for cell in range(place, top - 1, -1):
            if not board.won[cell]:
                board.grid[place] = board.grid[cell]
                place -= 1
        removed = place - top + 1
        if reels.by_weight[which]:
            for cell in range(top, place + 1):
                board.grid[cell] = _draw_cell(reels, source, which, reel)
        elif removed:
            length = reels.bounds[which, reel]
            stop = (board.stops[reel] + length - removed) % length
            board.stops[reel] = stop
            for row in range(removed):
                board.grid[top + row] = reels.strips[which, reel, stop + row]


@compiled
def _drawn(wins: Wins, reels: Reels, board: Board, source: Source, which: int) -> tuple[int, int, int]:
    _draw_grid(wins, reels, board, source, which)
    sum_coins = 0
    falls = 0
    while True:
        for cell in range(board.grid.size):
            board.seen[cell] = board.grid[cell]
            board.won[cell] = 0
        if reels.any_expands:
            _expand(wins, reels, board)
        coins = grid_win(wins, board)
        sum_coins += times(coins, reels.multipliers[which, min(falls, reels.multipliers.shape[1] - 1)])
        if coins == 0 or falls == reels.falls_max:
            break
        _fall(wins, reels, board, source, which)
        falls += 1
    tally = 0
    for symbol in board.grid:
        tally += reels.tally[symbol]
    return sum_coins, tally, falls


@inlined
def screen(
    wins: Wins, reels: Reels, prefix: Prefix, board: Board, source: Source, which: int
) -> tuple[int, int, int]:
    """Draw and evaluate one screen: (coins without scatters, tally of its last grid, falls)."""
    if prefix.depth[which]:
        coins, tally = _looked_up(wins, reels, prefix, board, source, which)
        return coins, tally, 0
    return _drawn(wins, reels, board, source, which)
