"""What statements read of the wallet's database: a function per statement of sql.py."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import fields
from datetime import date, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from services.common import arrays
from services.wallet.reads import sql
from services.wallet.records import DailyTotals, DayPosting, Movement, MovementType, Posting

# PostgreSQL's sums are decimals without a fraction.
_SUMS = [field.name for field in fields(DailyTotals)][1:]


async def begin_snapshot(conn: AsyncConnection) -> None:
    """All statements of the transaction see one moment; the first of them must be this one."""
    await conn.execute(sql.SNAPSHOT)


async def allow_time(conn: AsyncConnection, *, statement_ms: int, idle_ms: int) -> None:
    """How long a statement of this transaction may take, and how long its reader may; 0 is no limit."""
    await conn.execute(sql.ALLOW_TIME, {"statement_ms": str(statement_ms), "idle_ms": str(idle_ms)})


async def get_time(conn: AsyncConnection) -> datetime:
    """The database's clock, which all movements have their times from."""
    time: datetime = (await conn.execute(sql.NOW)).scalar_one()
    return time


async def hold_months(conn: AsyncConnection) -> None:
    """Keeps every month that is in the database there until the transaction ends."""
    await conn.execute(sql.HOLD_MONTHS)


async def get_archived_end(conn: AsyncConnection) -> date:
    """The first day, UTC, of which every movement is in the database."""
    day: date = (await conn.execute(sql.ARCHIVED_END)).scalar_one()
    return day


async def find_version(conn: AsyncConnection, *, account_id: int, time: datetime, margin: timedelta) -> int:
    """A version whose movement is before `time` plus `margin` while the next one's is not; 0: there is none.

    Where no clock was ever put back, all versions up to it are before that, and no other is.
    """
    values = {"account_id": account_id, "time": time, "margin": margin}
    return int((await conn.execute(sql.FIND_VERSION, values)).scalar_one())


async def find_balance(
    conn: AsyncConnection, *, account_id: int, time: datetime, version_before: int
) -> tuple[int, int] | None:
    """Version and balance after the last movement up to `time` below `version_before`; (0, 0): none.

    None: it, or one after it, is no longer kept.
    """
    values = {"account_id": account_id, "time": time, "version_before": version_before}
    row = (await conn.execute(sql.FIND_BALANCE, values)).one()
    return (row.account_version, row.balance_minor) if row.known else None


async def list_movements(
    conn: AsyncConnection,
    *,
    account_id: int,
    version_after: int,
    version_before: int,
    start_time: datetime,
    end_time: datetime,
    types: tuple[MovementType, ...],
    rows_max: int,
) -> list[Movement]:
    """Movements of these types, newest first: versions between the two, times from start to before end."""
    rows = await conn.execute(
        sql.LIST_MOVEMENTS,
        {
            "account_id": account_id,
            "version_after": version_after,
            "version_before": version_before,
            "start_time": start_time,
            "end_time": end_time,
            "types": arrays.plain(map(int, types)),
            "rows_max": rows_max,
        },
    )
    return [Movement(*row) for row in rows]


async def list_steps(conn: AsyncConnection, *, transaction_id: uuid.UUID) -> list[Movement]:
    """What moved under one id, a transfer or the steps of a round, in the order in which it moved."""
    rows = await conn.execute(sql.LIST_STEPS, {"transaction_id": transaction_id})
    return [Movement(*row) for row in rows]


async def list_postings(conn: AsyncConnection, *, transaction_id: uuid.UUID) -> list[Posting]:
    """Both sides of every posting under one id, the player's first."""
    rows = await conn.execute(sql.LIST_POSTINGS, {"transaction_id": transaction_id})
    return [Posting(*row) for row in rows]


async def list_daily_totals(
    conn: AsyncConnection, *, operator_id: str, start_time: datetime, end_time: datetime, currency_code: str
) -> list[DailyTotals]:
    """Sums per currency, of all currencies when `currency_code` is empty."""
    rows = await conn.execute(sql.DAILY_TOTALS, _day(operator_id, start_time, end_time, currency_code))
    return [
        DailyTotals(currency_code=row[0], **dict(zip(_SUMS, map(int, row[1:]), strict=True))) for row in rows
    ]


async def stream_day(
    conn: AsyncConnection, *, operator_id: str, start_time: datetime, end_time: datetime, currency_code: str
) -> AsyncIterator[DayPosting]:
    """Both sides of every posting of real money, by time; in constant memory."""
    values = _day(operator_id, start_time, end_time, currency_code)
    async for row in await conn.stream(sql.STREAM_DAY, values):
        yield DayPosting(*row)


async def stream_movements(
    conn: AsyncConnection, *, account_id: int, start_time: datetime, end_time: datetime
) -> AsyncIterator[Movement]:
    """An account's movements from start to before end, oldest first; in constant memory."""
    values = {"account_id": account_id, "start_time": start_time, "end_time": end_time}
    async for row in await conn.stream(sql.STREAM_MOVEMENTS, values):
        yield Movement(*row)


def _day(operator_id: str, start_time: datetime, end_time: datetime, currency_code: str) -> dict[str, object]:
    return {
        "operator_id": operator_id,
        "start_time": start_time,
        "end_time": end_time,
        "currency_code": currency_code,
    }
