"""The months that the ledger keeps: whose ids it takes, and the job that makes the next ones in time."""

import asyncio

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.common import db
from services.common.errors import FieldInvalid
from services.wallet.errors import IdExpired
from services.wallet.months import store

MONTHS_AHEAD = 2
INTERVAL_MS = 60_000


class Kept:
    """The kept range of ids as this process last read it; until then, every UUIDv7.

    Only a cheap first look: the tables have the last word, for what was closed or archived since.
    """

    def __init__(self) -> None:
        self._id_min, self._id_end = "", "g"  # before and behind every hexadecimal digit

    async def refresh(self, engine: AsyncEngine) -> None:
        """Reads the range again."""
        async with engine.connect() as conn:
            self._id_min, self._id_end = await store.find_kept(conn)

    def require(self, round_id: str) -> None:
        """That a round's id, in lower case, is one of the kept range. Errors: ID_EXPIRED, FIELD_INVALID"""
        if round_id[14] != "7":
            raise FieldInvalid(field="round_id", problem="not a UUIDv7")
        if round_id < self._id_min:
            raise IdExpired(field="round_id")
        if round_id >= self._id_end:
            raise FieldInvalid(field="round_id", problem="of a month that is yet to come")


async def require_unexpired(conn: AsyncConnection, unknown_id: str, field: str) -> None:
    """That an id of which nothing is stored is not so because it was archived. Errors: ID_EXPIRED"""
    id_min, _ = await store.find_kept(conn)
    if unknown_id < id_min:
        raise IdExpired(field=field)


async def add_ahead(engine: AsyncEngine) -> int:
    """Makes the partitions of this month and the next ones where they are missing; how many months it made.

    Any number of replicas may do it at once. It is no trace of its own: `links=()`.
    """
    async with db.transaction(engine, "wallet.add_months", links=()) as conn:
        return await store.add_months(conn, months_ahead=MONTHS_AHEAD)


async def keep_ahead(engine: AsyncEngine, kept: Kept, *, interval_ms: int, stop: asyncio.Event) -> None:
    """Every `interval_ms` makes the months ahead and refreshes `kept`, until `stop` is set."""
    while not stop.is_set():
        await add_ahead(engine)
        await kept.refresh(engine)
        try:
            await asyncio.wait_for(stop.wait(), interval_ms / 1000)
        except TimeoutError:
            pass
