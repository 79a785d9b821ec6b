"""Everything that a shipped game advertises can happen: on its own reels, in the serving engine."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from services.game.engine import play
from services.game.engine.definition import BASE, FREE, GameDefinition
from services.game.maths import reels, rounds
from tests.unit.game import naive
from tests.unit.maths import shipped

pytestmark = pytest.mark.timeout(900)  # see test_kernel
BEAM = 40
Cells = frozenset[tuple[int, int]]


class Steered:
    """Draws that begin with what is told."""

    def __init__(self, first: tuple[int, ...]) -> None:
        self._first = list(first)
        self._random = random.Random(1)

    def below(self, bound: int) -> int:
        return self._first.pop(0) if self._first else self._random.randrange(bound)


@pytest.mark.parametrize(("game", "mode"), shipped.EXACT.values(), ids=shipped.EXACT)
def test_every_listed_pay_of_an_exact_game_has_a_part_of_the_return(
    game: GameDefinition, mode: object
) -> None:
    returned = rounds.symbol_returns(rounds.round_of(game, game.modes_by_name[BASE]))
    for symbol, values in game.pays.items():
        for count in values:
            assert sum(returned[symbol, count]) > 0, (symbol, count)


@pytest.mark.parametrize("game", shipped.GAMES.values(), ids=shipped.GAMES)
def test_every_trigger_and_scatter_pay_is_seen(game: GameDefinition) -> None:
    for mode in game.modes_by_name.values():
        seen = set() if mode.free_spins else set(reels.count_weights(reels.reel_set(game, mode.reels)))
        scatters, freely = {counts.scatters for counts in seen}, set[int]()
        if game.free_spins:
            freely = {counts.scatters for counts in reels.count_weights(reels.reel_set(game, FREE))}
            assert freely >= set(game.free_spins.retrigger)
            assert not seen or scatters >= set(game.free_spins.award)
        assert scatters | freely >= set(game.scatter_pays)
        assert (
            not game.hold_and_win or max(counts.coins for counts in seen) >= game.hold_and_win.trigger_count
        )
        assert not game.pick or max(counts.bonuses for counts in seen) >= game.pick.trigger_count


@pytest.mark.parametrize(
    ("game", "symbol"),
    [
        (game, symbol)
        for game in shipped.GAMES.values()
        if game.evaluation in ("anywhere", "clusters")
        for symbol in game.pays
    ],
    ids=lambda value: value if isinstance(value, str) else value.game_id,
)
def test_the_highest_pay_of_a_symbol_is_on_the_reels(game: GameDefinition, symbol: str) -> None:
    stops = most_of(game, symbol)
    shown = play.spin(game, bet_minor=game.coins_per_bet, draws=Steered(stops)).outcome
    assert shown.base is not None
    most = max((win.count for win in shown.base.symbol_wins if win.symbol == symbol), default=0)
    assert most >= max(game.pays[symbol])


def most_of(game: GameDefinition, symbol: str) -> tuple[int, ...]:
    """Stops of the base strips with much of a symbol: side by side, where clusters pay. The best of a few
    beginnings are continued, reel by reel."""
    names = {symbol, *naive.names_of(game, "wild")}
    best: list[tuple[tuple[int, ...], Cells]] = [((), frozenset())]
    for reel, strip in enumerate(game.strips[BASE]):
        longer = {
            cells | column: (*stops, stop)
            for stops, cells in best
            for stop, column in columns(strip, reel, game.grid.rows, names)
        }
        ranked = sorted(longer.items(), key=lambda item: -size(game, item[0], reel))
        best = [(stops, cells) for cells, stops in ranked[:BEAM]]
    return best[0][0]


def columns(strip: tuple[str, ...], reel: int, rows: int, names: set[str]) -> Iterator[tuple[int, Cells]]:
    for stop in range(len(strip)):
        shown = [strip[(stop + row) % len(strip)] for row in range(rows)]
        yield stop, frozenset((reel, row) for row, name in enumerate(shown) if name in names)


def size(game: GameDefinition, cells: Cells, reel: int) -> int:
    """Of all cells, or of the largest group that still reaches the last reel."""
    if game.evaluation == "anywhere":
        return len(cells)
    left, sizes = set(cells), [0]
    while left:
        group, edge = set[tuple[int, int]](), [left.pop()]
        while edge:
            cell = edge.pop()
            group.add(cell)
            near = {(cell[0] + x, cell[1] + y) for x, y in ((0, 1), (0, -1), (1, 0), (-1, 0))} & left
            left -= near
            edge += near
        if any(at == reel for at, _ in group) or len(group) > 20:
            sizes.append(len(group))
    return max(sizes)
