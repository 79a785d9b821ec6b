"""Waiting for what nobody tells of: it comes about in a database, a file, or another process."""

import asyncio
from collections.abc import Awaitable, Callable

# Longer than anything takes on a busy machine.
SECONDS_MAX = 20.0


async def until(
    holds: Callable[[], bool] | Callable[[], Awaitable[bool]], *, seconds_max: float = SECONDS_MAX
) -> None:
    """Returns when it holds. Errors: TimeoutError"""
    async with asyncio.timeout(seconds_max):
        while True:
            found = holds()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.02)
