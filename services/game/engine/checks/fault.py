"""What a fault is, and what the checks ask of a definition."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from services.game.engine.definition import GameDefinition, Strip

AMOUNT_MINOR_MAX = 1 << 53
"""Largest stake or win, minor units: every JSON reader keeps it exact (R3)."""
WEIGHT_SUM_MAX = 1 << 32
"""Largest sum of weights: one word per draw."""


class Fault(NamedTuple):
    """One thing wrong with a definition."""

    field: str
    problem: str
    item: str = ""
    """The part of the field that is meant, when its line in the file says more: as a path below `field`."""


def names_of(game: GameDefinition, kind: str) -> list[str]:
    """The symbols of a kind."""
    return [symbol.name for symbol in game.symbols if symbol.kind == kind]


def paid_sets(game: GameDefinition) -> list[str]:
    """The reels that paid screens are drawn from, without those that are not there."""
    named = dict.fromkeys(mode.reels for mode in game.modes_by_name.values() if not mode.free_spins)
    return [name for name in named if name in game.strips or name in game.weights]


def used_sets(game: GameDefinition) -> list[str]:
    """`paid_sets`, and the free spins' reels."""
    return paid_sets(game) + ["free"] * bool(game.free_spins)


def seen_counts(
    game: GameDefinition, reels: str, names: set[str], *, drawn: bool = False, holding: str | None = None
) -> list[set[int]]:
    """How many cells of each reel may show one of these symbols: once wilds expanded, or (`drawn`) before;
    only while it also shows the symbol `holding`, when one is given."""
    rows = game.grid.rows
    if reels in game.weights:
        return [_of_weights(set(reel), names, rows, holding) for reel in game.weights[reels]]
    expanding = frozenset(() if drawn else (symbol.name for symbol in game.symbols if symbol.expands))
    seen = []
    for strip in game.strips[reels]:
        if game.cascade:  # what does not win stays while more may fall in
            seen.append(_of_weights(set(strip), names, rows, holding))
            continue
        windows = _windows(strip, rows, expanding)
        counts = {
            sum([name in names for name in window])
            for window in windows
            if holding is None or holding in window
        }
        seen.append(counts)
    return seen


@functools.lru_cache(maxsize=64)  # asked again for each symbol
def _windows(strip: Strip, rows: int, expanding: frozenset[str]) -> set[tuple[str, ...]]:
    """All that a strip may show."""
    windows = set()
    for stop in range(len(strip)):
        window = tuple(strip[(stop + row) % len(strip)] for row in range(rows))
        wild = next((name for name in window if name in expanding), None)
        windows.add((wild,) * rows if wild else window)
    return windows


def _of_weights(reel: set[str], names: set[str], rows: int, holding: str | None) -> set[int]:
    if holding is not None and holding not in reel:
        return set()
    fewest = 0 if holding is None else 1
    return set(range(fewest if reel - names else rows, rows + 1 if reel & names else 1))


def seen_max(game: GameDefinition, reels: str, names: set[str], *, drawn: bool = False) -> list[int]:
    """The most of `seen_counts`."""
    return [max(counts) for counts in seen_counts(game, reels, names, drawn=drawn)]


def matching(game: GameDefinition, name: str) -> set[str]:
    """The symbols that count as this paying one."""
    symbol = next(symbol for symbol in game.symbols if symbol.name == name)
    takes_wild = symbol.kind == "wild" or symbol.takes_wild
    return {name} | (set(names_of(game, "wild")) if takes_wild else set())


def by_count_faults(field: str, values: Mapping[int, int], *, gaps: bool = False) -> Iterator[Fault]:
    """Counts without a gap and values that never fall: more of a symbol also holds fewer of it, so
    "the highest win" would be ambiguous otherwise."""
    counts = sorted(values)
    if not counts:
        yield Fault(field, "must not be empty")
    if not gaps and counts != list(range(counts[0], counts[-1] + 1)):
        yield Fault(field, f"counts {counts} leave a gap")
    for fewer, count in itertools.pairwise(counts):
        if values[count] < values[fewer]:
            yield Fault(field, f"{count} symbols give less than {fewer}", str(count))


def weight_faults(field: str, weights: list[int]) -> Iterator[Fault]:
    """Something to draw, within one word."""
    if not weights:
        yield Fault(field, "must not be empty")
    if sum(weights) > WEIGHT_SUM_MAX:
        yield Fault(field, "weights add up to more than 2**32")
