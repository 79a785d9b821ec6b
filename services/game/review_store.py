"""Reviews as they are stored, also of strays, which only wallet or events know, and later ones. No commit."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_FIND = text("""
select w.operator_id, w.problem, w.create_time, coalesce(w.verdict, '') as verdict,
  coalesce(w.actor, '') as actor, coalesce(w.verdict_reason, '') as reason, w.resolve_time,
  coalesce(w.state, '') as state, w.later
from review w where w.round_id = cast(:round_id as uuid)
order by w.resolve_time is null desc, w.problem = :problem desc, w.create_time desc limit 1
""")

# After the first one was decided, and one at a time. A problem is "<who says it>: <difference>; <other>".
# Of a decided one some may be left, for which nobody is asked again: the verdict was about those, too.
_INSERT_LATER = text("""
insert into later_review (round_id, operator_id, problem)
select w.round_id, w.operator_id, :problem from round_review w
where w.round_id = cast(:round_id as uuid) and w.operator_id = :operator_id and w.resolve_time is not null
  and not exists (
    select from review d where d.round_id = w.round_id and d.resolve_time is not null and not exists (
      select from unnest(string_to_array(regexp_replace(:problem, '^[a-z]+: ', ''), '; ')) as difference
      where position(difference in d.problem) = 0))
on conflict do nothing returning 1
""")

_INSERT_STRAY = text("""
insert into round_review (round_id, operator_id, problem)
values (cast(:round_id as uuid), :operator_id, :problem) on conflict do nothing returning 1
""")

# No event: a round's are made of its row, and of what changes it.
_RESOLVE_STRAY = text("""
update round_review set verdict = :verdict, actor = :actor, verdict_reason = :reason, state = :state,
  paid_minor = 0, balance_after_minor = 0, account_version = 0, refusal = '', resolve_time = clock_timestamp()
where round_id = cast(:round_id as uuid) and resolve_time is null returning 1
""")
_RESOLVE_LATER = text("""
update later_review set verdict = :verdict, actor = :actor, verdict_reason = :reason, state = :state,
  resolve_time = clock_timestamp()
where round_id = cast(:round_id as uuid) and resolve_time is null returning 1
""")


class Review(NamedTuple):
    """A review, open or decided. `verdict`, `actor`, `reason` and `state` are empty while it waits."""

    operator_id: str
    problem: str
    create_time: datetime
    verdict: str
    actor: str
    reason: str
    resolve_time: datetime | None
    state: str
    later: bool  # whether another one was decided before


async def find_review(conn: AsyncConnection, *, round_id: str, problem: str = "") -> Review | None:
    """The one that waits, else that of the problem, else the last; None when there never was one."""
    row = (await conn.execute(_FIND, {"round_id": round_id, "problem": problem})).one_or_none()
    return None if row is None else Review._make(row)


async def insert_later(conn: AsyncConnection, *, round_id: str, operator_id: str, problem: str) -> bool:
    """Opens one more after the first was decided; False when one waits, or this problem was decided."""
    values = {"round_id": round_id, "operator_id": operator_id, "problem": problem}
    return (await conn.execute(_INSERT_LATER, values)).first() is not None


async def insert_stray(conn: AsyncConnection, *, round_id: str, operator_id: str, problem: str) -> bool:
    """Puts a round in review that game does not know; False when it was before."""
    values = {"round_id": round_id, "operator_id": operator_id, "problem": problem}
    return (await conn.execute(_INSERT_STRAY, values)).first() is not None


async def resolve(
    conn: AsyncConnection, *, round_id: str, later: bool, verdict: str, actor: str, reason: str, state: str
) -> bool:
    """Ends the first review of a stray, or a later one of any round; False when it was ended before."""
    values = {"round_id": round_id, "verdict": verdict, "actor": actor, "reason": reason, "state": state}
    statement = _RESOLVE_LATER if later else _RESOLVE_STRAY
    return (await conn.execute(statement, values)).first() is not None
