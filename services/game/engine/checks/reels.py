"""Checks of symbols, modes and the reels they stand on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from services.game.engine.checks.fault import Fault, names_of, used_sets, weight_faults

if TYPE_CHECKING:
    from services.game.engine.definition import GameDefinition, Symbol

_ONE_OF = ("scatter", "bonus", "coin")


def faults(game: GameDefinition) -> Iterator[Fault]:
    """Faults, in the order of dependence."""
    yield from _symbols(game)
    yield from _modes(game)
    yield from _sets(game)
    yield from _strips(game)
    yield from _weights(game)
    yield from _unused_symbols(game)


def _symbols(game: GameDefinition) -> Iterator[Fault]:
    names = [symbol.name for symbol in game.symbols]
    for index, symbol in enumerate(game.symbols):
        field = f"symbols[{index}]"
        if symbol.name in names[:index]:
            yield Fault("symbols", f"{symbol.name} is listed twice", f"[{index}]")
        yield from _options(game, symbol, field)
    for kind in _ONE_OF:
        if len(names_of(game, kind)) > 1:
            yield Fault("symbols", f"more than one {kind}")


def _options(game: GameDefinition, symbol: Symbol, field: str) -> Iterator[Fault]:
    if symbol.kind != "wild" and symbol.multiplier > 1:
        yield Fault(f"{field}.multiplier", "is for wilds")
    if symbol.kind != "wild" and symbol.expands:
        yield Fault(f"{field}.expands", "is for wilds")
    if symbol.expands and game.cascade:
        yield Fault(f"{field}.expands", "does not go together with cascade")
    if not symbol.takes_wild and symbol.kind != "regular":
        yield Fault(f"{field}.takes_wild", "is for regular symbols")
    if not symbol.takes_wild and not names_of(game, "wild"):
        yield Fault(f"{field}.takes_wild", "the game has no wild")


def _modes(game: GameDefinition) -> Iterator[Fault]:
    seen = {"base"}
    for index, mode in enumerate(game.modes):
        field = f"modes[{index}]"
        if mode.name in seen:
            problem = "base exists without being listed" if mode.name == "base" else "is listed twice"
            yield Fault(f"{field}.name", problem)
        seen.add(mode.name)
        if mode.reels == "free":
            yield Fault(f"{field}.reels", "free is for free spins")
        if mode.reels not in game.strips and mode.reels not in game.weights:
            yield Fault(f"{field}.reels", f"no strips or weights {mode.reels}")
        if not mode.free_spins and mode.reels == "base":
            yield Fault(field, "would play like base: it has neither free_spins nor reels of its own")
        if mode.free_spins and mode.reels != "base":
            yield Fault(f"{field}.reels", "a mode that buys free spins has no paid screen")
        if mode.free_spins and game.free_spins is None:
            yield Fault(f"{field}.free_spins", "the game has no free spins")
        if game.free_spins and mode.free_spins > game.free_spins.spins_max:
            yield Fault(f"{field}.free_spins", "is more than free_spins.spins_max")


def _sets(game: GameDefinition) -> Iterator[Fault]:
    for name in game.weights:
        if name in game.strips:
            yield Fault(f"weights.{name}", "is in strips too")
    given = {**game.strips, **game.weights}
    if "base" not in given:
        yield Fault("strips.base", "is missing, in strips and in weights")
    if ("free" in given) != bool(game.free_spins):
        field = "weights.free" if "free" in game.weights else "strips.free"
        yield Fault(field, "must be given exactly when free_spins is")
    for name in given:
        if name not in used_sets(game):
            yield Fault(f"{_where(game, name)}.{name}", "is used by no mode")
    for name, reels in given.items():
        if len(reels) != game.grid.reels:
            where = _where(game, name)
            yield Fault(f"{where}.{name}", f"has {len(reels)} {where} for {game.grid.reels} reels")


def _where(game: GameDefinition, name: str) -> str:
    return "strips" if name in game.strips else "weights"


def _strips(game: GameDefinition) -> Iterator[Fault]:
    known = {symbol.name for symbol in game.symbols}
    for name, strips in game.strips.items():
        for reel, strip in enumerate(strips):
            field = f"strips.{name}[{reel}]"
            if len(strip) < game.grid.rows:
                yield Fault(field, f"has {len(strip)} symbols for {game.grid.rows} rows")
            for place, symbol in enumerate(strip):
                if symbol not in known:
                    yield Fault(field, f"unknown symbol {symbol}", f"[{place}]")


def _weights(game: GameDefinition) -> Iterator[Fault]:
    known = {symbol.name for symbol in game.symbols}
    for name, reels in game.weights.items():
        for reel, weights in enumerate(reels):
            field = f"weights.{name}[{reel}]"
            yield from weight_faults(field, list(weights.values()))
            for symbol in weights:
                if symbol not in known:
                    yield Fault(field, f"unknown symbol {symbol}", symbol)


def _unused_symbols(game: GameDefinition) -> Iterator[Fault]:
    shown = {
        name
        for reels in used_sets(game)
        for reel in (game.strips.get(reels) or game.weights[reels])
        for name in reel
    }
    for index, symbol in enumerate(game.symbols):
        if symbol.name not in shown:
            yield Fault("symbols", f"{symbol.name} is on no reel", f"[{index}]")
