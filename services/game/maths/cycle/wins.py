"""What a whole grid wins, read cell by cell. Shares nothing with the formulas and walks that it checks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from services.game.maths.kernel.compiled import compiled
from services.game.maths.rules import Flags, Ints, Rules

LINES, WAYS, CLUSTERS, ANYWHERE = range(4)
LEFT, RIGHT, BOTH = range(3)
PRODUCT_MAX = 1 << 31
"""Where products stop: a screen that wins so many coins is not counted, see `run.Cycle.coins_max`."""


class Board(NamedTuple):
    """The grid and what its evaluation leaves. Cells are [reel][row]."""

    grid: Ints
    """As evaluated: wilds expanded."""
    won: Flags
    """Cells that are part of a win."""
    tally: Ints
    """[symbol][count] -> coins, added to."""
    seen: Ints
    queue: Ints


def board(rules: Rules, reels: int, rows: int) -> Board:
    cells = np.zeros((2, reels, rows), np.int64)
    return Board(
        grid=cells[0],
        won=np.zeros((reels, rows), np.bool_),
        tally=np.zeros_like(rules.pays),
        seen=cells[1],
        queue=np.zeros(reels * rows, np.int64),
    )


@compiled
def evaluate(rules: Rules, evaluation: int, direction: int, board: Board, factor: int) -> int:
    """Coins that the grid wins, all multiplied by `factor`."""
    if evaluation == CLUSTERS:
        return _clusters(rules, board, factor)
    if evaluation == ANYWHERE:
        return _anywhere(rules, board, factor)
    coins = 0
    for side in range(2):
        if (side == 0 and direction == RIGHT) or (side == 1 and direction == LEFT):
            continue
        repeats = side == 1 and direction == BOTH  # a run over all reels was paid as from the left
        if evaluation == LINES:
            coins += _lines(rules, board, side == 1, repeats, factor)
        else:
            coins += _ways(rules, board, side == 1, repeats, factor)
    return coins


@compiled
def _lines(rules: Rules, board: Board, from_right: bool, repeats: bool, factor: int) -> int:
    grid, lines = board.grid, rules.lines
    reels = grid.shape[0]
    first, second = (reels - 1, reels - 2) if from_right else (0, 1)
    coins = 0
    for index in range(lines.shape[0]):
        shown, beside = grid[first, lines[index, first]], grid[second, lines[index, second]]
        if shown != beside and not rules.wild[shown] and not rules.wild[beside]:
            continue  # a run needs two
        symbol, count, paid = _line(rules, grid, index, from_right)
        if paid == 0 or (repeats and count == reels):
            continue
        coins += paid * factor
        board.tally[symbol, count] += paid * factor
        for i in range(count):
            reel = reels - 1 - i if from_right else i
            board.won[reel, lines[index, reel]] = True
    return coins


@compiled
def _line(rules: Rules, grid: Ints, index: int, from_right: bool) -> tuple[int, int, int]:
    """(symbol, count, coins) of the best run of one line."""
    reels = grid.shape[0]
    first, leading, as_wild = -1, 0, 1
    for i in range(reels):
        reel = reels - 1 - i if from_right else i
        shown = grid[reel, rules.lines[index, reel]]
        if not rules.wild[shown]:
            first = shown
            break
        leading += 1
        as_wild = min(as_wild * rules.multiplier[shown], PRODUCT_MAX)
    as_wild *= rules.pays[rules.payer, leading] if leading and rules.payer >= 0 else 0
    if first < 0 or not rules.regular[first] or (leading and not rules.takes_wild[first]):
        return rules.payer, leading, as_wild
    count, product = 0, 1
    for i in range(reels):
        reel = reels - 1 - i if from_right else i
        shown = grid[reel, rules.lines[index, reel]]
        if shown != first and not (rules.wild[shown] and rules.takes_wild[first]):
            break
        product = min(product * rules.multiplier[shown], PRODUCT_MAX)
        count += 1
    as_first = rules.pays[first, count] * product
    if as_wild > as_first:
        return rules.payer, leading, as_wild
    return first, count, as_first


@compiled
def _joins(rules: Rules, shown: int, symbol: int) -> bool:
    return shown == symbol or (rules.wild[shown] and rules.takes_wild[symbol])


@compiled
def _mark(rules: Rules, board: Board, symbol: int, from_reel: int, to_reel: int) -> None:
    """Every cell on some reels that counts as the symbol has won."""
    for reel in range(from_reel, to_reel):
        for row in range(board.grid.shape[1]):
            if _joins(rules, board.grid[reel, row], symbol):
                board.won[reel, row] = True


@compiled
def _ways(rules: Rules, board: Board, from_right: bool, repeats: bool, factor: int) -> int:
    reels, rows = board.grid.shape
    coins = 0
    for symbol in range(rules.pays.shape[0]):
        if not rules.regular[symbol]:
            continue
        ways, count = 1, 0
        for i in range(reels):
            reel = reels - 1 - i if from_right else i
            here = 0
            for row in range(rows):
                if _joins(rules, board.grid[reel, row], symbol):
                    here += rules.multiplier[board.grid[reel, row]]
            if here == 0:
                break
            ways = min(ways * here, PRODUCT_MAX)
            count += 1
        paid = rules.pays[symbol, count] * ways * factor
        if paid and not (repeats and count == reels):
            coins += paid
            board.tally[symbol, count] += paid
            _mark(rules, board, symbol, reels - count if from_right else 0, reels if from_right else count)
    return coins


@compiled
def _anywhere(rules: Rules, board: Board, factor: int) -> int:
    reels, rows = board.grid.shape
    coins = 0
    for symbol in range(rules.pays.shape[0]):
        if not rules.regular[symbol]:
            continue
        own, number, product = 0, 0, 1
        for reel in range(reels):
            for row in range(rows):
                shown = board.grid[reel, row]
                if _joins(rules, shown, symbol):
                    own += shown == symbol
                    number += 1
                    product = min(product * rules.multiplier[shown], PRODUCT_MAX)
        paid = rules.pays[symbol, number] * product * factor
        if own and paid:
            coins += paid
            board.tally[symbol, number] += paid
            _mark(rules, board, symbol, 0, reels)
    return coins


@compiled
def _clusters(rules: Rules, board: Board, factor: int) -> int:
    """`seen` holds the first cell of the cluster that a cell was last counted in."""
    reels, rows = board.grid.shape
    board.seen[:] = -1
    coins = 0
    for start in range(reels * rows):
        symbol = board.grid[start // rows, start % rows]
        if not rules.regular[symbol] or board.seen[start // rows, start % rows] >= 0:
            continue
        size = _flood(rules, board, start)
        if rules.pays[symbol, size] == 0:
            continue
        product = 1
        for i in range(size):
            reel, row = board.queue[i] // rows, board.queue[i] % rows
            product = min(product * rules.multiplier[board.grid[reel, row]], PRODUCT_MAX)
            board.won[reel, row] = True
        paid = rules.pays[symbol, size] * product * factor
        coins += paid
        board.tally[symbol, size] += paid
    return coins


@compiled
def _flood(rules: Rules, board: Board, start: int) -> int:
    """Number of cells of the cluster around a cell, which are in `queue` then."""
    reels, rows = board.grid.shape
    symbol = board.grid[start // rows, start % rows]
    board.queue[0] = start
    board.seen[start // rows, start % rows] = start
    size, done = 1, 0
    while done < size:
        reel, row = board.queue[done] // rows, board.queue[done] % rows
        done += 1
        for step in range(4):
            to_reel = reel + (step == 0) - (step == 1)
            to_row = row + (step == 2) - (step == 3)
            if to_reel < 0 or to_reel >= reels or to_row < 0 or to_row >= rows:
                continue
            if board.seen[to_reel, to_row] != start and _joins(rules, board.grid[to_reel, to_row], symbol):
                board.seen[to_reel, to_row] = start
                board.queue[size] = to_reel * rows + to_row
                size += 1
    return size
