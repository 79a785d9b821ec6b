"""Single lines: every line that a wild starts, where two readings compete, and the published examples."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from services.game.engine import definition, lines, loading
from services.game.engine.definition import GameDefinition
from tests.unit.game import naive, published

ATKINS = published.atkins_diet()
LINE_GAMES = {
    game.game_id: game
    for game in (*loading.load_all(definition.SHIPPED_GAMES).values(), ATKINS)
    if game.evaluation == "lines"
}


@pytest.mark.parametrize("game", LINE_GAMES.values(), ids=LINE_GAMES.keys())
def test_every_line_that_starts_with_a_wild_pays_its_best_reading(game: GameDefinition) -> None:
    names = game.tables.names
    table = lines.build(game)
    wild = table.wild
    for rest in itertools.product(range(len(names)), repeat=game.grid.reels - 1):
        symbols = (wild, *rest)
        line = [names[symbol] for symbol in symbols]
        assert lines.best_run(table, symbols)[2] == naive.line_multiple(game, line), line


@pytest.mark.parametrize(
    ("line", "best"),
    [
        ("AAAAA", ("A", 5, 5000)),
        ("AAAAN", ("A", 4, 500)),  # four wilds beat five of N
        ("AAAHS", ("H", 4, 150)),  # four of H beat three wilds
        ("AAANM", ("A", 3, 50)),  # three wilds beat four of N
        ("AANNM", ("N", 4, 25)),
        ("AAMNB", ("M", 3, 10)),
        ("AAXAA", ("A", 2, 5)),  # a wild does not stand in for the scatter
        ("SASSS", ("S", 5, 1000)),
        ("HHXHH", ("H", 2, 2)),
        ("MMAXX", ("M", 3, 10)),
    ],
)
def test_the_highest_win_of_a_line_is_paid(line: str, best: tuple[str, int, int]) -> None:
    names = ATKINS.tables.names
    symbol, count, multiple, _ = lines.best_run(lines.build(ATKINS), [names.index(name) for name in line])
    assert (names[symbol], count, multiple) == best


def test_a_losing_line_pays_nothing() -> None:
    names = ATKINS.tables.names
    for line in ("GGSHW", "XXXXX", "NMNMN", "GAXHH"):
        assert lines.best_run(lines.build(ATKINS), [names.index(name) for name in line])[2] == 0


def test_on_a_tie_the_longer_run_is_shown() -> None:
    tie = {**ATKINS.pays, "N": {3: 10, 4: 50, 5: 60}}
    game = msgspec.structs.replace(ATKINS, pays=tie)
    names = game.tables.names
    symbol, count, multiple, _ = lines.best_run(lines.build(game), [names.index(name) for name in "AAANM"])
    assert (names[symbol], count, multiple) == ("N", 4, 50)


MULTIPLIED = msgspec.convert(
    {
        **msgspec.to_builtins(ATKINS),
        "pays": {**ATKINS.pays, "N": {3: 10, 4: 25, 5: 40}},
        "symbols": [
            {"name": "A", "kind": "wild", "multiplier": 2},
            {"name": "D", "kind": "wild", "multiplier": 3},
            *({"name": name, "kind": "regular"} for name in "SHWGEBCN"),
            {"name": "M", "kind": "regular", "takes_wild": False},
            {"name": "X", "kind": "scatter"},
        ],
    },
    GameDefinition,
)


@pytest.mark.parametrize(
    ("line", "best"),
    [
        ("ADAAD", ("A", 5, 5000, 72)),
        ("AANDM", ("N", 4, 25, 12)),  # 300, four wilds' start is worth 20
        ("ADDHM", ("H", 4, 150, 18)),
        ("AANMM", ("N", 3, 10, 4)),
        ("AAADN", ("A", 4, 500, 24)),
        ("AADNA", ("N", 5, 40, 24)),  # 960, where three wilds are 50 x 12
        ("AAAND", ("N", 5, 40, 24)),  # less than three wilds (50) but for its multiplier
        ("AAMMM", ("A", 2, 5, 4)),  # M takes no wild
        ("MMAMM", ("M", 2, 0, 1)),
        ("DDXDD", ("A", 2, 5, 9)),
        ("SSDSS", ("S", 5, 1000, 3)),
    ],
)
def test_the_best_reading_counts_its_multipliers(line: str, best: tuple[str, int, int, int]) -> None:
    names = MULTIPLIED.tables.names
    symbol, count, multiple, factor = lines.best_run(
        lines.build(MULTIPLIED), [names.index(name) for name in line]
    )
    assert (names[symbol], count, multiple, factor) == best
    if multiple:
        assert naive.line_best(MULTIPLIED, line) == (multiple * factor, count, names[symbol], factor)
