"""The statements of the spin: judged and stored, or found again."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import TextClause, text

from services.common import arrays
from services.common.db import Connection

REST_MS = 30 * 60_000
"""Who staked nothing for so long starts anew with the reality check (GLI-19 v2, 2.7.2), ms."""


class SpinAsk(NamedTuple):
    """A spin to authorise; the amount in minor units. `features`: policy.Feature, what the client declares.
    `joined`: the token is one of several of its session."""

    token_hash: bytes
    request_id: str
    currency_code: str
    stake_minor: int
    mode: str = "base"
    features: int = 0
    joined: bool = False


class Verdict(NamedTuple):
    """What the session row says to one ask. Only ALLOWED has stored something."""

    verdict: str
    session_id: str
    operator_id: str
    player_id: str
    account_id: int
    kind: int
    game_id: str
    currency_code: str
    retry_after_ms: int
    authorize_time: datetime | None
    counted: bool
    facts: Mapping[str, Any] | None  # what the reason of a refusal documents


# What limits add to the statement for sessions that are counted. Accounts without any pay nothing for it:
# their statement does not have it, and is short enough for the driver to keep its parse.
_COUNTED = {
    "play": """
-- What counts for the accounts that have limits, of all their sessions: locked after the sessions, and read
-- from the locked row only, for the same reason. Without such an account nothing is read.
play as materialized (
  select * from account_play where account_id = any(array(select account_id from locked where counted))
  order by account_id {play_lock}),""",
    "locked_rows": """(select 1 from locked union all select 1 from play) every""",
    "limits": """
-- The windows and limits as they are now. A stay ends with a long rest: then the reality check starts anew.
limits as materialized (
  select p.account_id, w.today, p.lock_end_time, l.*,
    case when p.count_day = w.today then p.loss_day_minor else 0 end as loss_day_minor,
    case when date_trunc('week', cast(p.count_day as timestamp))
      = date_trunc('week', cast(w.today as timestamp)) then p.loss_week_minor else 0 end as loss_week_minor,
    case when date_trunc('month', cast(p.count_day as timestamp))
      = date_trunc('month', cast(w.today as timestamp)) then p.loss_month_minor else 0 end
      as loss_month_minor,
    case when w.rested then c.now else p.stay_time end as stay_time,
    case when w.rested then c.now else p.check_time end as check_time
  from play p cross join clock c cross join lateral (
    select cast(c.now at time zone 'UTC' as date) as today,
      coalesce(p.stake_time < c.now - cast(:rest_ms as bigint) * interval '1 ms', true) as rested,
      coalesce(p.next_time <= c.now, false) as next) w
  cross join lateral (
    select case when w.next then p.next_stake_max_minor else p.stake_max_minor end as stake_max_minor,
      case when w.next then p.next_loss_day_max_minor else p.loss_day_max_minor end as loss_day_max_minor,
      case when w.next then p.next_loss_week_max_minor else p.loss_week_max_minor end as loss_week_max_minor,
      case when w.next then p.next_loss_month_max_minor else p.loss_month_max_minor end
        as loss_month_max_minor,
      case when w.next then p.next_check_interval_ms else p.check_interval_ms end as check_interval_ms) l),
-- The least of what the loss limits leave, and which limit that is.
rooms as materialized (
  select l.session_id, r.room_minor, r.loss_window
  from locked l join limits p on p.account_id = l.account_id and l.counted cross join lateral (
    select v.room_minor, v.loss_window from (values
      (l.loss_max_minor - (l.staked_minor - l.returned_minor), 'session'),
      (p.loss_day_max_minor - p.loss_day_minor, 'day'), (p.loss_week_max_minor - p.loss_week_minor, 'week'),
      (p.loss_month_max_minor - p.loss_month_minor, 'month')) as v(room_minor, loss_window)
    where v.room_minor is not null order by v.room_minor, v.loss_window limit 1) r),""",
    "columns": """, p.stay_time, p.lock_end_time, r.room_minor, r.loss_window,
    least(l.stake_max_minor, p.stake_max_minor) as stake_max_minor,
    least(l.check_interval_ms, p.check_interval_ms) as check_interval_ms""",
    "uncountable": "l.counted and p.account_id is null then 'UNCOUNTABLE'",
    "stake_max": "least(l.stake_max_minor, p.stake_max_minor)",
    "refused": """
      when p.check_time + least(l.check_interval_ms, p.check_interval_ms) * interval '1 ms' <= c.now
        then 'REALITY_CHECK_DUE'
      when c.now < p.lock_end_time then 'LOCKED_OUT'
      when i.stake_minor > r.room_minor then 'LOSS_LIMIT_REACHED'""",
    "joined": """
  left join limits p on p.account_id = l.account_id and l.counted
  left join rooms r on r.session_id = l.session_id""",
    "staked": ",\n    staked_minor = s.staked_minor + case when s.counted then n.stake_minor else 0 end",
    "counts": """,
-- R13: the stake counts at once, whatever becomes of it.
counted as (
  insert into spin_count (account_id, request_id, session_id, stake_minor, authorize_time, look_time)
  select n.account_id, n.request_id, n.session_id, n.stake_minor, n.authorize_time, n.authorize_time
  from ins n join locked l on l.session_id = n.session_id where l.counted),
spent as (
  update account_play a set count_day = p.today, stake_time = n.authorize_time,
    loss_day_minor = p.loss_day_minor + n.stake_minor, loss_week_minor = p.loss_week_minor + n.stake_minor,
    loss_month_minor = p.loss_month_minor + n.stake_minor, stay_time = p.stay_time, check_time = p.check_time
  from ins n join locked l on l.session_id = n.session_id and l.counted
  join limits p on p.account_id = n.account_id
  where a.account_id = n.account_id)""",
    "facts": """
    when 'LOSS_LIMIT_REACHED' then
      json_build_object('window', j.loss_window, 'amount_minor_max', greatest(j.room_minor, 0))
    when 'LOCKED_OUT' then json_build_object('retry_after_ms',
      ceil(extract(epoch from j.lock_end_time - j.now) * 1000)::bigint)
    when 'REALITY_CHECK_DUE' then json_build_object('interval_ms', j.check_interval_ms,
      'elapsed_ms', floor(extract(epoch from j.now - j.stay_time) * 1000)::bigint,
      'net_position_minor', j.returned_minor - j.staked_minor, 'currency_code', j.currency_code)""",
}
_UNCOUNTED = {
    "play": "",
    "locked_rows": "locked",
    "limits": "",
    "columns": ", l.stake_max_minor",
    # For the other statement; nothing is judged here.
    "uncountable": "l.counted then 'COUNTED'",
    "stake_max": "l.stake_max_minor",
    "refused": "",
    "joined": "",
    "staked": "",
    "counts": "",
    "facts": "",
}
_AUTHORIZE = """
with input as materialized (
  select t.* from unnest(cast(:token_hashes as bytea[]), cast(:request_ids as uuid[]),
    cast(:currency_codes as text[]), cast(:stakes_minor as bigint[]), cast(:modes as text[]),
    cast(:features as smallint[]))
    with ordinality as t(token_hash, request_id, currency_code, stake_minor, mode, features, ord)),
-- In the order of the ids, as close and create take them: two batches cannot deadlock. After a wait a locking
-- read returns the newest committed row, so no verdict is made on a session that was closed meanwhile.
locked as materialized (
  select token_hash, session_id, operator_id, player_id, account_id, kind, game_id, currency_code,
    jurisdiction, stake_max_minor, cycle_min_ms, authorize_time_last, end_state, counted, features_forbidden,
    modes_allowed, check_interval_ms, loss_max_minor, staked_minor, returned_minor,
    least(expire_time, greatest(create_time, authorize_time_last, keep_alive_time)
      + idle_max_ms * interval '1 ms') as end_time
  from session where token_hash = any(cast(:token_hashes as bytea[])) order by session_id {lock}),{play}
-- Read once, after the last lock (the count needs them all): authorize_time is before any later close_time.
clock as materialized (select clock_timestamp() as now, count(*) as rows from {locked_rows}),{limits}
judged as materialized (
  select i.ord, i.request_id, i.stake_minor, i.mode, c.now, l.session_id, l.operator_id, l.player_id,
    l.account_id, l.kind, l.game_id, l.currency_code, l.jurisdiction, l.counted, l.staked_minor,
    l.returned_minor{columns},
    i.features & l.features_forbidden as features_forbidden,
    l.authorize_time_last + l.cycle_min_ms * interval '1 ms' as cycle_end_time,
    case
      when l.session_id is null then 'TOKEN_INVALID'
      when row_number() over (partition by l.account_id order by i.ord) > {per_account} then 'DEFERRED'
      when l.end_state = 2 then 'SESSION_CLOSED'
      when l.end_state = 4 then 'SESSION_REPLACED'
      when l.end_time <= c.now then 'SESSION_EXPIRED'
      when {uncountable}
      when i.currency_code <> l.currency_code then 'CURRENCY_MISMATCH'
      when i.features & l.features_forbidden <> 0 then 'FEATURE_FORBIDDEN'
      when i.mode <> all(l.modes_allowed) then 'MODE_FORBIDDEN'
      when i.stake_minor > {stake_max} then 'STAKE_ABOVE_LIMIT'{refused}
      when c.now < l.authorize_time_last + l.cycle_min_ms * interval '1 ms' then 'SPIN_TOO_EARLY'
      else 'ALLOWED' end as verdict
  from input i cross join clock c left join locked l on l.token_hash = i.token_hash{joined}),
-- The arbiter of R4: a known id returns no row, so nothing below moves for it. Ordered: two batches with the
-- same ids, through different sessions of an account, wait for each other in one direction only.
ins as (
  insert into spin_authorization (account_id, request_id, session_id, stake_minor, authorize_time, mode)
  select account_id, request_id, session_id, stake_minor, now, mode from judged
  where verdict = 'ALLOWED' order by account_id, request_id
  on conflict do nothing
  returning account_id, request_id, session_id, stake_minor, authorize_time),
touched as (
  update session s set authorize_time_last = n.authorize_time{staked}
  from ins n where s.session_id = n.session_id){counts}
select case when j.verdict = 'ALLOWED' and n.request_id is null then 'KNOWN' else j.verdict end,
  j.session_id::text, j.operator_id, j.player_id, j.account_id, j.kind, j.game_id, j.currency_code,
  coalesce(ceil(extract(epoch from j.cycle_end_time - j.now) * 1000), 0)::bigint, n.authorize_time, j.counted,
  case j.verdict
    when 'STAKE_ABOVE_LIMIT' then json_build_object('amount_minor_max', j.stake_max_minor)
    when 'FEATURE_FORBIDDEN' then
      json_build_object('features', j.features_forbidden, 'jurisdiction', j.jurisdiction)
    when 'MODE_FORBIDDEN' then json_build_object('mode', j.mode, 'jurisdiction', j.jurisdiction){facts}
  end
from judged j left join ins n on n.account_id = j.account_id and n.request_id = j.request_id
  and n.session_id = j.session_id and j.verdict = 'ALLOWED'
order by j.ord"""


@cache
def _authorize(*, counted: bool, row_lock: bool, one_per_account: bool, play_lock: bool) -> TextClause:
    lock = "for no key update"
    limits = {
        name: fragment.replace("{play_lock}", lock if play_lock else "")
        for name, fragment in (_COUNTED if counted else _UNCOUNTED).items()
    }
    per_account = 1 if one_per_account else 1_000_000
    return text(_AUTHORIZE.format(lock=lock if row_lock else "", per_account=per_account, **limits))


async def authorize(
    conn: Connection,
    asks: Sequence[SpinAsk],
    *,
    counted: bool = False,
    row_lock: bool = True,
    one_per_account: bool = True,
    play_lock: bool = True,
) -> list[Verdict]:
    """Judges many spins and stores the allowed ones, in one statement; a verdict per ask, in its order.

    `counted`: whether limits of accounts are judged too; without, COUNTED is said of sessions that have any.
    KNOWN: allowed, but the id was there before. DEFERRED: not judged, an earlier ask is of the same account.
    The guards are off only for the tests that show what each prevents.
    """
    values: dict[str, Any] = {
        "token_hashes": _bytes(ask.token_hash for ask in asks),
        "request_ids": arrays.plain(ask.request_id for ask in asks),
        "currency_codes": arrays.plain(ask.currency_code for ask in asks),
        "stakes_minor": arrays.plain(ask.stake_minor for ask in asks),
        "modes": arrays.texts(ask.mode for ask in asks),
        "features": arrays.plain(int(ask.features) for ask in asks),
    }
    if counted:
        values["rest_ms"] = REST_MS
    statement = _authorize(
        counted=counted, row_lock=row_lock, one_per_account=one_per_account, play_lock=play_lock
    )
    return [Verdict._make(row) for row in await conn.execute(statement, values)]


_FIND_HANDLES = text("""
select e.token_hash, s.token_hash from session_entry e join session s on s.session_id = e.session_id
where e.token_hash = any(cast(:token_hashes as bytea[]))""")


async def find_handles(conn: Connection, token_hashes: Sequence[bytes]) -> dict[bytes, bytes]:
    """The sessions' own token hash for each of these tokens, which joined one."""
    rows = await conn.execute(_FIND_HANDLES, {"token_hashes": _bytes(token_hashes)})
    return {bytes(row[0]): bytes(row[1]) for row in rows}


class KnownKey(NamedTuple):
    """Where to look for an authorisation, and through which session it is asked for."""

    account_id: int
    request_id: str
    session_id: str


class KnownSpin(NamedTuple):
    """A stored authorisation with the session that authorised it."""

    session_id: str
    operator_id: str
    player_id: str
    kind: int
    game_id: str
    currency_code: str
    stake_minor: int
    authorize_time: datetime
    mint: bool
    mode: str
    counted: bool


_FIND_KNOWN = text("""
with input as materialized (
  select t.* from unnest(cast(:account_ids as bigint[]), cast(:request_ids as uuid[]),
    cast(:session_ids as uuid[])) with ordinality as t(account_id, request_id, session_id, ord))
select a.session_id::text, s.operator_id, s.player_id, s.kind, s.game_id, s.currency_code, a.stake_minor,
  a.authorize_time,
  -- An id that another session authorised never mints: that session was replaced, or this token's was.
  a.session_id = i.session_id and s.close_time is null and s.expire_time > clock_timestamp()
    and coalesce(greatest(s.create_time, s.authorize_time_last, s.keep_alive_time)
      + s.idle_max_ms * interval '1 ms' > clock_timestamp(), true)
    and clock_timestamp() < a.authorize_time + :mint_age_ms * interval '1 ms',
  a.mode, s.counted
from input i
-- "offset 0" keeps it one look-up per id whatever the planner thinks of the table's size.
left join lateral (
  select k.session_id, k.stake_minor, k.authorize_time, k.mode from spin_authorization k
  where k.account_id = i.account_id and k.request_id = i.request_id offset 0) a on true
left join session s on s.session_id = a.session_id
order by i.ord""")


async def find_known_spins(
    conn: Connection, keys: Sequence[KnownKey], *, mint_age_ms: int
) -> list[KnownSpin | None]:
    """The stored authorisation of each key, or None; `mint` while younger than `mint_age_ms` and open."""
    rows = await conn.execute(
        _FIND_KNOWN,
        {
            "account_ids": arrays.plain(key.account_id for key in keys),
            "request_ids": arrays.plain(key.request_id for key in keys),
            "session_ids": arrays.plain(key.session_id for key in keys),
            "mint_age_ms": mint_age_ms,
        },
    )
    return [None if row[0] is None else KnownSpin._make(row) for row in rows]


def _bytes(values: Iterable[bytes]) -> str:
    return arrays.plain(f'"\\\\x{value.hex()}"' for value in values)
