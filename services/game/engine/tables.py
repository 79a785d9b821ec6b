"""A game ready to be played, built once per definition, so that a spin only indexes: symbols are small
integers here."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias, cast

import msgspec

from services.game.engine import anywhere, clusters, lines, outcome, reels, ways, weighted

if TYPE_CHECKING:
    from services.game.engine.definition import CoinValue, GameDefinition, Mode

Cells: TypeAlias = tuple[int, ...]
"""Symbol ids of a grid, one reel after the other, each from the top: cell = reel x rows + row."""
Wins: TypeAlias = tuple[outcome.LineWin, ...] | tuple[outcome.SymbolWin, ...]
Evaluate: TypeAlias = Callable[[Cells, int, int], Wins]
"""(cells with wilds expanded, minor units of a coin, multiplier) -> wins, in the order they are shown."""

NO_SYMBOL = -1


class Stage(msgspec.Struct, frozen=True):
    """One kind of screen: the paid one of a mode, or a free one."""

    reels: reels.Strips | reels.Weights
    multiplier: int
    """Of every win of the screen."""
    multipliers: tuple[int, ...]
    """Of the wins of its first grid, of the first fall ...: that of the cascade x `multiplier`."""
    awards: tuple[int, ...]
    """Free spins by number of scatters."""


class Tables(msgspec.Struct, frozen=True):
    """What a spin looks up."""

    names: tuple[str, ...]
    """By symbol id: the order of the definition's `symbols`."""
    rows: int
    columns: tuple[range, ...]
    """The cells of each reel."""
    coins_per_bet: int
    evaluate: Evaluate
    paylines: tuple[Cells, ...]
    """The cells of each line, when wins are of lines."""
    expanding: frozenset[int]
    """Wilds that fill their reel."""
    scatter: int
    scatter_multiples: tuple[int, ...]
    """[count], x bet; the last entry holds for every higher count."""
    falls_max: int
    """0: nothing falls."""
    paid: Mapping[str, Stage]
    """By mode; a mode that buys free spins has none."""
    free: Stage | None
    spins_max: int
    coin: str
    """Name of the coin; empty when there is none."""
    coin_values: weighted.Weighted | None
    bonus: str
    """The same of the bonus symbol."""
    prizes: weighted.Weighted | None

    def named(self, cells: Cells) -> outcome.Names:
        """A grid as it is stored."""
        names = self.names
        return tuple([tuple([names[cells[cell]] for cell in column]) for column in self.columns])

    def expanded(self, cells: Cells) -> Cells:
        """The grid once expanding wilds fill their reels."""
        grown: Cells = ()
        for column in self.columns:
            grown += reels.expanded(cells[column.start : column.stop], self.expanding)
        return grown

    def by_kind(self, wins: Wins) -> tuple[tuple[outcome.LineWin, ...], tuple[outcome.SymbolWin, ...]]:
        """Wins as an outcome tells them: (of lines, of symbols), one of them empty."""
        if self.paylines:
            return cast(tuple[outcome.LineWin, ...], wins), ()
        return (), cast(tuple[outcome.SymbolWin, ...], wins)

    def won_cells(self, wins: Wins) -> set[int]:
        """Every cell that is part of a win."""
        won: set[int] = set()
        for win in wins:
            if isinstance(win, outcome.SymbolWin):
                won.update([reel * self.rows + row for reel, row in win.cells])
            else:
                line = self.paylines[win.line]
                won.update(line[-win.count :] if win.from_right else line[: win.count])
        return won


def by_count(values: Mapping[int, int]) -> tuple[int, ...]:
    """A list indexed by count, 0 below the first given count. `values` has no gaps (checked at load)."""
    return tuple(values.get(count, 0) for count in range(max(values, default=0) + 1))


def at_count(values: Sequence[int], count: int) -> int:
    """The value for `count`; above the highest listed count, that of the highest."""
    return values[count] if count < len(values) else values[-1]


def build(game: GameDefinition) -> Tables:
    """The tables of a definition without faults."""
    kinds = [symbol.kind for symbol in game.symbols]
    rows = game.grid.rows
    return Tables(
        names=tuple(symbol.name for symbol in game.symbols),
        rows=rows,
        columns=tuple(range(reel * rows, (reel + 1) * rows) for reel in range(game.grid.reels)),
        coins_per_bet=game.coins_per_bet,
        evaluate=_evaluate(game),
        paylines=tuple(
            tuple(reel * rows + row for reel, row in enumerate(line_rows)) for line_rows in game.paylines
        ),
        expanding=reels.expanding_ids(game),
        scatter=kinds.index("scatter") if "scatter" in kinds else NO_SYMBOL,
        scatter_multiples=by_count(game.scatter_pays),
        falls_max=game.cascade.falls_max if game.cascade else 0,
        paid={name: _paid(game, mode) for name, mode in game.modes_by_name.items() if not mode.free_spins},
        free=_free(game),
        spins_max=game.free_spins.spins_max if game.free_spins else 0,
        coin=_name_of(game, "coin"),
        coin_values=_weighted(game.hold_and_win.values) if game.hold_and_win else None,
        bonus=_name_of(game, "bonus"),
        prizes=_weighted(game.pick.prizes) if game.pick else None,
    )


def _name_of(game: GameDefinition, kind: str) -> str:
    return next((symbol.name for symbol in game.symbols if symbol.kind == kind), "")


def _weighted(values: Sequence[CoinValue]) -> weighted.Weighted:
    return weighted.build(value.weight for value in values)


def _evaluate(game: GameDefinition) -> Evaluate:
    match game.evaluation:
        case "lines":
            return functools.partial(lines.line_wins, lines.build(game))
        case "ways":
            return functools.partial(ways.way_wins, ways.build(game))
        case "clusters":
            return functools.partial(clusters.cluster_wins, clusters.build(game))
        case "anywhere":
            return functools.partial(anywhere.anywhere_wins, anywhere.build(game))


def _paid(game: GameDefinition, mode: Mode) -> Stage:
    return Stage(
        reels=reels.build(game, mode.reels),
        multiplier=1,
        multipliers=game.cascade.multipliers if game.cascade else (1,),
        awards=by_count(game.free_spins.award) if game.free_spins else (0,),
    )


def _free(game: GameDefinition) -> Stage | None:
    free = game.free_spins
    if free is None:
        return None
    multipliers = game.cascade.free_multipliers or game.cascade.multipliers if game.cascade else (1,)
    return Stage(
        reels=reels.build(game, "free"),
        multiplier=free.multiplier,
        multipliers=tuple(multiplier * free.multiplier for multiplier in multipliers),
        awards=by_count(free.retrigger),
    )
