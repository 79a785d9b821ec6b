"""What a well-formed game file must also be: playable, unambiguous, and able to pay all that it promises.

A definition without faults never fails once its spin has drawn (R1).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from services.game.engine.checks import amounts, features, pays, reels
from services.game.engine.checks.fault import AMOUNT_MINOR_MAX, Fault

if TYPE_CHECKING:
    from services.game.engine.definition import GameDefinition

__all__ = ["AMOUNT_MINOR_MAX", "Fault", "faults"]


def faults(game: GameDefinition) -> Iterator[Fault]:
    """Faults in the order of dependence: a later check may rely on the earlier ones, so stop at the first."""
    yield from reels.faults(game)
    yield from pays.faults(game)
    yield from features.faults(game)
    yield from amounts.faults(game)
