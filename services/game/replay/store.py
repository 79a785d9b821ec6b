"""What a replay reads, also what is hidden: draw logs, decided steps, the definition as it was served."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_FIND_DRAWS = text("select draws from round where round_id = cast(:round_id as uuid)")

_LIST_STEPS = text("""
select step, choice, card, at_risk_minor, state_after, draws from round_step
where round_id = cast(:round_id as uuid) order by step
""")

_FIND_DEFINITION = text("""
select definition_hash, canonical_json from game_definition
where game_id = :game_id and version = cast(:version as integer)
""")


class StoredStep(NamedTuple):
    """A row of round_step; step 0 is where the choice was opened."""

    step: int
    choice: str
    card: str
    at_risk_minor: int
    state_after: str
    draws: bytes | None


class StoredDefinition(NamedTuple):
    """What was served under a round's version."""

    definition_hash: str
    canonical_json: str


async def find_draws(conn: AsyncConnection, round_id: str) -> bytes | None:
    """The draw log of a round that is there; None when nothing was drawn."""
    draws: bytes | None = (await conn.execute(_FIND_DRAWS, {"round_id": round_id})).scalar_one()
    return draws


async def list_steps(conn: AsyncConnection, round_id: str) -> Sequence[StoredStep]:
    """The steps of a round with a choice, in order."""
    return [StoredStep(*row) for row in await conn.execute(_LIST_STEPS, {"round_id": round_id})]


async def find_definition(conn: AsyncConnection, game_id: str, version: int) -> StoredDefinition | None:
    """The definition of a version; None when it was served before they were recorded."""
    key = {"game_id": game_id, "version": version}
    row = (await conn.execute(_FIND_DEFINITION, key)).one_or_none()
    return None if row is None else StoredDefinition(*row)
