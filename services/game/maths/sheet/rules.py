"""What a game's file says, on the sheet: everything that decides what a round pays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import groupby

from services.game.engine.definition import (
    BASE,
    CoinValue,
    FreeSpins,
    GameDefinition,
    HoldAndWin,
    Mode,
    Symbol,
)
from services.game.maths.sheet.markdown import paragraph, table

_DIRECTIONS = {"left": "from the left", "right": "from the right", "both": "from the left and the right"}


def rules(game: GameDefinition) -> list[str]:
    """Identity, rules, symbols with their pays and counts, lines and bets."""
    return [
        *table(("game", f"`{game.game_id}`"), [*_identity(game), *_features(game), *_bets(game)]),
        "",
        *_symbols(game),
        "",
        *_lines(game),
    ]


def _identity(game: GameDefinition) -> list[tuple[str, str]]:
    profile = f"{game.profile.name}, the same game as {game.profile.of}" if game.profile else "none"
    return [
        ("version, profile", f"{game.version}, {profile}"),
        ("hash", f"`{game.canonical_hash}` (SHA-256 of the canonical definition)"),
        ("grid", f"{game.grid.reels} reels x {game.grid.rows} rows"),
        ("evaluation", f"{_evaluation(game)}; {game.coins_per_bet} coins a bet"),
    ]


def _evaluation(game: GameDefinition) -> str:
    if game.evaluation == "lines":
        return (
            f"{len(game.paylines)} lines, all played, {_DIRECTIONS[game.direction]}, highest win of each line"
        )
    if game.evaluation == "ways":
        return f"{game.grid.rows**game.grid.reels} ways {_DIRECTIONS[game.direction]}"
    if game.evaluation == "clusters":
        return "clusters of one symbol, side by side"
    return "a number of one symbol anywhere on the grid"


def _features(game: GameDefinition) -> list[tuple[str, str]]:
    rows = []
    if game.cascade:
        steps = " ".join(f"x{factor}" for factor in game.cascade.multipliers)
        if game.cascade.free_multipliers:
            steps += "; in free spins " + " ".join(f"x{factor}" for factor in game.cascade.free_multipliers)
        rows.append(("cascade", f"first grid and falls {steps}; at most {game.cascade.falls_max} falls"))
    if game.free_spins:
        rows.append(("free spins", _free_spins(game.free_spins)))
    if game.hold_and_win:
        rows += _hold_and_win(game.hold_and_win)
    if game.pick:
        trigger = f"{game.pick.trigger_count} or more bonus symbols"
        rows.append(("pick", f"{trigger}: x bet by weight {_weights(game.pick.prizes)}"))
    if game.gamble:
        gamble = (
            f"double-up of a win, fair (returns 1, not in the RTP); at most {game.gamble.steps_max} steps"
        )
        rows.append(("gamble", f"{gamble}, up to {game.gamble.win_multiple_max:,} x bet"))
    modes = [_mode(mode) for mode in game.modes_by_name.values() if mode.name != BASE]
    rows += [("other modes", "; ".join(modes))] if modes else []
    return [*rows, ("cap of a round", f"{game.max_win_multiple:,} x bet: a win above it is the cap")]


def _free_spins(feature: FreeSpins) -> str:
    again = f"again {_by_count(feature.retrigger)}" if feature.retrigger else "no retrigger"
    return (
        f"{_by_count(feature.award)} (scatters: spins), {again}; every win x{feature.multiplier}, "
        f"at most {feature.spins_max}"
    )


def _hold_and_win(feature: HoldAndWin) -> list[tuple[str, str]]:
    odds = feature.coin_odds
    full = f"; all cells {feature.full_multiple:,} x bet" if feature.full_multiple else ""
    return [
        (
            "hold-and-win",
            f"{feature.trigger_count} or more coins; {feature.respins} respins, "
            f"an empty cell gets a coin with {odds.hits}/{odds.of}{full}",
        ),
        ("coin, x bet", f"by weight {_weights(feature.values)}"),
    ]


def _weights(values: tuple[CoinValue, ...]) -> str:
    return ", ".join(f"{value.multiple:,}: {value.weight}" for value in values)


def _mode(mode: Mode) -> str:
    played = f"{mode.free_spins} free spins" if mode.free_spins else f"reels {mode.reels}"
    return f"{mode.name}, stake = bet x {mode.cost}, {played}"


def _bets(game: GameDefinition) -> list[tuple[str, str]]:
    """One row per ladder."""
    ladders = sorted(game.stakes_minor.items(), key=lambda item: (item[1], item[0]))
    return [
        ("bets " + ", ".join(code for code, _ in same), " ".join(map(str, bets)) + " (minor units)")
        for bets, same in groupby(ladders, key=lambda item: item[1])
    ]


def _symbols(game: GameDefinition) -> list[str]:
    """A row per symbol; a column per reel set with the counts (or weights) by reel."""
    reel_sets = {
        **{name: [_counted(strip) for strip in strips] for name, strips in game.strips.items()},
        **{name: list(map(dict, weights)) for name, weights in game.weights.items()},
    }
    rows = [
        (
            symbol.name,
            _kind(symbol),
            _pays(game, symbol),
            *(_by_reel([reel.get(symbol.name, 0) for reel in reels]) for reels in reel_sets.values()),
        )
        for symbol in game.symbols
    ]
    totals = {name: [sum(reel.values()) for reel in reels] for name, reels in reel_sets.items()}
    rows.append(("length", "", "", *(_by_reel(lengths) for lengths in totals.values())))
    rows.append(("cycle", "", "", *(_cycle(game, name, sizes) for name, sizes in totals.items())))
    heads = [f"{name} ({'strip' if name in game.strips else 'weights'})" for name in reel_sets]
    return table(("symbol", "kind", "pays", *heads), rows)


def _counted(strip: tuple[str, ...]) -> dict[str, int]:
    return {symbol: strip.count(symbol) for symbol in strip}


def _cycle(game: GameDefinition, name: str, sizes: list[int]) -> str:
    """Equally likely screens: stops, or draws of every cell."""
    cells = 1 if name in game.strips else game.grid.rows
    return f"{math.prod(sizes) ** cells:,}"


def _by_reel(numbers: list[int]) -> str:
    if len(set(numbers)) == 1:
        return f"{numbers[0]} on each"
    return " ".join(map(str, numbers))


def _kind(symbol: Symbol) -> str:
    notes: list[str] = [symbol.kind]
    notes += [f"x{symbol.multiplier}"] if symbol.multiplier > 1 else []
    notes += ["expands"] if symbol.expands else []
    notes += ["no wild"] if symbol.kind == "regular" and not symbol.takes_wild else []
    return " ".join(notes)


def _pays(game: GameDefinition, symbol: Symbol) -> str:
    """Regular symbols and wilds: x coin; scatters: x bet."""
    if symbol.kind == "scatter" and game.scatter_pays:
        return f"{_by_count(game.scatter_pays)} x bet"
    return _by_count(game.pays.get(symbol.name, {}))


def _by_count(values: Mapping[int, int]) -> str:
    return ", ".join(f"{count}: {value:,}" for count, value in sorted(values.items()))


def _lines(game: GameDefinition) -> list[str]:
    text = "Counts by reel, from the left. Pays by number of symbols, x coin where nothing else is said."
    if game.evaluation in ("clusters", "anywhere"):
        text += " A number between two listed ones pays like the lower."
    if game.paylines:
        lines = " ".join("".join(map(str, line)) for line in game.paylines)
        text += f" Lines (row by reel, 0 is the top): {lines}."
    return paragraph(text)
