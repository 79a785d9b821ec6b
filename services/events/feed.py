"""The feed: an operator's events from a position on, for as long as its reader stays.

Nothing is kept for a reader but where it is: its next page is read when it has taken the last one, and from
the database, so that a slow one costs what an idle one does.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db
from services.common.errors import Overloaded, Unavailable
from services.events import store
from services.events.errors import CursorExpired
from services.events.records import EventFilter, StoredEvent

PAGE_EVENTS = 100
PAGE_SIZE_BYTES_MAX = 1024 * 1024
# What an event is longer than its payload, at most; nearly.
EVENT_HEAD_BYTES = 512
HEARTBEAT_S = 15.0
POLL_INTERVAL_S = 0.25
# Each of them reads when the log has grown.
READERS_MAX = 50
# No operator takes the room of the others.
READERS_PER_OPERATOR_MAX = 10
# Pages that are read at once: the other connections of the pool are not the feed's.
READS_MAX = 4
RETRY_AFTER_MS = 5_000


class Page(NamedTuple):
    """The next events, or none: a heartbeat. `position`: where to go on."""

    events: Sequence[StoredEvent]
    position: int


def fitting(events: Sequence[StoredEvent]) -> Sequence[StoredEvent]:
    """As many of the first ones as a message may hold, at least one of any."""
    size_bytes = 0
    for count, stored in enumerate(events):
        size_bytes += len(stored.event.payload_json) + EVENT_HEAD_BYTES
        if count and size_bytes > PAGE_SIZE_BYTES_MAX:
            return events[:count]
    return events


class Feed:
    """The readers of one process, and the one look at the log's end that they share."""

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        draining: asyncio.Event,
        age_s: float = math.inf,
        heartbeat_s: float = HEARTBEAT_S,
        readers_max: int = READERS_MAX,
        readers_per_operator_max: int = READERS_PER_OPERATOR_MAX,
    ) -> None:
        """`draining` ends every reader with UNAVAILABLE, so that it goes on elsewhere; `age_s` one so old."""
        self._engine, self._draining = engine, draining
        self._age_s, self._heartbeat_s, self._readers_max = age_s, heartbeat_s, readers_max
        self._per_operator_max = readers_per_operator_max
        self._reads = asyncio.Semaphore(READS_MAX)
        self._readers = Counter[str]()
        self._position = 0
        self._grown = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Looks whether the log has grown while there are readers, and wakes them, until `stop` is set."""
        while not stop.is_set():
            if self._readers.total():
                await self._look()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), POLL_INTERVAL_S)

    async def kept_after(self, position: int) -> int:
        """The position, or the end of what is archived where that lies behind it."""
        async with self._reads, db.transaction(self._engine, "feed_look", links=()) as conn:
            return max(position, await store.find_position_archived(conn))

    async def read(self, wanted: EventFilter, *, position_after: int) -> AsyncIterator[Page]:
        """Pages behind a position, oldest first; a heartbeat where there is nothing for a while.

        Errors: CURSOR_EXPIRED when events behind the position are not kept any more; OVERLOADED with too many
        readers, of the operator or in all; UNAVAILABLE when the process drains, or the reader got too old.
        """
        end_s = time.monotonic() + self._age_s
        full = self._readers.total() >= self._readers_max
        if full or self._readers[wanted.operator_id] >= self._per_operator_max:
            raise Overloaded(retry_after_ms=RETRY_AFTER_MS)
        self._readers[wanted.operator_id] += 1
        try:
            await self._look()
            while True:
                if self._draining.is_set() or time.monotonic() >= end_s:
                    raise Unavailable()
                # Of before the read: what it does not find up to there is not for this reader.
                end, grown = self._position, self._grown
                events = await self._read(wanted, position_after)
                if events:
                    position_after = events[-1].position
                    yield Page(events, position_after)
                    continue
                position_after = max(position_after, end)
                if not await self._wait(grown, min(self._heartbeat_s, end_s - time.monotonic())):
                    yield Page((), position_after)
        finally:
            self._readers[wanted.operator_id] -= 1
            # Only of who reads anything is kept.
            self._readers += Counter()

    async def _look(self) -> None:
        async with self._reads, db.transaction(self._engine, "feed_look", links=()) as conn:
            position = await store.find_position_last(conn)
        if position != self._position:
            self._position = position
            self._grown.set()
            self._grown = asyncio.Event()

    async def _read(self, wanted: EventFilter, position_after: int) -> Sequence[StoredEvent]:
        async with self._reads, db.transaction(self._engine, "feed_read", links=()) as conn:
            events = await store.list_events(
                conn, wanted, position_after=position_after, position_end=None, limit=PAGE_EVENTS
            )
            # Behind the read: what was archived before it, was missed by it.
            archived = await store.find_position_archived(conn)
        if position_after < archived:
            raise CursorExpired(append_time_oldest=time_of(archived + 1).isoformat())
        return fitting(events)

    async def _wait(self, grown: asyncio.Event, heartbeat_s: float) -> bool:
        """Whether the log has grown, or the process drains, before the next heartbeat is due."""
        waits = [asyncio.ensure_future(event.wait()) for event in (grown, self._draining)]
        try:
            done, _ = await asyncio.wait(waits, timeout=heartbeat_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return bool(done)


def time_of(position: int) -> datetime:
    """When a position was given out."""
    return datetime.fromtimestamp(position / 1_000_000, UTC)
