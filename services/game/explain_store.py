"""What is recorded about one round after its draw, for people."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# None of these rows is written before the wallet has spoken, and a payment is in none without its stake (R2).
_CHANGES = text("""
select * from (
  select d.create_time, d.state_after as state, d.step, d.choice, d.decided_by,
    d.at_risk_minor as amount_minor, d.balance_after_minor,
    coalesce(d.account_version, 0) as account_version, d.traceparent
  from round_step d where d.round_id = cast(:round_id as uuid)
  union all
  select e.end_time, e.state, 0, '', '', e.paid_minor, e.balance_after_minor, e.account_version, ''
  from round_end e where e.round_id = cast(:round_id as uuid)
  union all
  select b.end_time, 'REVERSED', 0, '', '', 0, b.balance_after_minor, b.account_version, ''
  from round_reversal b where b.round_id = cast(:round_id as uuid)
  union all
  select w.resolve_time, w.state, 0, '', '', w.paid_minor, w.balance_after_minor, w.account_version, ''
  from round_review w where w.round_id = cast(:round_id as uuid) and w.resolve_time is not null) change
order by create_time
""")

_NOW = text("""
select clock_timestamp() as read_time,
  least((select create_time from outbox where batch_no is null order by outbox_id limit 1),
    (select min(create_time) from outbox where batch_no
      > coalesce((select batch_no_acked from relay where source = 'game'), 0))) as unsent_time
""")


class Change(NamedTuple):
    """One row about a round. Amounts in minor units."""

    create_time: datetime
    state: str
    step: int
    choice: str
    decided_by: str
    amount_minor: int
    balance_after_minor: int | None
    account_version: int
    traceparent: str


class Moment(NamedTuple):
    """When it was read, and since when events has not acknowledged one."""

    read_time: datetime
    unsent_time: datetime | None


async def list_changes(conn: AsyncConnection, *, round_id: str) -> Sequence[Change]:
    """What was recorded, oldest first."""
    return [Change._make(row) for row in await conn.execute(_CHANGES, {"round_id": round_id})]


async def find_moment(conn: AsyncConnection) -> Moment:
    """Now."""
    return Moment._make((await conn.execute(_NOW)).one())
