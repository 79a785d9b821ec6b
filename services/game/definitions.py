"""Versions: what was served under one never changes, and a round finishes under the one that drew it."""

import hashlib
import logging
from collections.abc import Iterable

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db
from services.game import store
from services.game.catalogue import Catalogue, Game
from services.game.engine.definition import GameDefinition
from services.game.records import Round, State

log = logging.getLogger(__name__)


class VersionRefused(ValueError):
    """A game that may not be served under its version. The text is one line: file, version, what to do."""


async def record(engine: AsyncEngine, catalogue: Catalogue) -> None:
    """Stores every game that is served, once; nothing when one of them may not be. Then rounds may be drawn.

    A version that was served before may be served again, an older one too: that is how a release is taken
    back. A version that is new must be above all that were served. Errors: VersionRefused.
    """
    games = list(catalogue.games.values())
    async with db.transaction(engine, "game.record_definitions", links=()) as conn:
        new = await store.append_definitions(conn, [_served(game) for game in games])
        # A statement of its own: it sees what another replica committed while the insert waited for it.
        served = await store.list_definitions(conn, [game.game_id for game in games])
        hashes = {(one.game_id, one.version): one.definition_hash for one in served}
        for game in games:
            stored = hashes[game.game_id, game.version]
            highest = max(one.version for one in served if one.game_id == game.game_id)
            if stored != game.canonical_hash:
                raise VersionRefused(
                    f"{game.file}: version {game.version} was served as {stored}, "
                    f"and now the file is {game.canonical_hash}: raise version"
                )
            if game.version < highest and (game.game_id, game.version) in new:
                raise VersionRefused(
                    f"{game.file}: version {game.version} was never served, but version {highest} was: "
                    "raise version"
                )
            if game.version < highest:
                log.warning("%s: version %d is served again, after %d", game.file, game.version, highest)
    catalogue.recorded = True


def _served(game: Game) -> store.Definition:
    theory = {
        mode.name: {"rtp_target": str(mode.rtp_target), "deviation": mode.deviation and str(mode.deviation)}
        for mode in game.modes_by_name.values()
    }
    return store.Definition(
        game.game_id,
        game.version,
        game.canonical_hash,
        game.canonical_json.decode(),
        profile=game.profile.name if game.profile else "",
        theory=msgspec.json.encode(theory).decode(),
    )


async def learn(engine: AsyncEngine, catalogue: Catalogue, rounds: Iterable[Round]) -> None:
    """Makes the catalogue know the definitions of rounds that wait for a choice. Seldom asks the database."""
    hashes = {round_.definition_hash for round_ in rounds if round_.state is State.OPEN}
    unknown = hashes - catalogue.definitions.keys()
    if not unknown:
        return
    async with engine.connect() as conn:
        found = await store.list_definitions_by_hash(conn, sorted(unknown))
    for one in found:
        definition = thaw(one.canonical_json, definition_hash=one.definition_hash)
        if definition is None:
            # Changed behind our back, or served by a version of the service that came later.
            log.error("the stored definition %s is not readable here", one.definition_hash)
        else:
            catalogue.definitions[one.definition_hash] = definition


def thaw(canonical_json: str, *, definition_hash: str) -> GameDefinition | None:
    """The definition as it was served; None when it is not the one of this hash, or is no definition."""
    if hashlib.sha256(canonical_json.encode()).hexdigest() != definition_hash:
        return None
    try:
        return msgspec.json.decode(canonical_json, type=GameDefinition)
    except msgspec.DecodeError:
        return None
