"""Every round that a small game can have, each with its exact likelihood."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

from services.game.books.published import UINT64_MAX
from services.game.engine.rng import DrawSource


class CycleDraws:
    """Draws that run through every sequence of values, the last draw fastest."""

    def __init__(self) -> None:
        self._drawn: list[tuple[int, int]] = []
        self._position = 0

    def below(self, bound: int) -> int:
        """The value of this sequence; 0 where it goes deeper than the one before."""
        if self._position == len(self._drawn):
            self._drawn.append((bound, 0))
        _, value = self._drawn[self._position]
        self._position += 1
        return value

    @property
    def sequences(self) -> int:
        """This sequence is one of so many, as far as its own bounds tell: 1 / its likelihood."""
        return math.prod(bound for bound, _ in self._drawn)

    def advance(self) -> bool:
        """Goes to the next sequence; False after the last one."""
        while self._drawn and self._drawn[-1][1] + 1 == self._drawn[-1][0]:
            self._drawn.pop()
        self._position = 0
        if not self._drawn:
            return False
        bound, value = self._drawn[-1]
        self._drawn[-1] = bound, value + 1
        return True


def weigh(draw: Callable[[DrawSource], bytes], *, rounds_max: int) -> dict[bytes, int] | None:
    """Every distinct round that `draw` can return -> its weight, in the smallest whole numbers.

    None when there are more than `rounds_max` sequences of draws, or one is rarer than 1 in `rounds_max`, or
    the weights add up to more than a table can hold.
    """
    likelihoods: dict[bytes, Fraction] = {}
    draws = CycleDraws()
    for _ in range(rounds_max):
        told = draw(draws)
        if draws.sequences > rounds_max:
            return None
        likelihoods[told] = likelihoods.get(told, Fraction(0)) + Fraction(1, draws.sequences)
        if not draws.advance():
            scale = math.lcm(*(likelihood.denominator for likelihood in likelihoods.values()))
            if scale > UINT64_MAX:
                return None
            return {told: int(likelihood * scale) for told, likelihood in likelihoods.items()}
    return None
