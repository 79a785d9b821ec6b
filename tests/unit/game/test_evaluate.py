"""Single lines: every line that a wild starts, where two readings compete, and the published examples."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from services.game.engine import definition, evaluate
from services.game.engine.definition import GameDefinition
from tests.unit.game import naive, published

ATKINS = published.atkins_diet()
GAMES = {**definition.load_all(definition.SHIPPED_GAMES), "atkins-diet": ATKINS}


@pytest.mark.parametrize("game", GAMES.values(), ids=GAMES.keys())
def test_every_line_that_starts_with_a_wild_pays_its_best_reading(game: GameDefinition) -> None:
    names = game.pay_table.names
    wild = game.pay_table.wild
    for rest in itertools.product(range(len(names)), repeat=game.grid.reels - 1):
        symbols = (wild, *rest)
        line = [names[symbol] for symbol in symbols]
        assert evaluate.best_run(game.pay_table, symbols)[2] == naive.line_multiple(game, line), line


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
    names = ATKINS.pay_table.names
    symbol, count, multiple = evaluate.best_run(ATKINS.pay_table, [names.index(name) for name in line])
    assert (names[symbol], count, multiple) == best


def test_a_losing_line_pays_nothing() -> None:
    names = ATKINS.pay_table.names
    for line in ("GGSHW", "XXXXX", "NMNMN", "GAXHH"):
        assert evaluate.best_run(ATKINS.pay_table, [names.index(name) for name in line])[2] == 0


def test_on_a_tie_the_longer_run_is_shown() -> None:
    tie = {**ATKINS.pays, "N": {3: 10, 4: 50, 5: 60}}
    game = msgspec.structs.replace(ATKINS, pays=tie)
    names = game.pay_table.names
    symbol, count, multiple = evaluate.best_run(game.pay_table, [names.index(name) for name in "AAANM"])
    assert (names[symbol], count, multiple) == ("N", 4, 50)
