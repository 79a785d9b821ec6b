"""Calls that meet: they wait at one account's lock in the order in which they came, then all go at once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.integration.wallet.harness import Wallet

T = TypeVar("T")

_HOLD = text("select from account where account_id = :account_id for no key update")
_WAITING = text("""
select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
""")
# Nothing but the barrier is waited for; this only ends a test that hangs.
PATIENCE_S = 20


async def until_waiting(watcher: AsyncConnection, count: int = 1) -> None:
    """Returns when this many statements wait for a lock in this database."""
    async with asyncio.timeout(PATIENCE_S):
        while (await watcher.execute(_WAITING)).scalar_one() < count:
            await watcher.rollback()
            await asyncio.sleep(0.001)
    await watcher.rollback()


async def in_order(
    wallet: Wallet, account_id: int, calls: Sequence[Callable[[], Awaitable[T]]]
) -> list[T | BaseException]:
    """Starts each call when those before it wait for the account; what each came to, in order.

    Two calls of one replica would wait in its batcher instead: give each a replica of its own.
    """
    async with wallet.engine.connect() as holder, wallet.engine.connect() as watcher:
        await holder.execute(_HOLD, {"account_id": account_id})
        tasks: list[asyncio.Future[T]] = []
        async with asyncio.timeout(PATIENCE_S):
            for call in calls:
                tasks.append(asyncio.ensure_future(call()))
                await until_waiting(watcher, len(tasks))
        await holder.rollback()
        return await asyncio.gather(*tasks, return_exceptions=True)
