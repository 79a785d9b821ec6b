"""Wins of lines: the best run of each payline, from the left, the right, or both."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING

import msgspec

from services.game.engine import outcome

if TYPE_CHECKING:
    from services.game.engine.definition import GameDefinition

_Getter = Callable[[tuple[int, ...]], tuple[int, ...]]
_START_MAX = 3
"""Reels of a line that are looked up at once: more would make the set of live starts large."""


class Lines(msgspec.Struct, frozen=True):
    """Pays by symbol id and run length, and the lines as getters over the cells of a grid."""

    names: tuple[str, ...]
    reels: int
    multiples: tuple[tuple[int, ...], ...]
    """[symbol][run length], x coin; 0 where nothing is paid."""
    matches: tuple[frozenset[int], ...]
    """[symbol] -> itself, and the wilds where they stand in for it."""
    wilds: frozenset[int]
    wild: int
    """The wild that has pays, or -1."""
    wild_multiples: tuple[int, ...]
    """[run length] of a run of wilds."""
    factors: tuple[int, ...] | None
    """[symbol] -> its multiplier; None when every one is 1."""
    both: bool
    runs: tuple[tuple[int, bool, _Getter, _Getter], ...]
    """(line, from the right, its first cells, all its cells), in the order they are shown."""
    live_starts: frozenset[tuple[int, ...]]
    """Every start of a line that can still pay. A line with any other start is lost at one look-up."""


def build(game: GameDefinition) -> Lines:
    """The table of a game by lines."""
    reels = game.grid.reels
    names = [symbol.name for symbol in game.symbols]
    wilds = frozenset(index for index, symbol in enumerate(game.symbols) if symbol.kind == "wild")
    paid_wild = next((index for index in sorted(wilds) if names[index] in game.pays), -1)
    matches = tuple(
        frozenset({index}) | (wilds if symbol.kind == "regular" and symbol.takes_wild else frozenset())
        for index, symbol in enumerate(game.symbols)
    )
    multiples = tuple(
        tuple(game.pays.get(name, {}).get(count, 0) for count in range(reels + 1)) for name in names
    )
    start_length = min(_START_MAX, *(min(row) for row in game.pays.values()))
    live_starts: set[tuple[int, ...]] = set()
    for name in game.pays:
        symbol = names.index(name)
        live_starts.update(
            itertools.product(wilds if symbol in wilds else matches[symbol], repeat=start_length)
        )
    factors = tuple(symbol.multiplier for symbol in game.symbols)
    return Lines(
        names=tuple(names),
        reels=reels,
        multiples=multiples,
        matches=matches,
        wilds=wilds,
        wild=paid_wild,
        wild_multiples=multiples[paid_wild] if wilds and paid_wild >= 0 else (0,) * (reels + 1),
        factors=factors if max(factors) > 1 else None,
        both=game.direction == "both",
        runs=tuple(_runs(game, start_length)),
        live_starts=frozenset(live_starts),
    )


def _runs(game: GameDefinition, start_length: int) -> list[tuple[int, bool, _Getter, _Getter]]:
    runs: list[tuple[int, bool, _Getter, _Getter]] = []
    for line, line_rows in enumerate(game.paylines):
        positions = [reel * game.grid.rows + row for reel, row in enumerate(line_rows)]
        for from_right in (False, True):
            if game.direction in ("both", "right" if from_right else "left"):
                cells = positions[::-1] if from_right else positions
                runs.append((line, from_right, itemgetter(*cells[:start_length]), itemgetter(*cells)))
    return runs


def best_run(table: Lines, symbols: Sequence[int]) -> tuple[int, int, int, int]:
    """The best paying run from the first of `symbols`: (symbol id, count, multiple x coin, multiplier of its
    wilds).

    Wilds at the start may pay as themselves or stand in for the first other symbol, whichever pays more, its
    wilds' multipliers included; on a tie the longer, substituted run is shown. Multiple 0: nothing is paid.
    """
    wild_ids = table.wilds
    reels = len(symbols)
    wilds = 0
    while wilds < reels and symbols[wilds] in wild_ids:
        wilds += 1
    wild_multiple = table.wild_multiples[wilds]
    if wilds == reels:
        return table.wild, wilds, wild_multiple, _factor(table, symbols) if wild_multiple else 1
    # A scatter may be the target too: it has no pays, so that nothing can stand in for it.
    target = symbols[wilds]
    matches = table.matches[target]
    if wilds and symbols[0] not in matches:
        return table.wild, wilds, wild_multiple, _factor(table, symbols[:wilds]) if wild_multiple else 1
    count = wilds + 1
    while count < reels and symbols[count] in matches:
        count += 1
    multiple = table.multiples[target][count]
    if table.factors is None:
        if wild_multiple > multiple:
            return table.wild, wilds, wild_multiple, 1
        return target, count, multiple, 1
    factor, wild_factor = _factor(table, symbols[:count]), _factor(table, symbols[:wilds])
    if wild_multiple * wild_factor > multiple * factor:
        return table.wild, wilds, wild_multiple, wild_factor
    return target, count, multiple, factor


def _factor(table: Lines, symbols: Sequence[int]) -> int:
    factors = table.factors
    return math.prod([factors[symbol] for symbol in symbols]) if factors else 1


def line_wins(
    table: Lines, cells: tuple[int, ...], coin_minor: int, multiplier: int
) -> tuple[outcome.LineWin, ...]:
    """Every paying line of a grid, in the order of the paylines, from the left before from the right."""
    wins = []
    live_starts = table.live_starts
    for line, from_right, start, whole in table.runs:
        if start(cells) not in live_starts:
            continue
        symbol, count, multiple, factor = best_run(table, whole(cells))
        # In both directions a run over all reels pays once, as from the left.
        if multiple and not (from_right and table.both and count == table.reels):
            factor *= multiplier
            win_minor = multiple * coin_minor * factor
            wins.append(outcome.LineWin(line, table.names[symbol], count, win_minor, factor, from_right))
    return tuple(wins)
