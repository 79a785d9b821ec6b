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


_COUNTS = {
    # Symbol counts on reels 1 to 5, in the order of _LARRY_PAYS, then bonus and scatter.
    "96.2": "22142 44344 44545 64444 54667 64567 66566 56566 55687 25600 22222",
    "85.0": "22142 43334 34385 43434 34637 43666 A8347 394A5 A3A78 25600 22222",
}
_REEL_STOPS = (47, 46, 48, 50, 50)
_LARRY_PAYS = {
    "WILD": {2: 5, 3: 100, 4: 500, 5: 10000},
    "LOGO": {2: 2, 3: 40, 4: 200, 5: 1000},
    "BUOY": {3: 25, 4: 100, 5: 500},
    "BOAT": {3: 25, 4: 100, 5: 500},
    "LIGHTHOUSE": {3: 10, 4: 50, 5: 500},
    "TUNA": {3: 10, 4: 50, 5: 250},
    "CLAM": {3: 5, 4: 30, 5: 200},
    "GULL": {3: 5, 4: 30, 5: 200},
    "STARFISH": {3: 5, 4: 30, 5: 150},
    "BONUS": {3: 331, 4: 331, 5: 331},
}
LARRY_BONUS = 331
"""Average of the bonus, x line bet: a public re-implementation that follows the PAR sheet has it, rounded."""


def lobstermania(version: str) -> GameDefinition:
    """Lucky Larry's Lobstermania of IGT in the version that pays back 96.2 or 85.0 per cent: K. Harrigan and
    M. Dixon, PAR Sheets, probabilities, and slot machine play, J. Gambling Issues 23 (2009),
    doi 10.4309/jgi.2009.23.5; symbol counts from https://wizardofodds.com/games/slots/lobstermania/.

    The sheet lists counts, not orders: the two scatters of a reel are put far apart here, the rest in the
    order of the table. Three bonus symbols on reels 1 to 3 of a line pay the average of the bonus.
    """
    names = (*_LARRY_PAYS, "SCATTER")
    counts = [[int(count, 16) for count in row] for row in _COUNTS[version].split()]
    strips = []
    for reel, stops in enumerate(_REEL_STOPS):
        strip = [name for name, row in zip(_LARRY_PAYS, counts, strict=False) for _ in range(row[reel])]
        strip.insert(0, "SCATTER")
        strip.insert(stops // 2, "SCATTER")
        assert len(strip) == stops
        strips.append(strip)
    kinds = {"WILD": "wild", "SCATTER": "scatter"}
    return msgspec.convert(
        {
            "game_id": "lobstermania",
            "version": 1,
            "name": "Lucky Larry's Lobstermania",
            "grid": {"reels": 5, "rows": 3},
            "symbols": [
                {"name": name, "kind": kinds.get(name, "regular"), "takes_wild": name != "BONUS"}
                for name in names
            ],
            "strips": {"base": strips},
            "paylines": [[int(row) for row in line] for line in _LINES.split()[:15]],
            "pays": _LARRY_PAYS,
            "scatter_pays": {3: 5, 4: 25, 5: 200},
            "stakes_minor": {"USD": [15]},
            "rtp_target": "0.9625",
            "max_win_multiple": 20_000,
        },
        GameDefinition,
    )
