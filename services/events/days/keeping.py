"""The days that the log keeps: the job that makes the next ones in time."""

import asyncio

from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db
from services.events.days import store

DAYS_AHEAD = 3
INTERVAL_MS = 60_000


async def add_ahead(engine: AsyncEngine) -> int:
    """Makes the partitions of today and the next days where they are missing; how many days it made.

    Any number of replicas may do it at once. It is no trace of its own: `links=()`.
    """
    async with db.transaction(engine, "events.add_days", links=()) as conn:
        return await store.add_days(conn, days_ahead=DAYS_AHEAD)


async def keep_ahead(engine: AsyncEngine, *, interval_ms: int, stop: asyncio.Event) -> None:
    """Every `interval_ms` makes the days ahead, until `stop` is set."""
    while not stop.is_set():
        await add_ahead(engine)
        try:
            await asyncio.wait_for(stop.wait(), interval_ms / 1000)
        except TimeoutError:
            pass
