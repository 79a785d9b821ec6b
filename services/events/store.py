"""Every SQL statement of the events service."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.common import arrays
from services.common.db import Connection

# Any constant: the lock of those who append.
_APPEND_LOCK_ID = 7_263_002


class Event(NamedTuple):
    """An event as its source sent it, with the batch it came in. Ids are lower-case text."""

    event_id: str
    batch_no: int
    event_type: str
    operator_id: str
    account_id: int
    account_version: int
    session_id: str | None
    round_id: str | None
    event_time_us: int  # microseconds since 1970
    payload_json: str
    traceparent: str


class StoredEvent(NamedTuple):
    """An event with its place in the log."""

    position: int
    source: str
    event: Event


class EventFilter(NamedTuple):
    """Which events to list: those of the operator for which everything that is set is equal."""

    operator_id: str
    account_id: int
    session_id: UUID | None
    round_id: UUID | None
    event_type: str


_LOCK_APPEND = text("select pg_advisory_xact_lock(:lock_id)")

_FIND_BATCH_NO_LAST = text("select batch_no_last from source_position where source = :source")

# This insert is the arbiter of exactly-once.
_INSERT_INBOX = text("""
insert into inbox (source, batch_no)
select cast(:source as text), batch_no
from unnest(cast(:batch_nos as bigint[])) as b(batch_no) order by batch_no
on conflict (source, batch_no) do nothing returning batch_no""")

_COLUMNS = """batch_no, event_type, operator_id, account_id, account_version, session_id, round_id,
  event_time, payload, traceparent"""

_STORED = """cast(event_id as text), batch_no, event_type, operator_id, account_id, account_version,
  cast(session_id as text), cast(round_id as text), cast(extract(epoch from event_time) * 1000000 as bigint),
  cast(payload as text), traceparent"""

_APPEND_EVENTS = text(f"""
with position as (
  insert into source_position (source, batch_no_last) values (:source, :batch_no_last)
  on conflict (source) do update set batch_no_last = excluded.batch_no_last)
insert into event (source, event_id, batch_index, {_COLUMNS})
select cast(:source as text), event_id, batch_index, batch_no, event_type, operator_id, account_id,
  account_version, session_id, round_id, timestamptz 'epoch' + event_time_us * interval '1 microsecond',
  cast(payload as json), traceparent
from unnest(cast(:event_ids as uuid[]), cast(:batch_nos as bigint[]), cast(:event_types as text[]),
  cast(:operator_ids as text[]), cast(:account_ids as bigint[]), cast(:account_versions as bigint[]),
  cast(:session_ids as uuid[]), cast(:round_ids as uuid[]), cast(:event_times_us as bigint[]),
  cast(:payloads as text[]), cast(:traceparents as text[]), cast(:batch_indexes as integer[]))
  with ordinality as e(event_id, batch_no, event_type, operator_id, account_id, account_version, session_id,
    round_id, event_time_us, payload, traceparent, batch_index, ord)
order by ord""")


async def lock_append(conn: Connection) -> None:
    """Waits until nobody else appends; held to the end of the transaction."""
    await conn.execute(_LOCK_APPEND, {"lock_id": _APPEND_LOCK_ID})


async def find_batch_no_last(conn: Connection, *, source: str) -> int:
    """The highest batch of the source; 0 when there is none."""
    rows = await conn.execute(_FIND_BATCH_NO_LAST, {"source": source})
    return next((batch_no for (batch_no,) in rows), 0)


async def insert_inbox(conn: Connection, *, source: str, batch_nos: Sequence[int]) -> set[int]:
    """Which of the batches were not there yet."""
    rows = await conn.execute(_INSERT_INBOX, {"source": source, "batch_nos": arrays.plain(batch_nos)})
    return {batch_no for (batch_no,) in rows}


async def append_events(
    conn: Connection, *, source: str, batch_no_last: int, events: Sequence[Event]
) -> None:
    """Stores the events in the order given, their positions ascend; and the source's highest batch."""
    columns: dict[str, Any] = dict(zip(Event._fields, zip(*events, strict=True), strict=True))
    plain, texts = arrays.plain, arrays.texts
    parameters = {
        "source": source,
        "batch_no_last": batch_no_last,
        "event_ids": plain(columns["event_id"]),
        "batch_nos": plain(columns["batch_no"]),
        "event_types": plain(columns["event_type"]),
        "operator_ids": texts(columns["operator_id"]),
        "account_ids": plain(columns["account_id"]),
        "account_versions": plain(columns["account_version"]),
        "session_ids": plain(value or "null" for value in columns["session_id"]),
        "round_ids": plain(value or "null" for value in columns["round_id"]),
        "event_times_us": plain(columns["event_time_us"]),
        "payloads": texts(columns["payload_json"]),
        "traceparents": texts(columns["traceparent"]),
        "batch_indexes": plain(_indexes(columns["batch_no"])),
    }
    await conn.execute(_APPEND_EVENTS, parameters)


def _indexes(batch_nos: Iterable[int]) -> Iterator[int]:
    """Places within runs of equal numbers: each event's in its batch."""
    for _, run in groupby(batch_nos):
        yield from (index for index, _ in enumerate(run))


async def list_events(
    conn: AsyncConnection, wanted: EventFilter, *, position_after: int, limit: int
) -> list[StoredEvent]:
    """The first `limit` events behind `position_after`, in the order of their positions."""
    parameters: dict[str, Any] = {"operator_id": wanted.operator_id, "position_after": position_after}
    conditions = ["operator_id = :operator_id", "position > :position_after"]
    for name in ("account_id", "session_id", "round_id", "event_type"):
        value = getattr(wanted, name)
        if value:
            conditions.append(f"{name} = :{name}")
            parameters[name] = value
    # A generic plan cannot tell a rare value from a common one, and would walk the operator's whole log.
    await conn.execute(text("set local plan_cache_mode = force_custom_plan"))
    statement = text(f"""
        select position, source, {_STORED} from event
        where {" and ".join(conditions)} order by position limit :limit""")
    rows = await conn.execute(statement, {**parameters, "limit": limit})
    return [StoredEvent(position, source, Event(*event)) for position, source, *event in rows]
