"""Look-up tables built once per definition, so that a spin only indexes: symbols are small integers here."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter

import msgspec

Window = tuple[int, ...]
"""Symbol ids visible on one reel, top row first."""
Cells = tuple[int, ...]
"""All windows of a screen, one reel after the other."""
Getter = Callable[[Cells], tuple[int, ...]]

NO_SYMBOL = -1


class ReelSet(msgspec.Struct, frozen=True):
    """The strips of one mode (base or free), unrolled: what is visible for each reel and stop."""

    lengths: tuple[int, ...]
    windows: tuple[tuple[Window, ...], ...]
    names: tuple[tuple[tuple[str, ...], ...], ...]
    scatters: tuple[tuple[int, ...], ...]
    """Number of scatters visible, by reel and stop."""


class PayTable(msgspec.Struct, frozen=True):
    """Pays by symbol id and run length, and the lines as getters over the cells of a screen."""

    names: tuple[str, ...]
    wild: int
    scatter: int
    line_multiples: tuple[tuple[int, ...], ...]
    """[symbol][run length], x line bet; 0 where nothing is paid."""
    scatter_multiples: tuple[int, ...]
    """[count], x total stake; the last entry holds for every higher count."""
    lines: tuple[tuple[int, Getter, Getter], ...]
    """(line, its first cells, all its cells)."""
    live_starts: frozenset[tuple[int, ...]]
    """Every start of a line that can still pay. A line with any other start is lost at one look-up."""


def by_count(values: Mapping[int, int]) -> tuple[int, ...]:
    """A list indexed by count, 0 below the first given count. `values` has no gaps (checked at load)."""
    return tuple(values.get(count, 0) for count in range(max(values, default=0) + 1))


def at_count(values: Sequence[int], count: int) -> int:
    """The value for `count`; above the highest listed count, that of the highest."""
    return values[count] if count < len(values) else values[-1]


def reel_set(strips: Sequence[Sequence[str]], *, rows: int, ids: Mapping[str, int], scatter: int) -> ReelSet:
    """Unroll strips, which are circular: the window of the last stop continues with the first symbols."""
    names = tuple(
        tuple(tuple(strip[(stop + row) % len(strip)] for row in range(rows)) for stop in range(len(strip)))
        for strip in strips
    )
    windows = tuple(tuple(tuple(ids[name] for name in window) for window in reel) for reel in names)
    return ReelSet(
        lengths=tuple(len(strip) for strip in strips),
        windows=windows,
        names=names,
        scatters=tuple(tuple(window.count(scatter) for window in reel) for reel in windows),
    )


def pay_table(
    *,
    names: Sequence[str],
    wild: int,
    scatter: int,
    rows: int,
    pays: Mapping[str, Mapping[int, int]],
    scatter_pays: Mapping[int, int],
    paylines: Sequence[Sequence[int]],
) -> PayTable:
    """Build the pay tables. `wild` and `scatter` are symbol ids or NO_SYMBOL; counts in `pays` start at 2."""
    reels = len(paylines[0])
    start_length = min((min(row) for row in pays.values()), default=reels)
    live_starts: set[tuple[int, ...]] = set()
    for name in pays:
        symbol = names.index(name)
        matches = (symbol,) if wild in (NO_SYMBOL, symbol) else (symbol, wild)
        live_starts.update(itertools.product(matches, repeat=start_length))
    lines = []
    for line, line_rows in enumerate(paylines):
        positions = [reel * rows + row for reel, row in enumerate(line_rows)]
        lines.append((line, itemgetter(*positions[:start_length]), itemgetter(*positions)))
    return PayTable(
        names=tuple(names),
        wild=wild,
        scatter=scatter,
        line_multiples=tuple(
            tuple(pays.get(name, {}).get(count, 0) for count in range(reels + 1)) for name in names
        ),
        scatter_multiples=by_count(scatter_pays),
        lines=tuple(lines),
        live_starts=frozenset(live_starts),
    )
