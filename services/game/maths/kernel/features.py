"""Hold-and-win and the pick: what they draw and pay, in coins."""

from __future__ import annotations

from typing import NamedTuple

from services.game.maths.kernel.compiled import compiled, inlined
from services.game.maths.kernel.draws import Counts, Source, below
from services.game.maths.kernel.screens import Reels, by_weight, coins_of
from services.game.maths.kernel.wins import Board


class Features(NamedTuple):
    """What follows a screen. Amounts are in coins; a table by count holds its last value for every higher."""

    scatter_pays: Counts
    award: Counts
    """[scatters on the paid screen]: free spins."""
    retrigger: Counts
    """[scatters on a free screen]: further ones."""
    spins_max: int
    free_multiplier: int
    bought: int
    """Free spins that the mode buys; above 0 there is no paid screen."""
    hold_trigger: int
    """Coins that start hold-and-win; above every count without it."""
    respins: int
    coin_hits: int
    coin_of: int
    value_weights: Counts
    """[value]: weights up to and with it."""
    values: Counts
    full: int
    pick_trigger: int
    """Bonus symbols that start the pick; above every count without it."""
    prize_weights: Counts
    prizes: Counts


@inlined
def at_count(values: Counts, count: int) -> int:
    """The value of a table by count."""
    return int(values[min(count, values.shape[0] - 1)])


@inlined
def _value(features: Features, source: Source) -> int:
    value = below(source, features.value_weights[-1])
    return int(features.values[by_weight(features.value_weights, value, 0)])


@compiled
def hold_and_win(features: Features, reels: Reels, board: Board, source: Source) -> tuple[int, int, int]:
    """From the paid screen's last grid to the last respin: (coins won, respins, cells held at the end)."""
    cells = board.grid.size
    held = 0
    sum_coins = 0
    for cell in range(cells):
        board.marks[cell] = 0
        if coins_of(reels.tally[board.grid[cell]]):
            board.marks[cell] = 1
            held += 1
            sum_coins += _value(features, source)
    respins = 0
    left = features.respins
    while left > 0 and held < cells:
        respins += 1
        left -= 1
        for cell in range(cells):
            if board.marks[cell] or below(source, features.coin_of) >= features.coin_hits:
                continue
            board.marks[cell] = 1
            held += 1
            sum_coins += _value(features, source)
            left = features.respins
    if held == cells:
        sum_coins += features.full
    return sum_coins, respins, held


@compiled
def pick(features: Features, source: Source) -> int:
    """The coins of a prize."""
    value = below(source, features.prize_weights[-1])
    return int(features.prizes[by_weight(features.prize_weights, value, 0)])
