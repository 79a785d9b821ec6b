"""One archive command at a time, and a partition dropped while others read and write its table."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

# Writers wait no longer than this for a drop that waits for a long read; then the drop steps back.
DROP_LOCK_TIMEOUT_MS = 200
DROP_ATTEMPTS = 120
DROP_PAUSE_S = 0.5
_LOCK_NOT_AVAILABLE = "55P03"

# Hears, in a few words, what was done.
Tell = Callable[[str], None]


class ArchiveError(Exception):
    """Why something was not archived. Nothing is lost, and the command may be given again."""


@asynccontextmanager
async def alone(
    engine: AsyncEngine, take_lock: Callable[[AsyncConnection], Awaitable[bool]]
) -> AsyncIterator[AsyncConnection]:
    """A connection that holds the session's lock which `take_lock` takes. Errors: ArchiveError"""
    # A connection of its own: a session's lock would outlive the way back into the pool.
    async with engine.connect() as conn:
        await conn.execution_options(isolation_level="AUTOCOMMIT")
        if not await take_lock(conn):
            raise ArchiveError("another archive command is at work")
        try:
            yield conn
        finally:
            await conn.invalidate()


async def drop(conn: AsyncConnection, drop_now: Callable[[int], Awaitable[None]]) -> bool:
    """Whether it could be dropped, within a minute: `drop_now` is given how long it may wait for a lock, ms.

    In the caller's transaction, and last in it: from then on nobody uses the table until it commits.
    """
    for _ in range(DROP_ATTEMPTS):
        try:
            async with conn.begin_nested():
                await drop_now(DROP_LOCK_TIMEOUT_MS)
            return True
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                raise
            await asyncio.sleep(DROP_PAUSE_S)
    return False
