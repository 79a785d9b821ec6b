"""The balances of the counter-accounts, checkpoint plus tail: no settle waits for a row of theirs."""

import asyncio

from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db
from services.wallet import store

ROWS_MAX = 10_000


async def roll_up(engine: AsyncEngine, *, rows_max: int = ROWS_MAX) -> int:
    """Moves up to `rows_max` rows of tails into the checkpoints. Any number of replicas may do it at once.

    It is no trace of its own: `links=()`.
    """
    async with db.transaction(engine, "wallet.roll_up", links=()) as conn:
        return await store.roll_up_counters(conn, rows_max=rows_max)


async def keep_rolling_up(engine: AsyncEngine, *, interval_ms: int, stop: asyncio.Event) -> None:
    """Rolls up every `interval_ms` until `stop` is set; at once again while there is more than a portion."""
    while not stop.is_set():
        if await roll_up(engine) == ROWS_MAX:
            continue
        try:
            await asyncio.wait_for(stop.wait(), interval_ms / 1000)
        except TimeoutError:
            pass
