"""The shipped games, loaded once for all tests of this folder: what is found of their screens is kept."""

from __future__ import annotations

from services.game.engine import definition, loading
from services.game.engine.definition import GameDefinition, Mode

GAMES = loading.load_all(definition.SHIPPED_GAMES)
MODES: dict[str, tuple[GameDefinition, Mode]] = {
    f"{game.game_id}-{mode.name}": (game, mode)
    for game in GAMES.values()
    for mode in game.modes_by_name.values()
}
SIMULATED = {key: (game, mode) for key, (game, mode) in MODES.items() if game.cascade}
"""Those without an exact method (the tests say so): a game of many reels whose screens fall."""
EXACT = {key: MODES[key] for key in MODES if key not in SIMULATED}
