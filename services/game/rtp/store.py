"""The days of the RTP monitor: rounds rolled up into sums, and the sums read."""

import datetime as dt
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# The lease, and with it where the pass starts. The horizon is read here, before the pass has its snapshot:
# what is older then is committed or gone.
_CLAIM = text("""
update monitor set holder = :holder,
  lease_until = clock_timestamp() + cast(:lease_ms as integer) * interval '1 ms'
where name = 'returns' and (holder = :holder or lease_until < clock_timestamp())
returning cast(create_time_low as text) as low,
  cast((select least(clock_timestamp() - cast(:age_ms as integer) * interval '1 ms', min(xact_start))
        from pg_stat_activity
        where datname = current_database() and backend_xid is not null) as text) as horizon
""")

# A round's end is looked up by its key. The planner cannot know how few rounds a stretch has, and would read
# every end there is.
_LOOK_UP_EACH = text("""
select set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)
""")

# Not all of it: steps and balances cost a look-up each, and outcomes weigh.
_LOOKED_AT = """v.round_id, v.create_time, v.game_id, v.game_version, v.mode, v.operator_id, v.currency_code,
    v.kind, v.stake_minor, v.win_minor, v.state, v.stake_applied"""

# One pass. What each part must not lose:
# claim: moves on from exactly where this pass starts; who comes second finds it moved, and counts nothing.
# fresh: the rounds of the next stretch of time, at most rows_max.
# again: late rounds in turn; the delete decides who counts one, the end of a lease does not.
_ROLL_UP = text(f"""
with bound as materialized (
  select coalesce((
    select create_time from round
    where create_time >= cast(:low as timestamptz) and create_time < cast(:horizon as timestamptz)
    order by create_time offset cast(:rows_max as integer) limit 1), cast(:horizon as timestamptz)) as high),
claim as (
  update monitor set create_time_low = greatest(create_time_low, bound.high) from bound
  where name = 'returns' and holder = :holder and create_time_low = cast(:low as timestamptz)
  returning name),
fresh as materialized (
  select {_LOOKED_AT} from round_view v
  where v.create_time >= cast(:low as timestamptz) and v.create_time < (select high from bound)
    and exists (select from claim)),
again as materialized (
  select {_LOOKED_AT} from (
    select round_id from return_late where exists (select from claim)
    order by check_time limit cast(:late_max as integer)) l
  join round_view v on v.round_id = l.round_id),
added as (
  insert into return_late (round_id)
  select round_id from fresh where not stake_applied and state in ('PENDING', 'NEEDS_REVIEW')
  on conflict do nothing),
kept as (
  update return_late l set check_time = clock_timestamp() from again a
  where a.round_id = l.round_id and not a.stake_applied and a.state in ('PENDING', 'NEEDS_REVIEW')),
ended as (
  delete from return_late l using again a
  where a.round_id = l.round_id and (a.stake_applied or a.state not in ('PENDING', 'NEEDS_REVIEW'))
  returning l.round_id),
counted as (
  select * from fresh where stake_applied
  union all select a.* from again a join ended e on e.round_id = a.round_id where a.stake_applied),
stored as (
  insert into return_day as d (day, game_id, game_version, mode, operator_id, currency_code, kind, rounds,
    stake_minor, win_minor, stake_squares, stake_wins, win_squares)
  select cast(create_time at time zone 'UTC' as date), game_id, game_version, mode, operator_id,
    currency_code, kind, count(*), sum(stake_minor), sum(win_minor),
    sum(cast(stake_minor as numeric) * stake_minor), sum(cast(stake_minor as numeric) * win_minor),
    sum(cast(win_minor as numeric) * win_minor)
  from counted group by 1, 2, 3, 4, 5, 6, 7
  on conflict (day, game_id, game_version, mode, operator_id, currency_code, kind) do update set
    rounds = d.rounds + excluded.rounds, stake_minor = d.stake_minor + excluded.stake_minor,
    win_minor = d.win_minor + excluded.win_minor, stake_squares = d.stake_squares + excluded.stake_squares,
    stake_wins = d.stake_wins + excluded.stake_wins, win_squares = d.win_squares + excluded.win_squares)
select count(*) from fresh
""")

_LIST_SUMS = text("""
select d.game_id, d.game_version, d.mode, d.operator_id, d.currency_code, d.kind,
  cast(sum(d.rounds) as bigint), sum(d.stake_minor), sum(d.win_minor), sum(d.stake_squares),
  sum(d.stake_wins), sum(d.win_squares), coalesce(f.profile, ''), f.theory -> d.mode ->> 'rtp_target',
  f.theory -> d.mode ->> 'deviation'
from return_day d left join game_definition f on f.game_id = d.game_id and f.version = d.game_version
where d.day > cast(:day as date) - cast(:days as integer) and d.day <= cast(:day as date)
group by d.game_id, d.game_version, d.mode, d.operator_id, d.currency_code, d.kind, f.profile, f.theory
order by 1, 2, 3, 4, 5, 6
""")

_FIND_TODAY = text("select cast(clock_timestamp() at time zone 'UTC' as date)")


class Claim(NamedTuple):
    """A stretch of time to roll up: database times as text."""

    low: str
    horizon: str


class Sums(NamedTuple):
    """Rounds of one version, mode, operator, currency and kind; amounts in minor units."""

    game_id: str
    game_version: int
    mode: str
    operator_id: str
    currency_code: str
    kind: int
    rounds: int
    stake_minor: int
    win_minor: int
    stake_squares: int
    stake_wins: int
    win_squares: int
    profile: str = ""
    rtp_target: float | None = None
    """None: served before versions were recorded."""
    deviation: float | None = None
    """None: the definition does not state it."""


async def claim(conn: AsyncConnection, *, holder: str, lease_ms: int, age_ms: int) -> Claim | None:
    """Becomes or stays the one that rolls up; None while another does."""
    values = {"holder": holder, "lease_ms": lease_ms, "age_ms": age_ms}
    row = (await conn.execute(_CLAIM, values)).one_or_none()
    return None if row is None else Claim(*row)


async def roll_up(conn: AsyncConnection, claim: Claim, *, holder: str, rows_max: int, late_max: int) -> int:
    """One pass; the number of rounds that it passed by. Nothing when another replica made it."""
    await conn.execute(_LOOK_UP_EACH)
    values = {**claim._asdict(), "holder": holder, "rows_max": rows_max, "late_max": late_max}
    passed: int = (await conn.execute(_ROLL_UP, values)).scalar_one()
    return passed


async def find_today(conn: AsyncConnection) -> dt.date:
    """The database's day, UTC."""
    today: dt.date = (await conn.execute(_FIND_TODAY)).scalar_one()
    return today


async def list_sums(conn: AsyncConnection, *, day: dt.date, days: int) -> list[Sums]:
    """The sums of so many days, `day` the last of them."""
    rows = await conn.execute(_LIST_SUMS, {"day": day, "days": days})
    return [_sums(row) for row in rows]


def _sums(row: Sequence[Any]) -> Sums:
    counts = [int(value) for value in row[6:12]]
    theory = [None if value is None else float(value) for value in row[13:15]]
    return Sums._make([*row[:6], *counts, row[12], *theory])
