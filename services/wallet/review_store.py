"""Every access to the table of reviews. No commit here."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.wallet.records import Review, RollbackOrder, Verdict

_REVIEW = """
select cast(r.round_id as text) as round_id, r.account_id, a.currency_code, r.missing_minor, r.balance_minor,
  r.actor, r.reason, r.create_time, r.verdict, r.external
from review r join account a using (account_id)
"""

_FIND = text(f"{_REVIEW} where r.round_id = cast(:round_id as uuid)")

_LIST_OPEN = text(f"""{_REVIEW}
where r.verdict is null and a.operator_id = :operator_id
  and (r.create_time, r.round_id) > (cast(:time_after as timestamptz), cast(:id_after as uuid))
order by r.create_time, r.round_id limit :rows_max
""")

# Opened once and told once; a later try only notes the balance that did not cover it.
_OPEN = text("""
with opened as (
  insert into review (round_id, account_id, missing_minor, balance_minor, actor, reason, external)
  select cast(:round_id as uuid), account_id, cast(:missing_minor as bigint), balance_minor,
    cast(:actor as text), cast(:reason as text), :external
  from account where account_id = cast(:account_id as bigint)
  on conflict (round_id) do nothing returning *),
tried as (
  update review r set balance_minor = a.balance_minor
  from account a where a.account_id = r.account_id and r.round_id = cast(:round_id as uuid)),
out as (
  insert into outbox (kind, payload)
  select 'review', json_build_object('round_ids', json_build_array(round_id), 'verdicts', json_build_array(0),
    'account_ids', json_build_array(account_id), 'account_versions', json_build_array(0),
    'missing_minor', json_build_array(missing_minor),
    'balances_after_minor', json_build_array(balance_minor), 'actors', json_build_array(actor),
    'reasons', json_build_array(reason), 'traceparents', json_build_array(cast(:traceparent as text)))
  from opened)
select 1 from opened
""")

_CLOSE = text("""
with closed as (
  update review set verdict = cast(:verdict as smallint), verdict_actor = :actor, verdict_reason = :reason,
    verdict_time = clock_timestamp()
  where round_id = cast(:round_id as uuid) and verdict is null returning *),
out as (
  insert into outbox (kind, payload)
  select 'review', json_build_object('round_ids', json_build_array(c.round_id),
    'verdicts', json_build_array(c.verdict), 'account_ids', json_build_array(c.account_id),
    'account_versions', json_build_array(0), 'missing_minor', json_build_array(c.missing_minor),
    'balances_after_minor', json_build_array(a.balance_minor), 'actors', json_build_array(c.verdict_actor),
    'reasons', json_build_array(c.verdict_reason),
    'traceparents', json_build_array(cast(:traceparent as text)))
  from closed c join account a using (account_id))
select 1 from closed
""")

_FIRST_ID = "00000000-0000-0000-0000-000000000000"


async def find_review(conn: AsyncConnection, *, round_id: str) -> Review | None:
    """A round's review, open or closed."""
    row = (await conn.execute(_FIND, {"round_id": uuid.UUID(round_id)})).one_or_none()
    return None if row is None else _review(row)


async def list_open_reviews(
    conn: AsyncConnection, *, operator_id: str, after: tuple[datetime, str] | None, rows_max: int
) -> Sequence[Review]:
    """An operator's open reviews, oldest first. `after`: (create_time, round_id)."""
    time_after, id_after = after or ("-infinity", _FIRST_ID)
    values = {"operator_id": operator_id, "rows_max": rows_max}
    rows = await conn.execute(_LIST_OPEN, {**values, "time_after": str(time_after), "id_after": id_after})
    return [_review(row) for row in rows]


async def count_open(conn: AsyncConnection) -> tuple[int, float]:
    """Open reviews of all operators, and how long (s) the oldest of them is."""
    query = text("""select count(*), coalesce(extract(epoch from clock_timestamp() - min(create_time)), 0)
        from review where verdict is null""")
    rounds, age_s = (await conn.execute(query)).one()
    return rounds, float(age_s)


async def open_review(
    conn: AsyncConnection, order: RollbackOrder, *, missing_minor: int, external: bool = False
) -> bool:
    """Puts a round in review, under its account's lock; False when it was there before.

    `external`: an operator's own wallet has the money, and `missing_minor` may be below zero.
    """
    result = await conn.execute(
        _OPEN,
        {
            "round_id": uuid.UUID(order.round_id),
            "account_id": order.account_id,
            "missing_minor": missing_minor,
            "external": external,
            "actor": order.actor,
            "reason": order.reason,
            "traceparent": order.traceparent,
        },
    )
    return result.first() is not None


async def close_review(conn: AsyncConnection, order: RollbackOrder, *, verdict: Verdict) -> None:
    """Ends an open review, under its account's lock; `order` says who decided, and why."""
    await conn.execute(
        _CLOSE,
        {
            "round_id": uuid.UUID(order.round_id),
            "verdict": int(verdict),
            "actor": order.actor,
            "reason": order.reason,
            "traceparent": order.traceparent,
        },
    )


def _review(row: Row[Any]) -> Review:
    return Review(
        round_id=row.round_id,
        account_id=row.account_id,
        currency_code=row.currency_code,
        missing_minor=row.missing_minor,
        balance_minor=row.balance_minor,
        actor=row.actor,
        reason=row.reason,
        create_time=row.create_time,
        external=row.external,
        verdict=None if row.verdict is None else Verdict(row.verdict),
    )
