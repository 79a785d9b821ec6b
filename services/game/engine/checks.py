"""What a well-formed game file must also be: playable, unambiguous, and able to pay all that it promises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from services.game.engine.definition import GameDefinition

AMOUNT_MINOR_MAX = 1 << 53
"""Largest stake or win, minor units: every JSON reader keeps it exact (R3)."""
GAMBLE_CHOICES = ("RED", "BLACK")


class Fault(NamedTuple):
    """One thing wrong with a definition."""

    field: str
    problem: str


def faults(game: GameDefinition) -> Iterator[Fault]:
    """Faults in the order of dependence: a later check may rely on the earlier ones, so stop at the first."""
    yield from _symbols(game)
    yield from _strips(game)
    yield from _paylines(game)
    yield from _pays(game)
    yield from _wild_runs(game)
    yield from _scatters(game)
    yield from _free_spins(game)
    yield from _gamble(game)
    yield from _stakes(game)
    yield from _rtp_target(game)


def _names_of(game: GameDefinition, kind: str) -> list[str]:
    return [symbol.name for symbol in game.symbols if symbol.kind == kind]


def _symbols(game: GameDefinition) -> Iterator[Fault]:
    names = [symbol.name for symbol in game.symbols]
    for name in names:
        if names.count(name) > 1:
            yield Fault("symbols", f"{name} is listed twice")
    for kind in ("wild", "scatter"):
        if len(_names_of(game, kind)) > 1:
            yield Fault("symbols", f"more than one {kind}")
    on_strips = {name for strip in game.strips.base + game.strips.free for name in strip}
    for name in names:
        if name not in on_strips:
            yield Fault("symbols", f"{name} is on no strip")


def _strips(game: GameDefinition) -> Iterator[Fault]:
    known = {symbol.name for symbol in game.symbols}
    if bool(game.strips.free) != bool(game.free_spins):
        yield Fault("strips.free", "must be given exactly when free_spins is")
    for mode, strips in (("base", game.strips.base), ("free", game.strips.free)):
        if len(strips) != game.grid.reels and (mode == "base" or strips):
            yield Fault(f"strips.{mode}", f"has {len(strips)} strips for {game.grid.reels} reels")
        for reel, strip in enumerate(strips):
            field = f"strips.{mode}[{reel}]"
            if len(strip) < game.grid.rows:
                yield Fault(field, f"has {len(strip)} symbols for {game.grid.rows} rows")
            for name in strip:
                if name not in known:
                    yield Fault(field, f"unknown symbol {name}")


def _paylines(game: GameDefinition) -> Iterator[Fault]:
    if not game.paylines:
        yield Fault("paylines", "must not be empty")
    for line, rows in enumerate(game.paylines):
        field = f"paylines[{line}]"
        if len(rows) != game.grid.reels:
            yield Fault(field, f"has {len(rows)} rows for {game.grid.reels} reels")
        for row in rows:
            if not 0 <= row < game.grid.rows:
                yield Fault(field, f"row {row} is outside the grid (0..{game.grid.rows - 1})")
        if rows in game.paylines[:line]:
            yield Fault(field, "is the same as an earlier line")


def _by_count(field: str, values: Mapping[int, int], *, count_max: int | None = None) -> Iterator[Fault]:
    """Counts without a gap and values that never fall: more of a symbol also holds fewer of it, so
    "the highest win" would be ambiguous otherwise."""
    counts = sorted(values)
    if not counts:
        yield Fault(field, "must not be empty")
    if counts != list(range(counts[0], counts[-1] + 1)):
        yield Fault(field, f"counts {counts} leave a gap")
    if count_max is not None and counts[-1] != count_max:
        yield Fault(field, f"must list every count up to {count_max}")
    for count in counts[1:]:
        if values[count] < values[count - 1]:
            yield Fault(field, f"{count} symbols give less than {count - 1}")


def _pays(game: GameDefinition) -> Iterator[Fault]:
    payable = _names_of(game, "regular") + _names_of(game, "wild")
    wilds = set(_names_of(game, "wild"))
    if not game.pays:
        yield Fault("pays", "must not be empty")
    for name, values in game.pays.items():
        field = f"pays.{name}"
        if name not in payable:
            yield Fault(field, "is not a regular symbol or a wild")
        yield from _by_count(field, values, count_max=game.grid.reels)
        if min(values) < 2:
            yield Fault(field, "a run needs at least 2 symbols")
        for reel, strip in enumerate(game.strips.base):
            if not (wilds | {name}) & set(strip):
                yield Fault(field, f"{game.grid.reels} of them cannot occur: none on reel {reel}")
        if max(values.values()) > game.max_win_multiple * len(game.paylines):
            yield Fault(field, "pays more than max_win_multiple allows")


def _wild_runs(game: GameDefinition) -> Iterator[Fault]:
    """A run of wilds is paid as wilds. It must not be worth less than as any symbol it could stand for."""
    for wild in _names_of(game, "wild"):
        for strips in (game.strips.base, game.strips.free):
            run_max = _leading_reels_with(wild, strips)
            for name, values in game.pays.items():
                for count in range(2, run_max + 1):
                    if values.get(count, 0) > game.pays.get(wild, {}).get(count, 0):
                        yield Fault(f"pays.{wild}", f"{count} wilds pay less than {count} {name}")


def _leading_reels_with(name: str, strips: Sequence[Sequence[str]]) -> int:
    reels = 0
    while reels < len(strips) and name in strips[reels]:
        reels += 1
    return reels


def _scatters(game: GameDefinition) -> Iterator[Fault]:
    if game.scatter_pays:
        if not _names_of(game, "scatter"):
            yield Fault("scatter_pays", "the game has no scatter")
        yield from _by_count("scatter_pays", game.scatter_pays)
        if max(game.scatter_pays.values()) > game.max_win_multiple:
            yield Fault("scatter_pays", "pays more than max_win_multiple allows")


def _free_spins(game: GameDefinition) -> Iterator[Fault]:
    if game.free_spins is None:
        return
    if not _names_of(game, "scatter"):
        yield Fault("free_spins", "the game has no scatter")
    yield from _by_count("free_spins.award", game.free_spins.award)
    if game.free_spins.retrigger:
        yield from _by_count("free_spins.retrigger", game.free_spins.retrigger)
    if game.free_spins.spins_max < max(game.free_spins.award.values()):
        yield Fault("free_spins.spins_max", "is less than one award")
    if game.free_spins.spins_max > 1000:
        yield Fault("free_spins.spins_max", "is more than 1000")


def _gamble(game: GameDefinition) -> Iterator[Fault]:
    if game.gamble is None:
        return
    if game.gamble.choices != GAMBLE_CHOICES:
        yield Fault("gamble.choices", f"must be {list(GAMBLE_CHOICES)}")
    if game.gamble.win_multiple_max > game.max_win_multiple:
        yield Fault("gamble.win_multiple_max", "is above max_win_multiple")


def _stakes(game: GameDefinition) -> Iterator[Fault]:
    if not game.stakes_minor:
        yield Fault("stakes_minor", "must not be empty")
    lines = len(game.paylines)
    for currency_code, ladder in game.stakes_minor.items():
        field = f"stakes_minor.{currency_code}"
        if not ladder:
            yield Fault(field, "must not be empty")
        if list(ladder) != sorted(set(ladder)):
            yield Fault(field, "must ascend")
        for stake_minor in ladder:
            if stake_minor % lines:
                yield Fault(field, f"{stake_minor} is not divisible by {lines} lines")
        if ladder[-1] * game.max_win_multiple > AMOUNT_MINOR_MAX:
            yield Fault(field, f"{ladder[-1]} x max_win_multiple is above 2**53")


def _rtp_target(game: GameDefinition) -> Iterator[Fault]:
    if not (game.rtp_target.is_finite() and 0 < game.rtp_target < 1):
        yield Fault("rtp_target", "must be above 0 and below 1")
    elif game.rtp_target != game.rtp_target.quantize(Decimal("0.000001")):
        yield Fault("rtp_target", "has more than 6 decimals")
