"""The statements of what rounds returned: counted once, and looked for when nobody told (R13)."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import NamedTuple

from sqlalchemy import TextClause, text

from services.common import arrays
from services.common.db import Connection


class Return(NamedTuple):
    """What a round returned, minor units. `reversed`: it had been settled, and was given back since."""

    account_id: int
    request_id: str
    round_id: str
    returned_minor: int
    reversed: bool = False


# Locks in the order of Authorize: sessions, then accounts; before both the rows that it only inserts. What a
# locking read returns is the newest, and the updates see it too.
_COUNT = """
with input as materialized (
  select * from unnest(cast(:account_ids as bigint[]), cast(:request_ids as uuid[]),
    cast(:round_ids as uuid[]), cast(:returned_minor as bigint[]), cast(:reversed as boolean[]))
    as t(account_id, request_id, round_id, returned_minor, reversed)),
found as materialized (
  select c.account_id, c.request_id, c.session_id, c.authorize_time, i.round_id, i.reversed,
    i.returned_minor, i.returned_minor - coalesce(c.returned_minor, 0) as added_minor
  from input i join spin_count c on c.account_id = i.account_id and c.request_id = i.request_id
  where ({once} or (i.reversed and not c.reversed)) and coalesce(c.round_id = i.round_id, true)
  order by c.account_id, c.request_id for no key update of c),
sessions as materialized (
  select session_id from session where session_id = any(array(select session_id from found))
  order by session_id for no key update),
accounts as materialized (
  select account_id, count_day from account_play
  where account_id = any(array(select account_id from found)) and (select count(*) from sessions) >= 0
  order by account_id for no key update),
counted as (
  update spin_count c set round_id = f.round_id, returned_minor = f.returned_minor, reversed = f.reversed
  from found f where c.account_id = f.account_id and c.request_id = f.request_id),
back as materialized (
  select f.account_id, sum(f.added_minor) filter (where w.day = a.count_day) as day_minor,
    sum(f.added_minor) filter (where date_trunc('week', cast(w.day as timestamp))
      = date_trunc('week', cast(a.count_day as timestamp))) as week_minor,
    sum(f.added_minor) filter (where date_trunc('month', cast(w.day as timestamp))
      = date_trunc('month', cast(a.count_day as timestamp))) as month_minor
  from found f join accounts a on a.account_id = f.account_id
  cross join lateral (select cast(f.authorize_time at time zone 'UTC' as date) as day) w
  group by f.account_id),
to_sessions as (
  update session s set returned_minor = s.returned_minor + f.added_minor
  from (select session_id, sum(added_minor)::bigint as added_minor from found group by session_id) f
  where s.session_id = f.session_id and (select count(*) from accounts) >= 0),
to_accounts as (
  update account_play p set loss_day_minor = p.loss_day_minor - coalesce(b.day_minor, 0)::bigint,
    loss_week_minor = p.loss_week_minor - coalesce(b.week_minor, 0)::bigint,
    loss_month_minor = p.loss_month_minor - coalesce(b.month_minor, 0)::bigint
  from back b where p.account_id = b.account_id)
select count(*) from found"""


@cache
def _count(*, once: bool) -> TextClause:
    return text(_COUNT.format(once="c.returned_minor is null" if once else "true"))


async def count_returns(conn: Connection, returns: Sequence[Return], *, once: bool = True) -> int:
    """Gives back what rounds returned, to the windows where their stakes were counted; how many that were.

    One that was counted before, or that nothing counts, changes nothing. At most one item per spin.
    `once=False` is for the test that shows what it prevents.
    """
    rows = await conn.execute(
        _count(once=once),
        {
            "account_ids": arrays.plain(one.account_id for one in returns),
            "request_ids": arrays.plain(one.request_id for one in returns),
            "round_ids": arrays.plain(one.round_id for one in returns),
            "returned_minor": arrays.plain(one.returned_minor for one in returns),
            "reversed": arrays.plain(one.reversed for one in returns),
        },
    )
    [row] = list(rows)
    return int(row[0])


class Uncounted(NamedTuple):
    """A spin whose return nobody told, with what an authorisation is made of."""

    account_id: int
    request_id: str
    session_id: str
    operator_id: str
    player_id: str
    kind: int
    game_id: str
    currency_code: str
    stake_minor: int
    authorize_time: datetime
    mode: str


# Each look is later than the one before by as much as the spin is old: an open round is looked at seldom.
_TAKE_UNCOUNTED = text("""
with due as materialized (
  select account_id, request_id from spin_count
  where returned_minor is null and look_time < clock_timestamp()
    and authorize_time < clock_timestamp() - cast(:age_ms as bigint) * interval '1 ms'
  order by look_time limit cast(:rows_max as integer) for no key update skip locked),
taken as (
  update spin_count c set look_time = clock_timestamp()
    + least(clock_timestamp() - c.authorize_time, interval '10 minutes')
  from due d where c.account_id = d.account_id and c.request_id = d.request_id
  returning c.account_id, c.request_id, c.session_id, c.stake_minor, c.authorize_time)
select t.account_id, t.request_id::text, t.session_id::text, s.operator_id, s.player_id, s.kind, s.game_id,
  s.currency_code, t.stake_minor, t.authorize_time, a.mode
from taken t join session s on s.session_id = t.session_id
join spin_authorization a on a.account_id = t.account_id and a.request_id = t.request_id""")


async def take_uncounted(conn: Connection, *, age_ms: int, rows_max: int) -> list[Uncounted]:
    """Spins older than `age_ms` whose returns are due to be looked for; no other replica takes them now."""
    rows = await conn.execute(_TAKE_UNCOUNTED, {"age_ms": age_ms, "rows_max": rows_max})
    return [Uncounted._make(row) for row in rows]
