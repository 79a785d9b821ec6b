"""The statements of recorded policies."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.common import arrays


class Recorded(NamedTuple):
    """A policy as it was served under its version."""

    name: str
    version: int
    policy_hash: str
    canonical_json: str


async def append_policies(conn: AsyncConnection, policies: Sequence[Recorded]) -> None:
    """Stores each unless its version, or its very content, is there."""
    await conn.execute(
        text("""
        insert into policy_definition (name, version, policy_hash, canonical_json)
        select * from unnest(cast(:names as text[]), cast(:versions as integer[]), cast(:hashes as text[]),
          cast(:canonical_jsons as text[])) as t(name, version, policy_hash, canonical_json)
        order by name, version
        on conflict do nothing"""),
        {
            "names": arrays.texts(one.name for one in policies),
            "versions": arrays.plain(one.version for one in policies),
            "hashes": arrays.plain(one.policy_hash for one in policies),
            "canonical_jsons": arrays.texts(one.canonical_json for one in policies),
        },
    )


async def list_policies(conn: AsyncConnection) -> list[Recorded]:
    """All that were ever served."""
    rows = await conn.execute(
        text(
            "select name, version, policy_hash, canonical_json from policy_definition order by name, version"
        )
    )
    return [Recorded._make(row) for row in rows]
