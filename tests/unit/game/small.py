"""Small games of every mechanic and combination, for property tests."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import assume
from hypothesis import strategies as st

from services.game.engine import checks
from services.game.engine.definition import GameDefinition

REGULAR = ("OWL", "LARK", "KITE")
EVALUATIONS = ("lines", "ways", "clusters", "anywhere")


@st.composite
def _symbols(draw: st.DrawFn, *, cascade: bool, features: set[str]) -> list[dict[str, Any]]:
    wilds = draw(st.integers(0, 2))
    symbols: list[dict[str, Any]] = [{"name": name, "kind": "regular"} for name in REGULAR]
    if wilds and draw(st.booleans()):
        symbols[0]["takes_wild"] = False
    for index in range(wilds):
        wild: dict[str, Any] = {"name": f"WILD{index}", "kind": "wild"}
        wild["multiplier"] = draw(st.sampled_from([1, 2, 3]))
        wild["expands"] = not cascade and draw(st.booleans())
        symbols.insert(draw(st.integers(0, len(symbols))), wild)
    if features & {"scatter_pays", "free_spins"}:
        symbols.append({"name": "STAR", "kind": "scatter"})
    if "pick" in features:
        symbols.append({"name": "CHEST", "kind": "bonus"})
    if "hold_and_win" in features:
        symbols.append({"name": "COIN", "kind": "coin"})
    return symbols


def _reel_set(draw: st.DrawFn, names: list[str], *, reels: int, rows: int, by_weights: bool) -> list[Any]:
    """Reels on which every symbol stands somewhere."""
    listed: list[list[str]] = []
    for reel in range(reels):
        own = draw(st.lists(st.sampled_from(names), min_size=rows, max_size=rows + 3))
        # Each reel starts with another symbol, so that few are missing on all.
        listed.append([*REGULAR, *own, names[reel % len(names)]])
    listed[draw(st.integers(0, reels - 1))].extend(names)
    if by_weights:
        return [{name: reel.count(name) for name in reel} for reel in listed]
    return [draw(st.permutations(reel)) for reel in listed]


def _pays(
    draw: st.DrawFn, evaluation: str, symbols: list[dict[str, Any]], *, reels: int, cells: int
) -> dict[str, Any]:
    pays = {}
    for name in REGULAR:
        first = draw(st.integers(2, reels))
        counts = list(range(first, reels + 1))
        if evaluation in ("clusters", "anywhere"):
            counts = sorted(draw(st.sets(st.integers(2, min(5, cells)), min_size=1, max_size=3)))
        values = sorted(draw(st.lists(st.integers(1, 9), min_size=len(counts), max_size=len(counts))))
        pays[name] = dict(zip(counts, values, strict=True))
    wilds = [symbol["name"] for symbol in symbols if symbol["kind"] == "wild"]
    if wilds and evaluation == "lines":
        # Not less than any symbol that it stands in for.
        least = {count: max(pays[name].get(count, 1) for name in REGULAR) for count in range(2, reels + 1)}
        more = draw(st.integers(0, 4))
        pays[draw(st.sampled_from(wilds))] = {count: value + more for count, value in least.items()}
    return pays


@st.composite
def games(draw: st.DrawFn, *, evaluation: str, strips_only: bool = False) -> GameDefinition:
    """A definition without faults: 2 or 3 reels and rows, strips or weights, some features, some modes.

    `strips_only`: without weights and cascades, so that all grids are those of the stops.
    """
    reels, rows = draw(st.integers(2, 3)), draw(st.integers(2, 3))
    cascade = not strips_only and draw(st.booleans())
    features = draw(st.sets(st.sampled_from(["scatter_pays", "free_spins", "pick", "hold_and_win"])))
    symbols = draw(_symbols(cascade=cascade, features=features))
    content: dict[str, Any] = {
        "game_id": "small",
        "version": 1,
        "name": "Small",
        "grid": {"reels": reels, "rows": rows},
        "symbols": symbols,
        "evaluation": evaluation,
        "pays": _pays(draw, evaluation, symbols, reels=reels, cells=reels * rows),
        "stakes_minor": {"USD": [20]},
        "rtp_target": "0.5",
        "max_win_multiple": draw(st.sampled_from([20, 30, 10_000])),
        "coins": draw(st.sampled_from([5, 20])),
        "strips": {},
        "weights": {},
    }
    names = [symbol["name"] for symbol in symbols]
    sets = {"base": names}
    if draw(st.booleans()):
        sets["rich"] = names
        content["modes"] = [{"name": "ante", "cost": "1.5", "rtp_target": "0.5", "reels": "rich"}]
    if "free_spins" in features:
        kinds = {symbol["name"]: symbol["kind"] for symbol in symbols}
        sets["free"] = [name for name in names if kinds[name] not in ("bonus", "coin")]
        _add_free_spins(draw, content)
    for name, shown in sets.items():
        by_weights = not strips_only and draw(st.booleans())
        given = _reel_set(draw, shown, reels=reels, rows=rows, by_weights=by_weights)
        content["weights" if by_weights else "strips"][name] = given
    _add_rest(draw, content, evaluation, features, cascade=cascade)
    game = msgspec.convert(content, GameDefinition)
    assume(next(checks.faults(game), None) is None)  # one in ten has some
    return game


def _add_free_spins(draw: st.DrawFn, content: dict[str, Any]) -> None:
    content["free_spins"] = {
        "award": {1: 1, 2: 2},
        "retrigger": draw(st.sampled_from([{}, {1: 1}])),
        "multiplier": draw(st.integers(1, 3)),
        "spins_max": draw(st.integers(2, 5)),
    }
    bought = {"name": "bought", "cost": "20", "rtp_target": "0.5", "free_spins": 2}
    content["modes"] = [*content.get("modes", []), bought]


def _add_rest(
    draw: st.DrawFn, content: dict[str, Any], evaluation: str, features: set[str], *, cascade: bool
) -> None:
    grid = content["grid"]
    if evaluation == "lines":
        line = st.tuples(*[st.integers(0, grid["rows"] - 1)] * grid["reels"])
        content["paylines"] = draw(st.lists(line, min_size=1, max_size=4, unique=True))
    if evaluation in ("lines", "ways"):
        content["direction"] = draw(st.sampled_from(["left", "right", "both"]))
    if cascade:
        free = [4, 5] if "free_spins" in features and draw(st.booleans()) else []
        multipliers = draw(st.sampled_from([[1], [1, 2], [2, 3]]))
        falls_max = draw(st.integers(1, 4))
        content["cascade"] = {"falls_max": falls_max, "multipliers": multipliers, "free_multipliers": free}
    if "scatter_pays" in features:
        content["scatter_pays"] = {1: 2, 2: 3}
    values = [{"weight": 3, "multiple": 1}, {"weight": 1, "multiple": 7}]
    if "pick" in features:
        content["pick"] = {"trigger_count": 1, "prizes": values}
    if "hold_and_win" in features:
        odds = {"hits": draw(st.integers(1, 3)), "of": 4}
        content["hold_and_win"] = {
            "trigger_count": 1,
            "respins": 2,
            "coin_odds": odds,
            "values": values,
            "full_multiple": 9,
        }
