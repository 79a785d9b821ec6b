"""The log: what arrives at least once is stored exactly once, chained, in the order it was stored."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db, failpoints
from services.common.errors import Unavailable
from services.events import chain, store
from services.events.errors import BatchOutOfOrder
from services.events.records import Event

# Other replicas append in between; each time one of us gets through.
ATTEMPTS_MAX = 20
# Accounts that a process remembers to have stored; about 300 bytes each.
PLAYERS_MAX = 100_000


class Batch(NamedTuple):
    """One outbox batch of a source."""

    batch_no: int
    events: Sequence[Event]


def clock_us() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000


class Log:
    """Appends for one process. It remembers where the log ends, and looks again when others were there."""

    def __init__(
        self, engine: AsyncEngine, *, clock_us: Callable[[], int] = clock_us, fenced: bool = True
    ) -> None:
        """`fenced` is off only in the tests that show what it is for."""
        self._engine = engine
        self._clock_us = clock_us
        self._fenced = fenced
        self._ends: store.Ends | None = None
        self._turn = asyncio.Lock()
        self._players: set[store.PlayerAccount] = set()

    async def append(self, source: str, batches: Sequence[Batch]) -> int:
        """Stores the batches that are new, in one statement; returns the source's highest stored batch.

        Errors: BATCH_OUT_OF_ORDER when a number is above the next one; then nothing is stored. UNAVAILABLE
        when others were always faster.
        """
        async with self._turn:
            for _ in range(ATTEMPTS_MAX):
                batch_no_last = await self._append(source, batches)
                if batch_no_last:
                    return batch_no_last
        raise Unavailable()

    async def _append(self, source: str, batches: Sequence[Batch]) -> int:
        """The highest stored batch; 0 when somebody else has appended, and it is to be tried again."""
        remembered, self._ends = self._ends, None
        ends = remembered
        async with db.hot_statements(self._engine, "append") as conn:
            if ends is None:
                ends = await store.find_ends(conn)
            batch_no_last, previous = ends.heads.get(source, (0, b""))
            expected = batch_no_last + 1
            for batch in batches:
                if batch.batch_no > expected:
                    if remembered is not None:
                        return 0
                    raise BatchOutOfOrder(batch_no_expected=expected)
                expected = max(expected, batch.batch_no + 1)
            events = [event for batch in batches if batch.batch_no > batch_no_last for event in batch.events]
            if events:
                await self._add_players(conn, events)
                # Positions are ours alone: nobody can commit a lower one later, which a reader would miss.
                start = max(ends.position + 1, self._clock_us())
                hashes = []
                for position, event in enumerate(events, start):
                    previous = chain.hash_of(previous, event, source=source, position=position)
                    hashes.append(previous)
                stored = await store.append_events(
                    conn,
                    source=source,
                    events=events,
                    hashes=hashes,
                    position=start,
                    position_before=ends.position,
                    fenced=self._fenced,
                )
                await failpoints.reach("mid_append", source)
                if not stored:
                    return 0
                ends = store.Ends(
                    start + len(events) - 1, {**ends.heads, source: (events[-1].batch_no, previous)}
                )
        # Only now: after an error nobody knows what was stored.
        self._ends = ends
        return expected - 1

    async def _add_players(self, conn: db.HotConnection, events: Sequence[Event]) -> None:
        """Stores which account is whose, where this process has not done so already."""
        seen = {
            store.PlayerAccount(event.operator_id, event.player_id, event.account_id)
            for event in events
            if event.player_id and event.account_id
        }
        new = seen - self._players
        if new:
            await store.add_players(conn, sorted(new))
            if len(self._players) > PLAYERS_MAX:
                self._players.clear()
            self._players |= new
