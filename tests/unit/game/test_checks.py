"""Every combination of the format that is refused, each by one change of a game that loads."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from services.game.engine import checks
from services.game.engine.definition import GameDefinition

Change = Callable[[dict[str, Any]], object]

REEL = ["OWL", "LARK", "OWL", "WILD", "STAR", "CHEST", "COIN", "LARK"]
WEIGHTS = {name: REEL.count(name) for name in REEL}
FREE = [{"OWL": 3, "LARK": 2, "STAR": 1}] * 3
GAME: dict[str, Any] = {
    "game_id": "all",
    "version": 1,
    "name": "All",
    "grid": {"reels": 3, "rows": 3},
    "symbols": [
        {"name": "OWL", "kind": "regular"},
        {"name": "LARK", "kind": "regular"},
        {"name": "WILD", "kind": "wild", "multiplier": 2},
        {"name": "STAR", "kind": "scatter"},
        {"name": "CHEST", "kind": "bonus"},
        {"name": "COIN", "kind": "coin"},
    ],
    "evaluation": "ways",
    "coins": 10,
    "strips": {"base": [REEL, REEL, REEL]},
    "weights": {"rich": [WEIGHTS, WEIGHTS, WEIGHTS], "free": FREE},
    "pays": {"OWL": {3: 2}, "LARK": {2: 1, 3: 4}},
    "scatter_pays": {3: 1},
    "free_spins": {"award": {3: 5}, "multiplier": 2, "spins_max": 50},
    "cascade": {"falls_max": 10, "multipliers": [1, 2], "free_multipliers": [2, 4]},
    "hold_and_win": {
        "trigger_count": 4,
        "respins": 3,
        "coin_odds": {"hits": 1, "of": 9},
        "values": [{"weight": 5, "multiple": 1}, {"weight": 1, "multiple": 10}],
        "full_multiple": 100,
    },
    "pick": {"trigger_count": 3, "prizes": [{"weight": 1, "multiple": 5}]},
    "gamble": {"choices": ["RED", "BLACK"], "steps_max": 3, "win_multiple_max": 100},
    "modes": [
        {"name": "ante", "cost": "1.5", "reels": "rich", "rtp_target": "0.95"},
        {"name": "bought", "cost": "50", "free_spins": 5, "rtp_target": "0.95"},
    ],
    "stakes_minor": {"EUR": [10, 20, 100]},
    "rtp_target": "0.95",
    "deviation": "3.5",
    "max_win_multiple": 1000,
    "profile": {"of": "all-95", "name": "94"},
}


def as_lines(content: dict[str, Any]) -> None:
    del content["coins"]
    content.update(evaluation="lines", paylines=[[row] * 3 for row in range(3)] + [[0, 1, 2], [2, 1, 0]])
    content["pays"] = {"OWL": {3: 2}, "LARK": {3: 4}, "WILD": {3: 9}}
    content["stakes_minor"] = {"EUR": [10, 20, 100]}


def plain(content: dict[str, Any]) -> None:
    """Lines on strips without any feature."""
    as_lines(content)
    for key in ("weights", "modes", "free_spins", "scatter_pays", "hold_and_win", "pick", "cascade"):
        del content[key]
    content["symbols"] = content["symbols"][:3]


def as_(evaluation: str) -> Change:
    def change(content: dict[str, Any]) -> None:
        content.update(evaluation=evaluation, pays={"OWL": {4: 2, 8: 4}, "LARK": {4: 4}})

    return change


def put(path: str, value: Any) -> Change:
    """Sets a field; a path is keys with dots between them."""

    def change(content: dict[str, Any]) -> None:
        *above, last = [int(key) if key.isdigit() else key for key in path.split(".")]
        part: Any = content
        for key in above:
            part = part[key]
        part[last] = value

    return change


def drop(path: str) -> Change:
    def change(content: dict[str, Any]) -> None:
        *above, last = path.split(".")
        part: Any = content
        for key in above:
            part = part[key]
        del part[last]

    return change


def add(path: str, value: Any) -> Change:
    def change(content: dict[str, Any]) -> None:
        content[path].append(value)

    return change


def first_fault(*changes: Change) -> str:
    """What `load` would say, or ""."""
    content = copy.deepcopy(GAME)
    for change in changes:
        change(content)
    fault = next(checks.faults(msgspec.convert(content, GameDefinition)), None)
    return f"{fault.field}: {fault.problem}" if fault else ""


@pytest.mark.parametrize("change", [put("version", 2), as_lines, as_("clusters"), as_("anywhere")])
def test_the_game_itself_is_sound(change: Change) -> None:
    assert first_fault(change) == ""


FAULTS: list[tuple[list[Change], str]] = [
    # symbols
    ([put("symbols.0.multiplier", 2)], "symbols[0].multiplier: is for wilds"),
    ([put("symbols.0.expands", True)], "symbols[0].expands: is for wilds"),
    ([put("symbols.2.expands", True)], "symbols[2].expands: does not go together with cascade"),
    ([put("symbols.3.takes_wild", False)], "symbols[3].takes_wild: is for regular symbols"),
    (
        [put("symbols.0.takes_wild", False), put("symbols.2", {"name": "WILD", "kind": "regular"})],
        "symbols[0].takes_wild: the game has no wild",
    ),
    ([put("symbols.0.takes_wild", False), put("symbols.1.takes_wild", False)], "symbols: WILD gives nothing"),
    ([put("symbols.0.kind", "scatter")], "symbols: more than one scatter"),
    ([put("symbols.0.kind", "coin")], "symbols: more than one coin"),
    ([put("symbols.0.kind", "bonus")], "symbols: more than one bonus"),
    ([add("symbols", {"name": "KITE", "kind": "regular"})], "symbols: KITE is on no reel"),
    ([drop("hold_and_win")], "symbols: COIN gives nothing"),
    ([drop("pick")], "symbols: CHEST gives nothing"),
    (
        [
            drop("scatter_pays"),
            drop("free_spins"),
            drop("weights.free"),
            put("modes", GAME["modes"][:1]),
            put("cascade.free_multipliers", []),
        ],
        "symbols: STAR gives nothing",
    ),
    # modes and reels
    ([put("modes.0.name", "base")], "modes[0].name: base exists without being listed"),
    ([put("modes.1.name", "ante")], "modes[1].name: is listed twice"),
    ([put("modes.0.reels", "free")], "modes[0].reels: free is for free spins"),
    ([put("modes.0.reels", "poor")], "modes[0].reels: no strips or weights poor"),
    ([put("modes.0.reels", "base")], "modes[0]: would play like base"),
    ([put("modes.1.reels", "rich")], "modes[1].reels: a mode that buys free spins has no paid screen"),
    ([put("modes.1.free_spins", 51)], "modes[1].free_spins: is more than free_spins.spins_max"),
    ([drop("free_spins")], "modes[1].free_spins: the game has no free spins"),
    ([put("weights.base", FREE)], "weights.base: is in strips too"),
    ([drop("strips.base"), put("modes", [])], "strips.base: is missing"),
    ([drop("weights.free")], "strips.free: must be given exactly when free_spins is"),
    ([put("modes", []), drop("free_spins")], "weights.free: must be given exactly when free_spins is"),
    ([put("modes", GAME["modes"][1:])], "weights.rich: is used by no mode"),
    ([put("weights.rich", FREE[:2])], "weights.rich: has 2 weights for 3 reels"),
    ([put("weights.rich.1", {})], "weights.rich[1]: must not be empty"),
    (
        [put("weights.rich.1", {"OWL": 2**32, "LARK": 1})],
        "weights.rich[1]: weights add up to more than 2**32",
    ),
    ([put("weights.rich.1", {"EAGLE": 1})], "weights.rich[1]: unknown symbol EAGLE"),
    ([put("strips.base.1", REEL[:2])], "strips.base[1]: has 2 symbols for 3 rows"),
    # pays
    ([put("pays.WILD", {3: 9})], "pays.WILD: a wild has no pays of its own in ways"),
    ([as_("clusters"), put("pays.WILD", {3: 9})], "pays.WILD: a wild has no pays of its own in clusters"),
    ([put("paylines", [[0, 0, 0]])], "paylines: are for lines, not for ways"),
    ([drop("coins")], "coins: must be given where there are no paylines"),
    ([as_("anywhere"), put("direction", "both")], "direction: is for lines and ways"),
    (
        [
            as_lines,
            put("grid.rows", 5),
            put("paylines", [[a, b, c] for a in range(5) for b in range(5) for c in range(5)][:65]),
        ],
        "paylines: has 65 lines, at most 64 are played",
    ),
    (
        [
            as_lines,
            add("symbols", {"name": "JOKER", "kind": "wild"}),
            put("strips.base.0", [*REEL, "JOKER"]),
            put("pays.JOKER", {3: 9}),
        ],
        "pays.JOKER: only one wild may have pays",
    ),
    (
        [as_("anywhere"), put("pays.OWL", {4: 2, 10: 4})],
        "pays.OWL: 10 of them cannot occur: at most 9 are seen",
    ),
    ([as_("anywhere"), put("pays.OWL", {4: 4, 8: 2})], "pays.OWL: 8 symbols give less than 4"),
    ([as_lines, drop("pays.WILD")], "pays: 3 wilds pay less than 3 OWL"),
    (
        [
            put("strips.base.1", ["LARK"] * 3),
            put("weights", {**GAME["weights"], "rich": [WEIGHTS, {"LARK": 1}, WEIGHTS]}),
            put("weights.free.1", {"LARK": 1}),
            put("pays.LARK", {2: 1, 3: 4}),
            drop("pays.OWL"),
        ],
        "",
    ),
    (
        [
            put("pays.LARK", {2: 1, 3: 4}),
            put("strips.base.2", ["LARK"] * 3),
            put("weights.rich.2", {"LARK": 1}),
            put("weights.free.2", {"LARK": 1}),
            drop("pays.OWL"),
        ],
        "pays.LARK: 2 of them cannot occur: the next reel always shows one",
    ),
    (
        [
            plain,
            put("pays.OWL", {3: 2}),
            put("strips.base", [["WILD", "LARK"] * 2, ["WILD", "LARK"] * 2, ["WILD", "LARK"] * 2 + ["OWL"]]),
            put("pays.WILD", {3: 1, 2: 3}),
            put("pays.WILD", {2: 3, 3: 4}),
        ],
        "pays.OWL: 3 of them cannot occur: its wilds always pay more",
    ),
    (
        [
            plain,
            put(
                "strips.base", [["WILD", "LARK", "LARK"], ["WILD", "LARK", "LARK"], ["WILD", "LARK", "LARK"]]
            ),
            put("symbols", GAME["symbols"][1:3]),
            put("pays", {"LARK": {3: 4}, "WILD": {3: 4}}),
        ],
        "",
    ),
    (
        [
            plain,
            as_("anywhere"),
            drop("paylines"),
            put("coins", 10),
            put("strips.base", [["OWL"] * 3, ["OWL"] * 3, REEL[:4]]),
            put("pays", {"OWL": {4: 2, 6: 4}}),
        ],
        "pays.OWL: 4 of them cannot occur: no screen has so many and fewer than 6",
    ),
    # features
    ([put("cascade.multipliers", [])], "cascade.multipliers: must not be empty"),
    (
        [put("cascade.falls_max", 1), put("cascade.multipliers", [1, 2, 3])],
        "cascade.multipliers: has more than",
    ),
    ([put("cascade.falls_max", 1000)], "cascade.falls_max: one outcome could show 459459 cells"),
    ([put("scatter_pays", {10: 1})], "scatter_pays: 10 scatter symbols cannot occur: at most 9 are seen"),
    ([put("free_spins.award", {10: 1})], "free_spins.award: 10 scatter symbols cannot occur"),
    ([put("free_spins.retrigger", {10: 1})], "free_spins.retrigger: 10 scatter symbols cannot occur"),
    ([put("weights.free.0", {"OWL": 1, "COIN": 1})], "weights.free: COIN does nothing in free spins"),
    ([put("weights.free.0", {"OWL": 1, "CHEST": 1})], "weights.free: CHEST does nothing in free spins"),
    ([put("hold_and_win.trigger_count", 10)], "hold_and_win.trigger_count: is more than the 9 cells"),
    ([put("pick.trigger_count", 10)], "pick.trigger_count: is more than the 9 cells"),
    (
        [
            drop("cascade"),
            drop("weights.rich"),
            put("modes", GAME["modes"][1:]),
            put("pick.trigger_count", 4),
            put("hold_and_win.trigger_count", 3),
        ],
        "pick.trigger_count: 4 bonus symbols cannot occur: at most 3 are seen",
    ),
    ([put("hold_and_win.coin_odds.hits", 10)], "hold_and_win.coin_odds: hits more than it tries"),
    ([put("hold_and_win.coin_odds.of", 2**32 + 1)], "hold_and_win.coin_odds.of: is above 2**32"),
    ([put("hold_and_win.values", [])], "hold_and_win.values: must not be empty"),
    ([put("hold_and_win.values.1.weight", 2**32)], "hold_and_win.values: weights add up to more than 2**32"),
    (
        [put("hold_and_win.values.1.multiple", 1001)],
        "hold_and_win.values[1].multiple: is above max_win_multiple",
    ),
    ([put("hold_and_win.full_multiple", 1001)], "hold_and_win.full_multiple: is above max_win_multiple"),
    ([put("pick.prizes.0.multiple", 1001)], "pick.prizes[0].multiple: is above max_win_multiple"),
    # amounts
    ([put("stakes_minor.EUR", [10, 25])], "stakes_minor.EUR: 25 is not divisible by 10 coins"),
    ([put("modes.0.cost", "0")], "modes[0].cost: must be above 0"),
    ([put("modes.0.cost", "NaN")], "modes[0].cost: must be above 0"),
    ([put("modes.0.cost", "1e999999")], "modes[0].cost: must be above 0 and at most 100000"),
    ([put("modes.0.cost", "1e-999999")], "modes[0].cost: has more than 6 decimals"),
    ([put("modes.0.cost", "1.25")], "modes[0].cost: x 10 EUR is not a whole number of minor units"),
    (
        [
            put("max_win_multiple", 1000),
            put("stakes_minor.EUR", [2**43]),
            put("coins", 1),
            put("modes.1.cost", "5000"),
        ],
        "modes[1].cost: x 8796093022208 EUR is above 2**53",
    ),
    (
        [put("hold_and_win.respins", 16667)],
        "hold_and_win.respins: one outcome could take 250005 draws, at most 250000 are kept",
    ),
    ([put("modes.0.rtp_target", "1")], "modes[0].rtp_target: must be above 0 and below 1"),
    ([put("deviation", "3.555")], "deviation: has more than 2 decimals"),
    ([put("modes.1.deviation", "-1")], "modes[1].deviation: must be above 0"),
    ([put("profile.of", "all")], "profile.of: is this game itself"),
    (
        [as_("anywhere"), put("symbols.2.multiplier", 100)],
        "pays: one screen could win more than 2**53 EUR before the cap",
    ),
]


def test_more_symbols_than_a_byte_tells_apart_are_refused() -> None:
    symbols = [{"name": f"X{number}", "kind": "regular"} for number in range(257)]
    with pytest.raises(msgspec.ValidationError, match=r"length <= 256 - at `\$\.symbols`"):
        msgspec.convert({**GAME, "symbols": symbols}, GameDefinition)


@pytest.mark.parametrize(("changes", "message"), FAULTS, ids=[message for _, message in FAULTS])
def test_what_cannot_be_played_or_paid_is_refused(changes: list[Change], message: str) -> None:
    assert first_fault(*changes).startswith(message)
