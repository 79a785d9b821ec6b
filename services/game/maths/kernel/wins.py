"""What wins pay, in coins: one run of a line, one symbol's ways, or all that a grid holds.

Products stop at `PRODUCT_MAX` and amounts at `COINS_MAX`, both above every cap (`tables.build` checks it), so
that nothing overflows and a round that got there is capped as it should be.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from services.game.maths.kernel.compiled import compiled, inlined
from services.game.maths.kernel.draws import Counts

Cells = npt.NDArray[np.uint8]

PRODUCT_MAX = 1 << 31
COINS_MAX = 1 << 40
LINES, WAYS, CLUSTERS, ANYWHERE = range(4)
"""How a grid is evaluated."""


class Wins(NamedTuple):
    """What a game pays for. Symbols are numbered in the order of the definition."""

    evaluation: int
    reels: int
    rows: int
    order: Counts
    """[pass, step]: the reel that a run reaches at its step. One pass per direction."""
    lines: Counts
    """[line, reel]: row."""
    pays: Counts
    """[symbol, count], coins; a count that is not listed is filled as the format says."""
    lowest: Counts
    """[symbol]: the fewest that pay; above every count when it never pays."""
    wild: Cells
    """[symbol]: 1 for a wild."""
    takes: Cells
    """[symbol]: 1 for a regular symbol for which wilds stand in."""
    regular: Cells
    """[symbol]: 1 for a regular symbol."""
    multiplier: Counts
    """[symbol], 1 but for wilds."""
    paid_wild: int
    """The wild that has pays, or -1."""


class Board(NamedTuple):
    """Working memory, made once: cells are numbered reel by reel, top to bottom."""

    stops: Counts
    """[reel]: where the strip stands, of its top row."""
    grid: Cells
    """[cell]: the symbols as they stand."""
    seen: Cells
    """[cell]: the symbols as they win: wilds expanded."""
    won: Cells
    """[cell]: 1 when it is part of a win."""
    marks: Cells
    """[cell]: of a cluster: 1 when it was reached."""
    queue: Counts
    """[cell]: of a cluster: the cells that were reached."""
    run: Cells
    """[step]: the symbols of a line."""
    counts: Counts
    """[symbol] on the grid, as they win."""


def board(wins: Wins) -> Board:
    """Working memory for a game."""
    cells = wins.reels * wins.rows
    byte, wide = np.uint8, np.int64
    return Board(
        stops=np.zeros(wins.reels, wide),
        grid=np.zeros(cells, byte),
        seen=np.zeros(cells, byte),
        won=np.zeros(cells, byte),
        marks=np.zeros(cells, byte),
        queue=np.zeros(cells, wide),
        run=np.zeros(wins.reels, byte),
        counts=np.zeros(len(wins.wild), wide),
    )


@inlined
def times(coins: int, factor: int) -> int:
    """Coins, which may be a sum of amounts, times a multiplier."""
    return min(min(coins, COINS_MAX) * factor, COINS_MAX)


@inlined
def line_win(wins: Wins, run: Cells, length: int) -> tuple[int, int, int]:
    """The best run from the start of a line: (coins, cells that are paid, cells that decided it).

    Leading wilds pay as wilds or stand in for the first other symbol, whichever pays more with the wilds'
    multipliers; on a tie the longer. While the third is below `length`, further cells would change nothing.
    """
    wilds = 0
    product = 1
    while wilds < length and wins.wild[run[wilds]]:
        product = min(product * wins.multiplier[run[wilds]], PRODUCT_MAX)
        wilds += 1
    coins = 0
    paid = 0
    if wilds and wins.paid_wild >= 0:
        coins = times(wins.pays[wins.paid_wild, wilds], product)
        paid = wilds
    if wilds == length:
        return coins, paid, length
    target = run[wilds]
    if not wins.regular[target] or (wilds and not wins.takes[target]):
        return coins, paid, wilds
    count = wilds + 1
    while count < length:
        symbol = run[count]
        if symbol != target:
            if not (wins.wild[symbol] and wins.takes[target]):
                break
            product = min(product * wins.multiplier[symbol], PRODUCT_MAX)
        count += 1
    substituted = times(wins.pays[target, count], product)
    if substituted >= coins:
        return substituted, count, count
    return coins, paid, count


@compiled
def _lines(wins: Wins, board: Board) -> int:
    """All lines of the grid, their cells marked in `won`."""
    sum_coins = 0
    run = board.run
    for direction in range(wins.order.shape[0]):
        for line in range(wins.lines.shape[0]):
            for step in range(wins.reels):
                reel = wins.order[direction, step]
                run[step] = board.seen[reel * wins.rows + wins.lines[line, reel]]
            coins, paid, _ = line_win(wins, run, wins.reels)
            if coins == 0 or (direction == 1 and paid == wins.reels):
                continue
            sum_coins += coins
            for step in range(paid):
                reel = wins.order[direction, step]
                board.won[reel * wins.rows + wins.lines[line, reel]] = 1
    return sum_coins


@compiled
def _ways(wins: Wins, board: Board) -> int:
    """All runs on neighbouring reels, their cells marked in `won`."""
    sum_coins = 0
    rows = wins.rows
    for direction in range(wins.order.shape[0]):
        for symbol in range(wins.wild.shape[0]):
            if wins.lowest[symbol] > wins.reels:
                continue
            product = 1
            length = 0
            while length < wins.reels:
                start = wins.order[direction, length] * rows
                matching = 0
                for cell in range(start, start + rows):
                    seen = board.seen[cell]
                    if seen == symbol or (wins.wild[seen] and wins.takes[symbol]):
                        matching += wins.multiplier[seen]
                if matching == 0:
                    break
                product = min(product * matching, PRODUCT_MAX)
                length += 1
            if length < wins.lowest[symbol] or (direction == 1 and length == wins.reels):
                continue
            sum_coins += times(wins.pays[symbol, length], product)
            for step in range(length):
                start = wins.order[direction, step] * rows
                for cell in range(start, start + rows):
                    seen = board.seen[cell]
                    if seen == symbol or (wins.wild[seen] and wins.takes[symbol]):
                        board.won[cell] = 1
    return sum_coins


@inlined
def _count(wins: Wins, board: Board) -> int:
    """Fill `counts`; answer the number of wilds."""
    wilds = 0
    for symbol in range(board.counts.size):
        board.counts[symbol] = 0
    for symbol in board.seen:
        board.counts[symbol] += 1
        wilds += wins.wild[symbol]
    return wilds


@compiled
def _anywhere(wins: Wins, board: Board) -> int:
    """Every symbol that is there often enough, its cells marked in `won`."""
    sum_coins = 0
    wilds = _count(wins, board)
    for symbol in range(wins.wild.shape[0]):
        own = board.counts[symbol]
        takes = wins.takes[symbol]
        count = own + wilds * takes
        if own == 0 or count < wins.lowest[symbol]:
            continue
        product = 1
        for cell in range(board.seen.size):
            seen = board.seen[cell]
            if seen == symbol or (takes and wins.wild[seen]):
                product = min(product * wins.multiplier[seen], PRODUCT_MAX)
                board.won[cell] = 1
        sum_coins += times(wins.pays[symbol, count], product)
    return sum_coins


@inlined
def _reach(wins: Wins, board: Board, cell: int, symbol: int, size: int) -> int:
    """Add a cell to a cluster when it belongs there and is not there yet; answer the cluster's size."""
    seen = board.seen[cell]
    if board.marks[cell] or not (seen == symbol or (wins.wild[seen] and wins.takes[symbol])):
        return size
    board.marks[cell] = 1
    board.queue[size] = cell
    return size + 1


@compiled
def _clusters(wins: Wins, board: Board) -> int:
    """Every group of a symbol and its wilds joined by their sides, its cells marked in `won`."""
    sum_coins = 0
    rows = wins.rows
    cells = board.seen.size
    wilds = _count(wins, board)
    for symbol in range(wins.wild.shape[0]):
        own = board.counts[symbol]
        if own == 0 or own + wilds * wins.takes[symbol] < wins.lowest[symbol]:
            continue
        for cell in range(cells):
            board.marks[cell] = 0
        for first in range(cells):
            if board.seen[first] != symbol or board.marks[first]:
                continue
            size = _reach(wins, board, first, symbol, 0)
            done = 0
            product = 1
            while done < size:
                cell = board.queue[done]
                done += 1
                product = min(product * wins.multiplier[board.seen[cell]], PRODUCT_MAX)
                row = cell % rows
                if row > 0:
                    size = _reach(wins, board, cell - 1, symbol, size)
                if row < rows - 1:
                    size = _reach(wins, board, cell + 1, symbol, size)
                if cell >= rows:
                    size = _reach(wins, board, cell - rows, symbol, size)
                if cell < cells - rows:
                    size = _reach(wins, board, cell + rows, symbol, size)
            if size >= wins.lowest[symbol]:
                sum_coins += times(wins.pays[symbol, size], product)
                for place in range(size):
                    board.won[board.queue[place]] = 1
    return sum_coins


@inlined
def grid_win(wins: Wins, board: Board) -> int:
    """What the grid in `seen` pays, coins. Sets `won` for the cells of its wins; the caller clears it."""
    if wins.evaluation == LINES:
        return _lines(wins, board)
    if wins.evaluation == WAYS:
        return _ways(wins, board)
    if wins.evaluation == CLUSTERS:
        return _clusters(wins, board)
    return _anywhere(wins, board)
