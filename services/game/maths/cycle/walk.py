"""Line and ways wins of all screens by the prefixes of the reels: nothing is enumerated behind a dead end.

After each reel only the lines (of ways: the symbols) are kept whose run goes on. Where none is left, the wins
of all screens that begin so are known, and what the other reels show is counted in closed form.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from services.game.maths.cycle.table import Table, add
from services.game.maths.kernel.compiled import compiled
from services.game.maths.rules import Ints, Rules

ITEM, SYMBOL, WILDS, WILD_FACTOR, FACTOR = range(5)
"""A run that goes on: its line (of ways: symbol), the symbol it is of (-1: wilds only so far), wilds at its
start, product of their multipliers, product of all its multipliers (of ways: their number)."""


class Prefixes(NamedTuple):
    """The reels in the order they are walked, which is from the right when runs start there."""

    ways: bool
    both: bool
    """Runs of the other direction pay, too, but over all reels."""
    shown: Ints
    """[reel][number][row] -> symbol; of ways: [reel][number][symbol] -> matches."""
    codes: Ints
    """[reel][number] -> what it counts, see `histogram.Radix`."""
    weights: Ints
    sizes: Ints
    """[reel] -> numbers in use."""
    rest_codes: Ints
    """[reel][..] -> what this and all later reels count together."""
    rest_weights: Ints
    rest_sizes: Ints
    radix: int


class Room(NamedTuple):
    """What the walk keeps by depth: depth reels are stopped."""

    at: Ints
    runs: Ints
    """[depth][run] -> the fields above."""
    sizes: Ints
    won: Ints
    code: Ints
    weight: Ints


def room(prefixes: Prefixes, items: int) -> Room:
    """At the start every line, or every symbol, is alive."""
    depths = prefixes.sizes.size + 1
    runs = np.zeros((depths, items, 5), np.int64)
    runs[0] = [[item, item if prefixes.ways else -1, 0, 1, 1] for item in range(items)]
    sizes = np.zeros(depths, np.int64)
    sizes[0] = items
    zeros = np.zeros((2, depths), np.int64)
    return Room(np.full(depths, -1, np.int64), runs, sizes, zeros[0], zeros[1], np.ones(depths, np.int64))


@compiled
def walk(rules: Rules, prefixes: Prefixes, room: Room, table: Table) -> bool:
    """Adds, by coins * radix + code, the number of screens; False when the table is full."""
    reels = prefixes.sizes.size
    depth = 0
    while depth >= 0:
        room.at[depth] += 1
        at = room.at[depth]
        if at == prefixes.sizes[depth]:
            depth -= 1
            continue
        coins, alive = _grow(rules, prefixes, room, depth, at)
        coins += room.won[depth]
        code = room.code[depth] + prefixes.codes[depth, at]
        weight = room.weight[depth] * prefixes.weights[depth, at]
        below = depth + 1
        if below < reels and (alive or prefixes.both):
            room.sizes[below] = alive
            room.won[below] = coins
            room.code[below] = code
            room.weight[below] = weight
            room.at[below] = -1
            depth = below
            continue
        if prefixes.both:
            coins += _backward(rules, prefixes, room)
        for i in range(prefixes.rest_sizes[below]):
            key = coins * prefixes.radix + code + prefixes.rest_codes[below, i]
            if not add(table, key, weight * prefixes.rest_weights[below, i]):
                return False
    return True


@compiled
def _grow(rules: Rules, prefixes: Prefixes, room: Room, depth: int, at: int) -> tuple[int, int]:
    """Follow each run to the next reel: (coins of those that ended here, number of those that go on)."""
    coins, alive = 0, 0
    last = depth + 1 == prefixes.sizes.size
    for i in range(room.sizes[depth]):
        item, symbol, wilds, wild_factor, factor = room.runs[depth, i]
        if prefixes.ways:
            symbol = item
            more = prefixes.shown[depth, at, item]
            goes_on = more > 0
            factor *= more if goes_on else 1
        else:
            shown = prefixes.shown[depth, at, rules.lines[item, depth]]
            goes_on, symbol, wilds, wild_factor, factor = _continue(
                rules, shown, symbol, wilds, wild_factor, factor
            )
        if goes_on and not last:
            room.runs[depth + 1, alive, ITEM] = item
            room.runs[depth + 1, alive, SYMBOL] = symbol
            room.runs[depth + 1, alive, WILDS] = wilds
            room.runs[depth + 1, alive, WILD_FACTOR] = wild_factor
            room.runs[depth + 1, alive, FACTOR] = factor
            alive += 1
        else:
            coins += _pay(rules, symbol, wilds, wild_factor, factor, depth + goes_on)[0]
    return coins, alive


@compiled
def _continue(
    rules: Rules, shown: int, symbol: int, wilds: int, wild_factor: int, factor: int
) -> tuple[bool, int, int, int, int]:
    """Whether a run of a line goes on with the symbol shown, and its fields then."""
    if rules.wild[shown]:
        more = rules.multiplier[shown]
        if symbol < 0:
            return True, symbol, wilds + 1, wild_factor * more, factor * more
        if rules.takes_wild[symbol]:
            return True, symbol, wilds, wild_factor, factor * more
    elif symbol < 0:
        if rules.regular[shown] and (wilds == 0 or rules.takes_wild[shown]):
            return True, shown, wilds, wild_factor, factor
    elif shown == symbol:
        return True, symbol, wilds, wild_factor, factor
    return False, symbol, wilds, wild_factor, factor


@compiled
def _pay(rules: Rules, symbol: int, wilds: int, wild_factor: int, factor: int, count: int) -> tuple[int, int]:
    """Coins of a run that ended, and the reels that it is paid for."""
    as_wild = rules.pays[rules.payer, wilds] * wild_factor if rules.payer >= 0 else 0
    as_symbol = rules.pays[symbol, count] * factor if symbol >= 0 else 0
    if as_wild > as_symbol:
        return as_wild, wilds
    return as_symbol, count


@compiled
def _backward(rules: Rules, prefixes: Prefixes, room: Room) -> int:
    """Coins of the runs from the last reel, now that all are stopped; not of those over all reels."""
    reels = prefixes.sizes.size
    coins = 0
    for item in range(room.sizes[0]):
        symbol, wilds, wild_factor, factor = -1, 0, 1, 1
        count = 0
        for reel in range(reels - 1, -1, -1):
            if prefixes.ways:
                symbol = item
                more = prefixes.shown[reel, room.at[reel], item]
                goes_on = more > 0
                factor *= more if goes_on else 1
            else:
                shown = prefixes.shown[reel, room.at[reel], rules.lines[item, reel]]
                goes_on, symbol, wilds, wild_factor, factor = _continue(
                    rules, shown, symbol, wilds, wild_factor, factor
                )
            if not goes_on:
                break
            count += 1
        paid, paid_count = _pay(rules, symbol, wilds, wild_factor, factor, count)
        coins += paid if paid_count < reels else 0
    return coins
