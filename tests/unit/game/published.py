"""A published game to check the engine against: the strips and pays of Atkins Diet as analysed by
Michael Shackleford, https://wizardofodds.com/games/slots/atkins-diet/ (stops 1-24 from the page, 25-32 from
two public transcriptions that agree). Retriggering free spins are an assumption.
"""

from __future__ import annotations

import msgspec

from services.game.engine.definition import GameDefinition

_STRIPS = (
    "XMHGNECMGBWNEMSWBCEANMHCEXBNGWSB",
    "MWSGCMHBNSGMHABECNGWXMBCNEWMSHCN",
    "HBEXCMBHGNSWBMCGENMWHGNCEAWNBCMS",
    "HCAXBNCGSENMGCBHMNWGCEBWNMEHGSMN",
    "NXSHCGBNWCGHBSMEGHABWMEHNBSMGECW",
)
_LINES = (
    "11111 00000 22222 01210 21012 10001 12221 00122 22100 10121 "
    "12101 01110 21112 01010 21212 11011 11211 00200 22022 02220"
)
_PAYS = {
    "A": {2: 5, 3: 50, 4: 500, 5: 5000},
    "S": {2: 3, 3: 40, 4: 200, 5: 1000},
    "H": {2: 2, 3: 30, 4: 150, 5: 500},
    "W": {2: 2, 3: 25, 4: 100, 5: 300},
    "G": {3: 20, 4: 75, 5: 200},
    "E": {3: 20, 4: 75, 5: 200},
    "B": {3: 15, 4: 50, 5: 100},
    "C": {3: 15, 4: 50, 5: 100},
    "N": {3: 10, 4: 25, 5: 50},
    "M": {3: 10, 4: 25, 5: 50},
}


def atkins_diet() -> GameDefinition:
    kinds = {"A": "wild", "X": "scatter"}
    return msgspec.convert(
        {
            "game_id": "atkins-diet",
            "version": 1,
            "name": "Atkins Diet",
            "grid": {"reels": 5, "rows": 3},
            "symbols": [{"name": name, "kind": kinds.get(name, "regular")} for name in "ASHWGEBCNMX"],
            "strips": {mode: [list(strip) for strip in _STRIPS] for mode in ("base", "free")},
            "paylines": [[int(row) for row in line] for line in _LINES.split()],
            "pays": _PAYS,
            "scatter_pays": {3: 5, 4: 25, 5: 100},
            "free_spins": {"award": {3: 10}, "retrigger": {3: 10}, "multiplier": 3, "spins_max": 1000},
            "stakes_minor": {"USD": [20, 100]},
            "rtp_target": "0.970458",
            "max_win_multiple": 100_000,
        },
        GameDefinition,
    )
