"""What verification reads, in one snapshot. No commit here."""

from collections.abc import AsyncIterator
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.events.days import store as days_store
from services.events.records import GENESIS, Head, StoredEvent
from services.events.store import COLUMNS, stored_event

ROWS_PER_FETCH = 2_000


class Span(NamedTuple):
    """The positions to look at."""

    start: int
    end: int  # the first one beyond
    open_ended: bool  # up to the newest event
    from_oldest: bool  # from the oldest day that is kept
    day_start: date


class End(NamedTuple):
    """Where the head of a source says that its chain ends."""

    batch_no: int
    position: int
    hash: bytes


class Place(NamedTuple):
    """Where a record lies."""

    batch_index: int
    position: int
    event_id: str


_SNAPSHOT = text("set transaction isolation level repeatable read read only")
_NO_LIMITS = text("""
select set_config('statement_timeout', '0', true),
  set_config('idle_in_transaction_session_timeout', '0', true)""")

_FIND_HEAD = text("""
select position, batch_no, batch_index, batch_size, hash from event
where source = :source and position < :start order by position desc limit 1""")

_LIST_PLACES = text("""
select batch_index, position, cast(event_id as text) from event
where source = :source and batch_no = :batch_no order by position""")

_LIST_SOURCES = text("""
select source from source_head union select source from archived_head order by 1""")


async def begin_snapshot(conn: AsyncConnection) -> None:
    """All statements of the transaction see one moment, for as long as it takes."""
    await conn.execute(_SNAPSHOT)
    await conn.execute(_NO_LIMITS)


async def find_span(conn: AsyncConnection, *, day_start: date | None, day_end: date | None) -> Span:
    """The positions of these days, of those that are kept."""
    kept = [day for day in await days_store.list_days(conn) if not day.archived]
    start = next((day for day in kept if day_start is None or day.day >= day_start), kept[-1])
    ends = [day for day in kept if day_end is None or day.day <= day_end]
    end = ends[-1].position_end if ends else start.position_start
    return Span(start.position_start, end, ends[-1:] == kept[-1:], start is kept[0], start.day)


async def list_sources(conn: AsyncConnection) -> list[str]:
    """Everyone of whom the log says so elsewhere than in the events themselves, by name."""
    return [source for (source,) in await conn.execute(_LIST_SOURCES)]


async def list_ends(conn: AsyncConnection) -> dict[str, End]:
    """The head of each source."""
    rows = await conn.execute(text("select source, batch_no, position, hash from source_head"))
    return {source: End(*end) for source, *end in rows}


async def find_head(conn: AsyncConnection, *, source: str, span: Span) -> Head:
    """The last event of a source before these days, archived or not."""
    if not span.from_oldest:
        for place in await conn.execute(_FIND_HEAD, {"source": source, "start": span.start}):
            return Head(*place)
    heads = await days_store.find_heads(conn, day=span.day_start)
    return heads.get(source, GENESIS)


async def stream(conn: AsyncConnection, *, span: Span) -> AsyncIterator[StoredEvent]:
    """The events of the span by their positions, a few at a time."""
    query = f"select {COLUMNS} from event where position >= %s and position < %s order by position"
    # The driver's own: ten million rows through the library's would take twice the time.
    driver: Any = (await conn.get_raw_connection()).driver_connection
    async with driver.cursor(name="verify") as cursor:
        cursor.itersize = ROWS_PER_FETCH
        await cursor.execute(query, (span.start, span.end))
        async for row in cursor:
            yield stored_event(row)


async def list_places(conn: AsyncConnection, *, source: str, batch_no: int) -> list[Place]:
    """All records that say they are of this batch, wherever they lie. It reads the whole log."""
    rows = await conn.execute(_LIST_PLACES, {"source": source, "batch_no": batch_no})
    return [Place(*row) for row in rows]
