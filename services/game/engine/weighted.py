"""One of several by weight, with one draw."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterable

import msgspec

from services.game.engine.rng import DrawSource


class Weighted(msgspec.Struct, frozen=True):
    """Cumulative weights; the last is their sum."""

    bounds: tuple[int, ...]

    def draw(self, draws: DrawSource) -> int:
        """Index of the weight that was drawn."""
        return bisect_right(self.bounds, draws.below(self.bounds[-1]))


def build(weights: Iterable[int]) -> Weighted:
    """Of at least one weight above 0, in the order that the draw follows."""
    return Weighted(tuple(itertools.accumulate(weights)))
