"""What is stored of one round, for people. A win is read beside a stake that was applied only (R2)."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.wallet.records import Refusal, Status, Step

# The movement with the version before, wherever it is: of nothing, the balance was 0.
_STEPS = text("""
select s.step, s.status, s.account_id, s.stake_minor,
  case when s.status = 1 then s.win_minor else 0 end as win_minor, s.balance_after_minor, s.account_version,
  case when s.account_version = 1 then 0 when s.account_version > 1 then (
    select m.balance_after_minor from movement m
    where m.account_id = s.account_id and m.account_version = s.account_version - 1 limit 1)
  end as balance_before_minor,
  s.refusal, s.create_time, cast('' as text) as actor, cast('' as text) as reason
from settlement s where s.round_id = cast(:round_id as uuid) order by s.step_key
""")

_REVERSAL = text("""
select cast(0 as smallint) as step, cast(4 as smallint) as status, r.account_id, r.stake_minor, r.win_minor,
  r.balance_after_minor, r.account_version,
  (select m.balance_after_minor from movement m
   where m.account_id = r.account_id and m.account_version = r.account_version - 1 limit 1)
    as balance_before_minor,
  cast(0 as smallint) as refusal, r.create_time, r.actor, r.reason
from reversal r where r.round_id = cast(:round_id as uuid)
""")

# The money of an operator's own wallet: what a stake would pay stands in no call but the payout's own.
_CALLS = text("""
select c.account_id, c.step, c.amount_minor,
  case c.state when 1 then 'SENT' when 2 then 'DONE' else 'STOPPED' end as state,
  coalesce(case c.outcome when 1 then 'APPLIED' when 2 then 'REFUSED' when 3 then 'VOID' end, '') as outcome,
  c.attempts, c.last_error, c.create_time, c.done_time
from external_call c where c.round_id = cast(:round_id as uuid) order by c.step
""")

_NOW = text("""
select clock_timestamp() as read_time,
  least((select create_time from outbox where batch_no is null order by outbox_id limit 1),
    (select min(create_time) from outbox where batch_no
      > coalesce((select batch_no_acked from relay where source = 'wallet'), 0))) as unsent_time,
  exists (select from ledger_break where resolve_time is null) as halted,
  coalesce(cast(:round_id as uuid) < (
    select month_id(cast(max(month) + interval '1 month' as date)) from ledger_month
    where close_time is not null), false) as expired
""")


@dataclass(frozen=True, slots=True)
class BookedStep:
    """A verdict as it was decided, or what gave a round back. Amounts in minor units."""

    step: Step
    status: Status
    account_id: int
    stake_minor: int
    win_minor: int
    balance_after_minor: int
    account_version: int  # 0 when nothing moved
    balance_before_minor: int | None
    refusal: Refusal
    create_time: datetime
    actor: str
    reason: str


class BookedCall(NamedTuple):
    """A call to an operator's own wallet."""

    account_id: int
    step: int
    amount_minor: int
    state: str
    outcome: str
    attempts: int
    last_error: str
    create_time: datetime
    done_time: datetime | None


class Moment(NamedTuple):
    """When it was read, and how the service stood then."""

    read_time: datetime
    unsent_time: datetime | None  # of the oldest event that is not acknowledged
    halted: bool
    expired: bool  # the round's month is closed


async def list_steps(conn: AsyncConnection, *, round_id: str) -> Sequence[BookedStep]:
    """The verdicts of a round, the stake's first."""
    return [_step(row) for row in await conn.execute(_STEPS, {"round_id": uuid.UUID(round_id)})]


async def find_reversal(conn: AsyncConnection, *, round_id: str) -> BookedStep | None:
    """What gave the round back."""
    row = (await conn.execute(_REVERSAL, {"round_id": uuid.UUID(round_id)})).one_or_none()
    return None if row is None else _step(row)


async def list_calls(conn: AsyncConnection, *, round_id: str) -> Sequence[BookedCall]:
    """The calls to an operator's own wallet."""
    return [BookedCall._make(row) for row in await conn.execute(_CALLS, {"round_id": uuid.UUID(round_id)})]


async def find_moment(conn: AsyncConnection, *, round_id: str) -> Moment:
    """Now."""
    return Moment._make((await conn.execute(_NOW, {"round_id": uuid.UUID(round_id)})).one())


def _step(row: Row[Any]) -> BookedStep:
    columns = row._asdict()
    enums = {
        "step": Step(columns["step"]),
        "status": Status(columns["status"]),
        "refusal": Refusal(columns["refusal"]),
    }
    return BookedStep(**{**columns, **enums})
