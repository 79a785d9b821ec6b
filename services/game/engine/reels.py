"""Reels as they are drawn: circular strips that stop somewhere, or weights by which every cell is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from services.game.engine import weighted
from services.game.engine.rng import DrawSource

if TYPE_CHECKING:
    from services.game.engine.definition import GameDefinition, Strip


Visible: TypeAlias = tuple[tuple[int, ...], tuple[str, ...], int]
"""What one reel shows: (symbol ids with wilds expanded, names as drawn, number of scatters)."""


class Strips(msgspec.Struct, frozen=True):
    """Circular strips, unrolled."""

    reels: tuple[tuple[int, tuple[Visible, ...]], ...]
    """[reel] -> (length, what is visible at each stop, which is the place of the top row)."""
    ids: tuple[tuple[int, ...], ...]
    """The strips themselves: what falls in from above."""


class Weights(msgspec.Struct, frozen=True):
    """Reels whose every cell is drawn."""

    weighted: tuple[weighted.Weighted, ...]
    """[reel]"""
    ids: tuple[tuple[int, ...], ...]
    """[reel] -> the symbol of each weight."""

    def draw(self, reel: int, *, draws: DrawSource) -> int:
        """The symbol of one cell of a reel."""
        return self.ids[reel][self.weighted[reel].draw(draws)]

    def fill(self, columns: Sequence[range], *, draws: DrawSource) -> tuple[int, ...]:
        """Every cell of a grid: reels from the left, each from the top."""
        return tuple([self.draw(reel, draws=draws) for reel, cells in enumerate(columns) for _ in cells])


def build(game: GameDefinition, name: str) -> Strips | Weights:
    """The reels of this name, which is either in `strips` or in `weights`."""
    return _strips(game, game.strips[name]) if name in game.strips else _weights(game, name)


def expanded(window: tuple[int, ...], expanding: frozenset[int]) -> tuple[int, ...]:
    """What a reel shows once its expanding wild, the upper one of two, fills it."""
    for symbol in window:
        if symbol in expanding:
            return (symbol,) * len(window)
    return window


def expanding_ids(game: GameDefinition) -> frozenset[int]:
    """The wilds that fill their reel."""
    return frozenset(index for index, symbol in enumerate(game.symbols) if symbol.expands)


def _strips(game: GameDefinition, strips: tuple[Strip, ...]) -> Strips:
    ids = {symbol.name: index for index, symbol in enumerate(game.symbols)}
    expanding = expanding_ids(game)
    scatters = {symbol.name for symbol in game.symbols if symbol.kind == "scatter"}

    def visible(strip: Strip, stop: int) -> Visible:
        names = tuple(strip[(stop + row) % len(strip)] for row in range(game.grid.rows))
        shown = expanded(tuple(ids[name] for name in names), expanding)
        return shown, names, sum(name in scatters for name in names)

    return Strips(
        reels=tuple(
            (len(strip), tuple(visible(strip, stop) for stop in range(len(strip)))) for strip in strips
        ),
        ids=tuple(tuple(ids[name] for name in strip) for strip in strips),
    )


def _weights(game: GameDefinition, name: str) -> Weights:
    # In the order of `symbols`, not of the mapping: that one is not in the hash.
    listed = [
        [(index, reel[symbol.name]) for index, symbol in enumerate(game.symbols) if symbol.name in reel]
        for reel in game.weights[name]
    ]
    return Weights(
        weighted=tuple(weighted.build(weight for _, weight in reel) for reel in listed),
        ids=tuple(tuple(index for index, _ in reel) for reel in listed),
    )
