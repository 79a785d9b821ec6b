"""The SQL statements of what clients report."""

import uuid
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# Reports that are too old to come again, of each insert at most: more than it adds, so that they end.
_FORGOTTEN_MAX = 20


class Report(NamedTuple):
    """What is stored under an id."""

    new: bool
    same: bool
    """Whether it is this body's."""
    create_time: datetime


async def insert_report(
    conn: AsyncConnection, *, session_id: str, request_id: uuid.UUID, fingerprint: bytes, payload: str
) -> Report:
    """Stores a report with its outbox row, once per (session, request id); `payload`: a JSON object.

    A session lasts 24 h at most and an ended one reports nothing, so after two days an id cannot come again.
    """
    key = {"session_id": session_id, "request_id": request_id}
    inserted = await conn.execute(
        text("""
        with recorded as (
          insert into client_report (session_id, request_id, fingerprint)
          values (cast(:session_id as uuid), :request_id, :fingerprint)
          on conflict do nothing returning create_time),
        told as (
          insert into outbox (kind, payload, create_time)
          select 'client_report', cast(:payload as json), create_time from recorded),
        forgotten as (
          delete from client_report where (session_id, request_id) in (
            select session_id, request_id from client_report
            where create_time < clock_timestamp() - interval '2 days' and exists (select from recorded)
            order by create_time limit :forgotten_max for update skip locked))
        select create_time from recorded"""),
        {**key, "fingerprint": fingerprint, "payload": payload, "forgotten_max": _FORGOTTEN_MAX},
    )
    create_time = inserted.scalar_one_or_none()
    if create_time is not None:
        return Report(new=True, same=True, create_time=create_time)
    # A statement of its own sees the row that a concurrent twin committed while the insert waited for it.
    [stored] = await conn.execute(
        text("""
        select fingerprint, create_time from client_report
        where session_id = cast(:session_id as uuid) and request_id = :request_id"""),
        key,
    )
    return Report(new=False, same=bytes(stored.fingerprint) == fingerprint, create_time=stored.create_time)
