"""The SQL of operators' settings, their API keys, and the nonces of signed requests."""

import json
import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_LIVE = "revoke_time is null and (expire_time is null or expire_time > clock_timestamp())"


class ListedOperator(NamedTuple):
    """An operator as the list shows it."""

    operator_id: str
    display_name: str
    jurisdiction: str
    allowed_origins: list[str]


class ListedKey(NamedTuple):
    """An API key as the list shows it: never the key."""

    key_id: uuid.UUID
    operator_id: str
    name: str
    scopes: list[str]
    signature_required: bool
    create_time: datetime
    expire_time: datetime | None
    revoke_time: datetime | None
    last_use_time: datetime | None
    live: bool


async def insert_new_operator(
    conn: AsyncConnection, *, operator_id: str, display_name: str, jurisdiction: str
) -> bool:
    """Adds an operator; False when there is one of this id."""
    result = await conn.execute(
        text("""
        insert into operator (operator_id, display_name, jurisdiction)
        values (:operator_id, :display_name, :jurisdiction) on conflict do nothing returning 1"""),
        {"operator_id": operator_id, "display_name": display_name, "jurisdiction": jurisdiction},
    )
    return result.first() is not None


async def list_operators(conn: AsyncConnection) -> list[ListedOperator]:
    """All of them, by id."""
    rows = await conn.execute(
        text("""
        select operator_id, display_name, jurisdiction, allowed_origins from operator order by operator_id""")
    )
    return [ListedOperator(*row) for row in rows]


async def set_allowed_origins(conn: AsyncConnection, *, operator_id: str, origins: Sequence[str]) -> bool:
    """Replaces an operator's list of origins; False when there is no such operator."""
    result = await conn.execute(
        text("update operator set allowed_origins = :origins where operator_id = :operator_id returning 1"),
        {"operator_id": operator_id, "origins": list(origins)},
    )
    return result.first() is not None


async def read_allowed_origins(conn: AsyncConnection) -> dict[str, frozenset[str]]:
    """The origins of every operator that has any."""
    rows = await conn.execute(
        text("select operator_id, allowed_origins from operator where cardinality(allowed_origins) > 0")
    )
    return {row.operator_id: frozenset(row.allowed_origins) for row in rows}


async def lock_operator(conn: AsyncConnection, *, operator_id: str) -> bool:
    """One change to an operator's keys at a time; False when there is no such operator."""
    result = await conn.execute(
        text("select 1 from operator where operator_id = :operator_id for update"),
        {"operator_id": operator_id},
    )
    return result.first() is not None


async def list_keys(conn: AsyncConnection, *, operator_id: str, name: str = "") -> list[ListedKey]:
    """An operator's keys, of one name where one is given, newest first."""
    rows = await conn.execute(
        text(f"""
        select key_id, operator_id, name, scopes, signature_required, create_time, expire_time, revoke_time,
               last_use_time, {_LIVE} as live
        from api_key where operator_id = :operator_id and (:name = '' or name = :name)
        order by create_time desc, key_id"""),
        {"operator_id": operator_id, "name": name},
    )
    return [ListedKey(*row) for row in rows]


async def insert_key(
    conn: AsyncConnection,
    *,
    key_id: uuid.UUID,
    key_hash: bytes,
    operator_id: str,
    name: str,
    scopes: Collection[str],
    signature_required: bool,
    expire_after: timedelta | None,
) -> None:
    """Adds a live API key."""
    await conn.execute(
        text("""
        insert into api_key (key_id, key_hash, operator_id, name, scopes, signature_required, expire_time)
        values (:key_id, :key_hash, :operator_id, :name, :scopes, :signature_required,
                clock_timestamp() + cast(:expire_after as interval))"""),
        {
            "key_id": key_id,
            "key_hash": key_hash,
            "operator_id": operator_id,
            "name": name,
            "scopes": sorted(scopes),
            "signature_required": signature_required,
            "expire_after": expire_after,
        },
    )


async def revoke_key(conn: AsyncConnection, *, key_id: uuid.UUID) -> tuple[str, str] | None:
    """Ends an API key; its operator and its name. None when there is no such key, or it ended before."""
    result = await conn.execute(
        text("""
        update api_key set revoke_time = clock_timestamp()
        where key_id = :key_id and revoke_time is null returning operator_id, name"""),
        {"key_id": key_id},
    )
    row = result.one_or_none()
    return None if row is None else (row.operator_id, row.name)


async def insert_change(
    conn: AsyncConnection, *, event_type: str, operator_id: str, facts: Mapping[str, object]
) -> None:
    """Records a change to an operator with its event: in the transaction of the change, or not at all."""
    payload = json.dumps({"operator_id": operator_id, "facts": facts})
    await conn.execute(
        text("insert into outbox (kind, payload) values (:kind, cast(:payload as json))"),
        {"kind": event_type, "payload": payload},
    )


async def record_uses(conn: AsyncConnection, used: Mapping[uuid.UUID, float]) -> None:
    """When keys were last used, in Unix seconds: never moved back by another gateway's older news."""
    await conn.execute(
        text("""
        update api_key set last_use_time = greatest(last_use_time, to_timestamp(used.at))
        from unnest(cast(:key_ids as uuid[]), cast(:times as float8[])) as used (key_id, at)
        where api_key.key_id = used.key_id"""),
        {"key_ids": list(used), "times": list(used.values())},
    )


async def insert_nonce(conn: AsyncConnection, *, key_id: uuid.UUID, nonce: str, expire_s: float) -> bool:
    """Takes a nonce until that time, in Unix seconds; False when it was taken before."""
    result = await conn.execute(
        text("""
        insert into request_nonce (key_id, nonce, expire_time)
        values (:key_id, :nonce, to_timestamp(:expire_s)) on conflict do nothing returning 1"""),
        {"key_id": key_id, "nonce": nonce, "expire_s": expire_s},
    )
    return result.first() is not None


async def delete_expired_nonces(conn: AsyncConnection) -> None:
    """Forgets the nonces whose timestamps are refused by now."""
    await conn.execute(text("delete from request_nonce where expire_time < clock_timestamp()"))
