"""Every access to the days of the log and their partitions. No commit here."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.events.records import Head
from services.events.store import COLUMNS

# Any constant: two archive commands of one database do not run at once.
_LOCK_ID = 7_263_005

_ADD_DAYS = text("""
select add_days(cast(now() at time zone 'UTC' as date) + cast(:days_ahead as integer))""")

_LIST_DAYS = text("""
select day, day_position(day) as position_start, day_position(day + 1) as position_end,
  archive_time is not null as archived, day < cast(now() at time zone 'UTC' as date) as past, manifest
from event_day order by day""")

_ADD_HEAD = text("""
insert into archived_head (day, source, position, batch_no, batch_index, batch_size, hash)
values (:day, :source, :position, :batch_no, :batch_index, :batch_size, :hash)""")

# A replica that remembers an older head looks again, and goes on behind this one.
_CLOSE_DAY = text("update log_head set position = :position where position < :position")

_FIND_HEADS = text("""
select source, position, batch_no, batch_index, batch_size, hash from archived_head
where day = (select max(day) from archived_head where day < :day)""")


@dataclass(frozen=True, slots=True)
class Day:
    """A day of the log; the oldest one stands for all before it, and is archived."""

    day: date
    position_start: int
    position_end: int  # the first position of the next one
    archived: bool
    past: bool  # over, by the database's clock
    manifest: Mapping[str, Any] | None

    @property
    def partition(self) -> str:
        """Its table."""
        return f"event_{self.day:%Y_%m_%d}"


async def add_days(conn: AsyncConnection, *, days_ahead: int) -> int:
    """Makes what is missing of today and the next days; how many days it made."""
    return int((await conn.execute(_ADD_DAYS, {"days_ahead": days_ahead})).scalar_one())


async def list_days(conn: AsyncConnection) -> list[Day]:
    """All days that have or had a partition, oldest first."""
    return [Day(*row) for row in await conn.execute(_LIST_DAYS)]


async def lock_archive(conn: AsyncConnection) -> bool:
    """Reserves archiving for this connection until it closes; False when another one has it."""
    return bool((await conn.execute(text(f"select pg_try_advisory_lock({_LOCK_ID})"))).scalar_one())


async def find_position_last(conn: AsyncConnection, day: Day) -> int:
    """The position of a day's last event; 0 when it has none."""
    query = text(f"select coalesce(max(position), 0) from {day.partition}")
    return int((await conn.execute(query)).scalar_one())


async def count_rows(conn: AsyncConnection, day: Day) -> int:
    """The events of a day, counted."""
    return int((await conn.execute(text(f"select count(*) from {day.partition}"))).scalar_one())


async def find_size_bytes(conn: AsyncConnection, day: Day) -> int:
    """What a day takes on the disk with its indexes."""
    query = text(f"select pg_total_relation_size('{day.partition}')")
    return int((await conn.execute(query)).scalar_one())


async def copy_day(conn: AsyncConnection, day: Day) -> AsyncIterator[bytes]:
    """A day's events as CSV with a head line, in the order of their positions: all that a hash is made of."""
    columns = COLUMNS.replace("hash,", "encode(hash, 'hex') as hash,", 1)
    query = f"copy (select {columns} from {day.partition} order by position) to stdout (format csv, header)"
    driver: Any = (await conn.get_raw_connection()).driver_connection
    async with driver.cursor() as cursor, cursor.copy(query) as copy:
        async for part in copy:
            yield bytes(part)


async def find_heads(conn: AsyncConnection, *, day: date) -> dict[str, Head]:
    """Where the chain of each source stands before a day, of what is archived; no source: at nothing."""
    rows = await conn.execute(_FIND_HEADS, {"day": day})
    return {source: Head(*place) for source, *place in rows}


async def close_day(conn: AsyncConnection, day: Day) -> None:
    """Lets no position of the day be given out any more; waits for whoever appends."""
    await conn.execute(_CLOSE_DAY, {"position": day.position_end - 1})


async def add_heads(conn: AsyncConnection, day: Day, heads: Mapping[str, Head]) -> None:
    """Keeps where the chain of each source stands at the end of a day."""
    for source, head in sorted(heads.items()):
        await conn.execute(_ADD_HEAD, {"day": day.day, "source": source, **head._asdict()})


async def update_archived(conn: AsyncConnection, day: Day, *, manifest: Mapping[str, Any]) -> None:
    """Keeps the manifest of a day's files."""
    query = text("""
        update event_day set archive_time = clock_timestamp(), manifest = cast(:manifest as jsonb)
        where day = :day""")
    await conn.execute(query, {"day": day.day, "manifest": json.dumps(manifest)})


async def drop_partition(conn: AsyncConnection, day: Day, *, lock_timeout_ms: int) -> None:
    """Drops a day's partition. Appends and reads wait meanwhile, and while it waits for them."""
    await conn.execute(text(f"set local lock_timeout = {lock_timeout_ms}"))
    await conn.execute(text(f"drop table {day.partition}"))
