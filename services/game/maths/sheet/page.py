"""The whole sheet."""

from __future__ import annotations

from services.game.engine.definition import GameDefinition
from services.game.maths.report import Report, report_of
from services.game.maths.sheet.returns import returns
from services.game.maths.sheet.rules import rules

SIMULATED_SPINS = 10_000_000
"""Rounds of each mode without an exact method."""


def page(game: GameDefinition, report: Report | None = None) -> str:
    """The sheet of a game as Markdown, the same each time."""
    found = report or report_of(game, spins=SIMULATED_SPINS)
    return "\n".join([*heading(game), *returns(game, found)]).rstrip() + "\n"


def heading(game: GameDefinition) -> list[str]:
    """What is known without playing: the sheet as far as the returns."""
    return [f"# PAR sheet: {game.name}", "", *rules(game)]
