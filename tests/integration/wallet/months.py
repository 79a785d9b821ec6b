"""Months for tests: ids of any time, and a ledger that began in the past."""

import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.wallet.months import archive
from services.wallet.months import store as months_store
from services.wallet.months.store import TABLES, Month
from tests.integration.wallet.harness import Wallet


def month_at(months: int) -> date:
    """The first day of the month so many from now, UTC; negative: ago."""
    today = datetime.now(UTC)
    year, month = divmod(today.year * 12 + today.month - 1 + months, 12)
    return date(year, month + 1, 1)


# Where the ledger of `old_wallet` begins, and the two months after: as of now, for a month may end meanwhile.
OLD, NEXT, LATER = month_at(-3), month_at(-2), month_at(-1)


def ms_of(month: date) -> int:
    """The first millisecond of a month."""
    return int(datetime(month.year, month.month, 1, tzinfo=UTC).timestamp()) * 1000


def id_at(ms: int) -> str:
    """A UUIDv7 of this millisecond; two of them differ."""
    random = uuid.uuid4().int & ((1 << 62) - 1)
    return str(uuid.UUID(int=ms << 80 | 7 << 76 | 2 << 62 | random))


def ids_in(month: date) -> Callable[[], str]:
    """Mints ids of a month, a second apart, from its second one."""
    ms = ms_of(month)

    def mint() -> str:
        nonlocal ms
        ms += 1000
        return id_at(ms)

    return mint


async def lay_months(engine: AsyncEngine, *, first: date, last: date) -> None:
    """Gives a fresh ledger a partition for each of these months, instead of those of its migration."""
    async with engine.begin() as conn:
        for month in await months_store.list_months(conn):
            for table in TABLES:
                await conn.execute(text(f"drop table {table}_{month.suffix}"))
        await conn.execute(text("delete from ledger_month where archive_time is null"))
        await conn.execute(
            text("""
            insert into ledger_month
            values (cast(cast(:first as date) - interval '1 month' as date), now(), now(), '{}')"""),
            {"first": first},
        )
        await conn.execute(text("select add_months(:last)"), {"last": last})


async def find_month(engine: AsyncEngine, month: date) -> Month:
    """A month as the wallet sees it."""
    async with engine.connect() as conn:
        [found] = [found for found in await months_store.list_months(conn) if found.month == month]
        return found


async def run(wallet: Wallet, directory: Path, *, before: date = NEXT) -> list[date]:
    """The archive command's work."""
    return await archive.archive(wallet.engine, directory=directory, before=before, tell=lambda line: None)
