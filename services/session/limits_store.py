"""The statements of what belongs to the account: its limits, what counts for them, its reality check."""

import json
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


class PlayerLimits(NamedTuple):
    """A player's own limits; smaller is stricter, None is none. Amounts in minor units. Named as columns."""

    stake_max_minor: int | None = None
    loss_day_max_minor: int | None = None
    loss_week_max_minor: int | None = None
    loss_month_max_minor: int | None = None
    session_max_ms: int | None = None
    check_interval_ms: int | None = None


class Play(NamedTuple):
    """The row of an account that has limits, and the clock it is to be read by."""

    account_id: int
    limits: PlayerLimits
    next_limits: PlayerLimits
    next_time: datetime | None  # None: nothing is to change
    count_day: date | None
    loss_day_minor: int
    loss_week_minor: int
    loss_month_minor: int
    stay_time: datetime | None
    stake_time: datetime | None
    check_time: datetime | None
    lock_end_time: datetime | None
    now: datetime


_FIELDS = PlayerLimits._fields
_CURRENT = ", ".join(_FIELDS)
_NEXT = ", ".join(f"next_{name}" for name in _FIELDS)
_PLAY = f"""account_id, {_CURRENT}, {_NEXT}, next_time, count_day, loss_day_minor, loss_week_minor,
  loss_month_minor, stay_time, stake_time, check_time, lock_end_time, clock_timestamp()"""
_SIZE = len(_FIELDS)


async def insert_play(conn: AsyncConnection, *, account_id: int) -> None:
    """From now on the account's stakes may count; nothing when they do."""
    await conn.execute(
        text("insert into account_play (account_id) values (:account_id) on conflict do nothing"),
        {"account_id": account_id},
    )


async def find_play(conn: AsyncConnection, *, account_id: int, lock: bool = False) -> Play | None:
    """The account's row; None when it has no limits. `lock`: to the transaction's end; after its sessions."""
    rows = await conn.execute(
        text(
            f"select {_PLAY} from account_play where account_id = :account_id"
            + (" for no key update" if lock else "")
        ),
        {"account_id": account_id},
    )
    row = rows.one_or_none()
    if row is None:
        return None
    current, following = row[1 : 1 + _SIZE], row[1 + _SIZE : 1 + 2 * _SIZE]
    return Play(row[0], PlayerLimits._make(current), PlayerLimits._make(following), *row[1 + 2 * _SIZE :])


async def update_limits(
    conn: AsyncConnection,
    *,
    account_id: int,
    limits: PlayerLimits,
    next_limits: PlayerLimits,
    next_time: datetime | None,
    lock_end_time: datetime | None,
) -> None:
    """Writes the limits of a locked row."""
    assigned = ", ".join(f"{name} = :{name}, next_{name} = :next_{name}" for name in _FIELDS)
    values: dict[str, Any] = dict(limits._asdict())
    values |= {f"next_{name}": value for name, value in next_limits._asdict().items()}
    await conn.execute(
        text(f"""
        update account_play set {assigned}, next_time = :next_time, lock_end_time = :lock_end_time
        where account_id = :account_id"""),
        {**values, "next_time": next_time, "lock_end_time": lock_end_time, "account_id": account_id},
    )


async def update_check(
    conn: AsyncConnection, *, account_id: int, check_time: datetime, lock_end_time: datetime | None
) -> None:
    """Begins a new wait for the reality check, after a rest if there is one."""
    await conn.execute(
        text("""
        update account_play set check_time = :check_time, lock_end_time = :lock_end_time
        where account_id = :account_id"""),
        {"check_time": check_time, "lock_end_time": lock_end_time, "account_id": account_id},
    )


async def lock_sessions(conn: AsyncConnection, *, account_id: int) -> None:
    """Locks the account's sessions that have not ended, in the order of their ids, as Authorize does."""
    await conn.execute(
        text("""
        select 1 from session where account_id = :account_id and close_time is null
        order by session_id for no key update"""),
        {"account_id": account_id},
    )


async def count_sessions_of(conn: AsyncConnection, *, account_id: int, session_max_ms: int | None) -> None:
    """Lets the limits hold for the account's open sessions, too, and ends them no later than these say."""
    await conn.execute(
        text("""
        update session set counted = true,
          expire_time = least(expire_time, create_time + cast(:session_max_ms as bigint) * interval '1 ms')
        where account_id = :account_id and close_time is null"""),
        {"account_id": account_id, "session_max_ms": session_max_ms},
    )


async def insert_limit_change(
    conn: AsyncConnection, *, operator_id: str, request_id: UUID, account_id: int, change: dict[str, Any]
) -> bool:
    """Records what was asked for; False when this request was carried out before."""
    result = await conn.execute(
        text("""
        insert into limit_change (operator_id, request_id, account_id, limits)
        values (:operator_id, :request_id, :account_id, cast(:limits as json))
        on conflict do nothing returning 1"""),
        {
            "operator_id": operator_id,
            "request_id": request_id,
            "account_id": account_id,
            "limits": json.dumps(change),
        },
    )
    return result.first() is not None


async def find_limit_change(
    conn: AsyncConnection, *, operator_id: str, request_id: UUID
) -> tuple[int, dict[str, Any]] | None:
    """The account and what was asked for under this id."""
    rows = await conn.execute(
        text("""
        select account_id, limits from limit_change
        where operator_id = :operator_id and request_id = :request_id"""),
        {"operator_id": operator_id, "request_id": request_id},
    )
    row = rows.one_or_none()
    return None if row is None else (row[0], row[1])
