"""Checks of what wins on a grid: nothing ambiguous, nothing promised that cannot occur."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from services.game.engine.checks.fault import (
    Fault,
    by_count_faults,
    matching,
    names_of,
    seen_counts,
    seen_max,
    used_sets,
)

if TYPE_CHECKING:
    from services.game.engine.definition import GameDefinition

_LINES_MAX = 64


def faults(game: GameDefinition) -> Iterator[Fault]:
    """Faults, in the order of dependence."""
    yield from _paylines(game)
    yield from _names(game)
    runs = game.evaluation in ("lines", "ways")
    for name, values in game.pays.items():
        field = f"pays.{name}"
        yield from by_count_faults(field, values, gaps=not runs)
        if min(values) < 2:
            yield Fault(field, f"a {'run' if runs else 'win'} needs at least 2 symbols")
        if runs and max(values) != game.grid.reels:
            yield Fault(field, f"must list every count up to {game.grid.reels}")
        yield from _unreachable(game, name, values) if runs else _too_many(game, name, values)
        if max(values.values()) > game.max_win_multiple * game.coins_per_bet:
            yield Fault(field, "pays more than max_win_multiple allows")
    if game.evaluation == "lines":
        yield from _wild_runs(game)


def _paylines(game: GameDefinition) -> Iterator[Fault]:
    if game.evaluation != "lines":
        if game.paylines:
            yield Fault("paylines", f"are for lines, not for {game.evaluation}")
        if not game.coins:
            yield Fault("coins", "must be given where there are no paylines")
    elif not game.paylines:
        yield Fault("paylines", "must not be empty")
    if game.direction != "left" and game.evaluation not in ("lines", "ways"):
        yield Fault("direction", "is for lines and ways")
    if len(game.paylines) > _LINES_MAX:
        yield Fault("paylines", f"has {len(game.paylines)} lines, at most {_LINES_MAX} are played")
    for line, rows in enumerate(game.paylines):
        field = f"paylines[{line}]"
        if len(rows) != game.grid.reels:
            yield Fault(field, f"has {len(rows)} rows for {game.grid.reels} reels")
        for row in rows:
            if not 0 <= row < game.grid.rows:
                yield Fault(field, f"row {row} is outside the grid (0..{game.grid.rows - 1})")
        if rows in game.paylines[:line]:
            yield Fault(field, "is the same as an earlier line")


def _names(game: GameDefinition) -> Iterator[Fault]:
    wilds = names_of(game, "wild")
    if not game.pays:
        yield Fault("pays", "must not be empty")
    for name in game.pays:
        if name in wilds and game.evaluation != "lines":
            yield Fault(f"pays.{name}", f"a wild has no pays of its own in {game.evaluation}")
        if name not in names_of(game, "regular") + wilds:
            yield Fault(f"pays.{name}", "is not a regular symbol or a wild")
    if wilds and not any(set(wilds) & matching(game, name) for name in game.pays):
        yield Fault("symbols", f"{wilds[0]} gives nothing: no symbol takes it and it has no pays")
    paid_wilds = [name for name in wilds if name in game.pays]
    if len(paid_wilds) > 1:
        yield Fault(f"pays.{paid_wilds[1]}", f"only one wild may have pays, and {paid_wilds[0]} has")


def _unreachable(game: GameDefinition, name: str, values: Mapping[int, int]) -> Iterator[Fault]:
    """Every reel must be able to go on with a run, and to end it where a shorter one pays."""
    field = f"pays.{name}"
    whys = [_run_problems(game, name, reels) for reels in used_sets(game)]
    for count in sorted(values):
        if all(count in problems for problems in whys):
            yield Fault(field, f"{count} of them cannot occur: {whys[0][count]}", str(count))


def _run_problems(game: GameDefinition, name: str, reels: str) -> dict[int, str]:
    """Length of a run -> why these reels never show it."""
    seen = seen_counts(game, reels, matching(game, name))
    itself = seen_max(game, reels, {name} if name not in names_of(game, "wild") else matching(game, name))
    orders = {"left": [range(len(seen))], "right": [range(len(seen))[::-1]]}
    problems: list[dict[int, str]] = []
    for order in orders.get(game.direction) or orders["left"] + orders["right"]:
        found: dict[int, str] = {}
        for count in game.pays[name]:
            absent = next((reel for reel in order[:count] if seen[reel] == {0}), None)
            if absent is not None:
                found[count] = f"none on reel {absent}"
            elif not any(itself[reel] for reel in order[:count]):
                found[count] = "only wilds on its reels"
            elif count < len(order) and min(seen[order[count]]) >= (
                1 if game.evaluation == "ways" else game.grid.rows
            ):
                found[count] = "the next reel always shows one"
            elif _beaten(game, name, reels, order[:count], itself):
                found[count] = "its wilds always pay more"
        problems.append(found)
    return {count: problems[0][count] for count in set.intersection(*(set(found) for found in problems))}


def _beaten(game: GameDefinition, name: str, reels: str, run: Sequence[int], itself: Sequence[int]) -> bool:
    """Whether a line of this run always begins with wilds that pay more as themselves."""
    wilds = {symbol.name: symbol.multiplier for symbol in game.symbols if symbol.kind == "wild"}
    paid: Mapping[int, int] = next((values for wild, values in game.pays.items() if wild in wilds), {})
    first = next(place for place, reel in enumerate(run) if itself[reel])
    if name in wilds or not paid.get(first):
        return False
    factor = 1
    for reel in run[first + 1 :]:
        factor *= max(
            (times for wild, times in wilds.items() if seen_max(game, reels, {wild})[reel]), default=1
        )
    return paid[first] > game.pays[name][len(run)] * factor


def _too_many(game: GameDefinition, name: str, values: Mapping[int, int]) -> Iterator[Fault]:
    possible: set[int] = set()
    for reels in used_sets(game):
        seen = seen_counts(game, reels, matching(game, name))
        for reel, held in enumerate(seen_counts(game, reels, matching(game, name), holding=name)):
            # The symbol itself is on this reel; the others show what they may.
            sums = held
            for counts in seen[:reel] + seen[reel + 1 :]:
                sums = {one + more for one in sums for more in counts}
            possible |= sums
    field, most = f"pays.{name}", max(possible, default=0)
    for listed, following in itertools.pairwise([*sorted(values), most + 1]):
        if listed > most:
            yield Fault(field, f"{listed} of them cannot occur: at most {most} are seen", str(listed))
        elif game.evaluation == "anywhere" and possible.isdisjoint(range(listed, following)):
            yield Fault(
                field,
                f"{listed} of them cannot occur: no screen has so many and fewer than {following}",
                str(listed),
            )


def _wild_runs(game: GameDefinition) -> Iterator[Fault]:
    """A run of wilds is paid as wilds. It must not be worth less than as any symbol it could stand for."""
    wilds = set(names_of(game, "wild"))
    paid: Mapping[int, int] = next((values for name, values in game.pays.items() if name in wilds), {})
    field = next((f"pays.{name}" for name in game.pays if name in wilds), "pays")
    for reels in used_sets(game):
        seen = [bool(cells) for cells in seen_max(game, reels, wilds)]
        lengths = {"left": [_leading(seen)], "right": [_leading(seen[::-1])]}
        run_max = max(lengths.get(game.direction) or lengths["left"] + lengths["right"])
        for name, values in game.pays.items():
            for count in range(2, run_max + 1):
                if wilds <= matching(game, name) and values.get(count, 0) > paid.get(count, 0):
                    yield Fault(field, f"{count} wilds pay less than {count} {name}")


def _leading(seen: list[bool]) -> int:
    return [*seen, False].index(False)
