"""Every SQL statement of the log. No commit here."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.common import arrays
from services.common.db import Connection, HotConnection
from services.events.records import Event, EventFilter, StoredEvent


class Ends(NamedTuple):
    """The last position of the log, and of each source the last batch and the hash of its last event."""

    position: int
    heads: Mapping[str, tuple[int, bytes]]


class PlayerAccount(NamedTuple):
    """An account, and whose it is."""

    operator_id: str
    player_id: str
    account_id: int


_ADD_PLAYERS = text("""
insert into player_account select * from unnest(cast(:operator_ids as text[]), cast(:player_ids as text[]),
  cast(:account_ids as bigint[]))
on conflict do nothing""")

_FIND_ENDS = text("""
select l.position, s.source, s.batch_no, s.hash from log_head l left join source_head s on true""")

# Who moves the log's head is the only one to have done so from there: that is the arbiter of exactly-once,
# and the lock that the next one waits for. Then the source's head follows, and only then the events.
_APPEND_EVENTS = text("""
with fence as (
  update log_head set position = :position_last
  where position = :position_before and cast(:fenced as boolean)
  returning position),
head as (
  insert into source_head as s (source, batch_no, position, hash)
  select cast(:source as text), cast(:batch_no as bigint), cast(:position_last as bigint),
    substring(:hashes from :hash_start)
  from (select from fence union all select where not cast(:fenced as boolean)) allowed
  on conflict (source) do update set batch_no = excluded.batch_no, position = excluded.position,
    hash = excluded.hash
  where s.batch_no < excluded.batch_no or not cast(:fenced as boolean)
  returning 1),
stored as (
  insert into event (position, event_id, source, batch_no, batch_index, batch_size, event_type, operator_id,
    account_id, account_version, player_id, session_id, round_id, event_time, payload, traceparent, hash)
  select :position + ord - 1, event_id, cast(:source as text), batch_no, batch_index, batch_size, event_type,
    operator_id, account_id, account_version, player_id, session_id, round_id,
    timestamptz 'epoch' + event_time_us * interval '1 microsecond', cast(payload as json), traceparent,
    substring(:hashes from cast(ord * 32 - 31 as integer) for 32)
  from head, unnest(cast(:event_ids as uuid[]), cast(:batch_nos as bigint[]),
    cast(:batch_indexes as integer[]), cast(:batch_sizes as integer[]), cast(:event_types as text[]),
    cast(:operator_ids as text[]), cast(:account_ids as bigint[]), cast(:account_versions as bigint[]),
    cast(:player_ids as text[]), cast(:session_ids as uuid[]), cast(:round_ids as uuid[]),
    cast(:event_times_us as bigint[]), cast(:payloads as text[]), cast(:traceparents as text[]))
    with ordinality as e(event_id, batch_no, batch_index, batch_size, event_type, operator_id, account_id,
      account_version, player_id, session_id, round_id, event_time_us, payload, traceparent, ord)
  order by ord)
select count(*) from head""")

COLUMNS = """position, source, hash, cast(event_id as text) as event_id, batch_no, batch_index, batch_size,
  event_type, operator_id, account_id, account_version, player_id, cast(session_id as text) as session_id,
  cast(round_id as text) as round_id,
  cast(extract(epoch from event_time) * 1000000 as bigint) as event_time_us,
  cast(payload as text) as payload_json, traceparent"""

# Of an EventFilter what may be left out.
_CONDITIONS = {
    "account_id": "account_id = :account_id",
    "player_id": "player_id = :player_id",
    "session_id": "session_id = cast(:session_id as uuid)",
    "round_id": "round_id = cast(:round_id as uuid)",
}


async def find_ends(conn: HotConnection) -> Ends:
    """Where the log ends now."""
    rows = await conn.execute(_FIND_ENDS)
    heads = {source: (batch_no, hash_) for _, source, batch_no, hash_ in rows if source is not None}
    return Ends(rows[0][0], heads)


async def append_events(
    conn: HotConnection,
    *,
    source: str,
    events: Sequence[Event],
    hashes: Sequence[bytes],
    position: int,
    position_before: int,
    fenced: bool,
) -> bool:
    """Stores the events at `position` and behind it. False, and nothing stored: the log ended elsewhere."""
    columns: dict[str, Any] = dict(zip(Event._fields, zip(*events, strict=True), strict=True))
    plain, texts = arrays.plain, arrays.texts
    parameters = {
        "source": source,
        "batch_no": events[-1].batch_no,
        "position": position,
        "position_last": position + len(events) - 1,
        "position_before": position_before,
        "fenced": fenced,
        "hashes": b"".join(hashes),
        "hash_start": 32 * len(hashes) - 31,
        "event_ids": plain(columns["event_id"]),
        "batch_nos": plain(columns["batch_no"]),
        "batch_indexes": plain(columns["batch_index"]),
        "batch_sizes": plain(columns["batch_size"]),
        "event_types": texts(columns["event_type"]),
        "operator_ids": texts(columns["operator_id"]),
        "account_ids": plain(columns["account_id"]),
        "account_versions": plain(columns["account_version"]),
        "player_ids": texts(columns["player_id"]),
        "session_ids": texts(columns["session_id"]),
        "round_ids": texts(columns["round_id"]),
        "event_times_us": plain(columns["event_time_us"]),
        "payloads": texts(columns["payload_json"]),
        "traceparents": texts(columns["traceparent"]),
    }
    [[stored]] = await conn.execute(_APPEND_EVENTS, parameters)
    return bool(stored)


async def find_position_last(conn: Connection) -> int:
    """The position of the newest event; 0 when there is none."""
    for (position,) in await conn.execute(text("select position from log_head")):
        return int(position)
    return 0


async def find_position_archived(conn: Connection) -> int:
    """The position of the last event that is archived; 0 when none is."""
    for (position,) in await conn.execute(text("select coalesce(max(position), 0) from archived_head")):
        return int(position)
    return 0


async def add_players(conn: Connection, players: Sequence[PlayerAccount]) -> None:
    """Stores whose an account is, in ascending order; what is known stays."""
    operator_ids, player_ids, account_ids = zip(*players, strict=True)
    parameters = {
        "operator_ids": arrays.texts(operator_ids),
        "player_ids": arrays.texts(player_ids),
        "account_ids": arrays.plain(account_ids),
    }
    await conn.execute(_ADD_PLAYERS, parameters)


async def list_events(
    conn: AsyncConnection,
    wanted: EventFilter,
    *,
    position_after: int,
    position_end: int | None,
    limit: int,
    source: str = "",
) -> list[StoredEvent]:
    """The first `limit` events behind `position_after` and before `position_end`, by their positions.

    `source`: only what this service recorded; no index has it, so beside something narrow.
    """
    parameters: dict[str, Any] = {
        "operator_id": wanted.operator_id,
        "position_after": position_after,
        "limit": limit,
    }
    conditions = ["operator_id = :operator_id", "position > :position_after"]
    for name, condition in _CONDITIONS.items():
        value = getattr(wanted, name)
        if value:
            conditions.append(condition)
            parameters[name] = value
    narrow = len(conditions) > 2
    if position_end is not None:
        conditions.append("position < :position_end")
        parameters["position_end"] = position_end
    if source:
        conditions.append("source = :source")
        parameters["source"] = source
    parameters |= {f"event_type_{n}": event_type for n, event_type in enumerate(wanted.event_types)}
    types = [f"event_type = :event_type_{n}" for n in range(len(wanted.event_types))]
    if types and narrow:
        conditions.append(f"({' or '.join(types)})")
    page = f"select {COLUMNS} from event where {' and '.join(conditions)}"
    ordered = "order by position limit :limit"
    # Where no index has all that is asked for in the order of the page: a page of each part, and then the
    # first ones of these.
    if types and not narrow:
        parts = [f"({page} and {condition} {ordered})" for condition in types]
        page = f"select * from ({' union all '.join(parts)}) pages"
    elif wanted.player_id and not wanted.account_id:
        page = f"""select * from (
            select e.* from player_account a cross join lateral (
              {page} and account_id = a.account_id and account_id > 0 {ordered}) e
            where a.operator_id = :operator_id and a.player_id = :player_id
            union all ({page} and account_id = 0 {ordered})) pages"""
    # A generic plan cannot tell a rare value from a common one, and would walk the operator's whole log.
    await conn.execute(text("set local plan_cache_mode = force_custom_plan"))
    rows = await conn.execute(text(f"{page} {ordered}"), parameters)
    return [stored_event(row) for row in rows]


async def find_events(conn: AsyncConnection, *, positions: Sequence[int]) -> list[StoredEvent]:
    """The events at these positions that are kept, in their order."""
    query = text(f"select {COLUMNS} from event where position = any(:positions) order by position")
    rows = await conn.execute(query, {"positions": list(positions)})
    return [stored_event(row) for row in rows]


def stored_event(row: Any) -> StoredEvent:
    """A row of COLUMNS."""
    position, source, hash_, *event = row
    return StoredEvent(position, source, hash_, Event(*event))
