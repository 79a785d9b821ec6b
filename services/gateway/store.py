"""Every SQL statement of the gateway."""

import json
import uuid
from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


class Operator(NamedTuple):
    """An operator, as its API key finds it."""

    operator_id: str
    jurisdiction: str
    key_id: uuid.UUID
    scopes: frozenset[str]
    signature_required: bool
    left_s: float
    """Until the key expires; infinite for one that does not."""


async def find_operator(conn: AsyncConnection, *, key_hash: bytes) -> Operator | None:
    """The operator of a live API key."""
    row = (
        await conn.execute(
            text("""
            select o.operator_id, o.jurisdiction, k.key_id, k.scopes, k.signature_required,
              coalesce(extract(epoch from k.expire_time - clock_timestamp()), 'infinity')::float8 as left_s
            from api_key k join operator o using (operator_id)
            where k.key_hash = :key_hash and k.revoke_time is null
              and (k.expire_time is null or k.expire_time > clock_timestamp())"""),
            {"key_hash": key_hash},
        )
    ).one_or_none()
    if row is None:
        return None
    return Operator(
        row.operator_id,
        row.jurisdiction,
        row.key_id,
        frozenset(row.scopes),
        row.signature_required,
        row.left_s,
    )


async def insert_operator(
    conn: AsyncConnection, *, operator_id: str, display_name: str, jurisdiction: str
) -> None:
    """Adds an operator; an existing one stays as it is."""
    await conn.execute(
        text("""
        insert into operator (operator_id, display_name, jurisdiction)
        values (:operator_id, :display_name, :jurisdiction) on conflict do nothing"""),
        {"operator_id": operator_id, "display_name": display_name, "jurisdiction": jurisdiction},
    )


async def insert_api_key(conn: AsyncConnection, *, operator_id: str, key_hash: bytes) -> None:
    """Adds a live API key; an existing one stays as it is."""
    await conn.execute(
        text("""
        insert into api_key (key_hash, operator_id) values (:key_hash, :operator_id)
        on conflict do nothing"""),
        {"operator_id": operator_id, "key_hash": key_hash},
    )


async def insert_operator_action(
    conn: AsyncConnection,
    *,
    operator_id: str,
    action: str,
    request_id: uuid.UUID,
    player_id: str,
    fingerprint: bytes,
    traceparent: str,
    round_id: str,
    about: Mapping[str, str],
) -> bool:
    """Records what an operator asks for, with its event; False when the id is another body's.

    One body per id, until it is refused without a verdict: then the next one's.
    """
    payload = {
        "operator_id": operator_id,
        "action": action,
        "request_id": str(request_id),
        "player_id": player_id,
        "traceparent": traceparent,
        "round_id": round_id,
        "about": dict(about),
    }
    key = {"operator_id": operator_id, "action": action, "request_id": request_id}
    await conn.execute(
        text("""
        with recorded as (
          insert into operator_action (operator_id, action, request_id, player_id, fingerprint)
          values (:operator_id, :action, :request_id, :player_id, :fingerprint)
          on conflict (operator_id, action, request_id) do update
          set player_id = excluded.player_id, fingerprint = excluded.fingerprint, refused = false
          where operator_action.refused returning 1)
        insert into outbox (kind, payload)
        select 'operator.requested', cast(:payload as json) from recorded"""),
        {**key, "player_id": player_id, "fingerprint": fingerprint, "payload": json.dumps(payload)},
    )
    # A statement of its own sees the row that a concurrent twin committed while the insert waited for it.
    stored = await conn.execute(
        text("""
        select fingerprint from operator_action
        where operator_id = :operator_id and action = :action and request_id = :request_id"""),
        key,
    )
    return bytes(stored.scalar_one()) == fingerprint


async def refuse_operator_action(
    conn: AsyncConnection, *, operator_id: str, action: str, request_id: uuid.UUID, fingerprint: bytes
) -> None:
    """Records that this body was refused and nothing was done: the id may have another one."""
    await conn.execute(
        text("""
        update operator_action set refused = true
        where operator_id = :operator_id and action = :action and request_id = :request_id
          and fingerprint = :fingerprint"""),
        {
            "operator_id": operator_id,
            "action": action,
            "request_id": request_id,
            "fingerprint": fingerprint,
        },
    )
