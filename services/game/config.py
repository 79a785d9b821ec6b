"""Every setting of game."""

from dataclasses import dataclass, field

from services.common.config import ServiceConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(ServiceConfig):
    """Read from REELMESH_GAME_<FIELD>, else REELMESH_<FIELD>."""

    # Key that game and wallet share: game seals what it drew, the wallet believes nothing else (R11).
    seal_key: str = field(repr=False)
    # Folder of the game files; empty: the games that come with the platform.
    games_folder: str = ""
    # Folder where published outcome tables are kept in the form they are served from, this user's alone;
    # empty: one in the system's folder for temporary files.
    books_cache_folder: str = ""
    # Ids of games that take no new rounds, separated by commas.
    games_withdrawn: str = ""
    # How long a round waits for the player's choice before it is collected.
    open_timeout_ms: int = 1_800_000
    # Pause between two looks of the monitor at what rounds returned.
    monitor_interval_ms: int = 5_000
    # Pause between two passes of the reconciler.
    reconcile_interval_ms: int = 1_000
