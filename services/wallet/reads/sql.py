"""The texts of the SQL statements that read what moved; store.py calls them. They lock nothing."""

from sqlalchemy import text

_MOVEMENT_COLUMNS = (
    "account_id, account_version, create_time, type, transaction_id, amount_minor, stake_minor, win_minor, "
    "balance_after_minor, round_id, game_id, request_id, actor, reason"
)

# Looks for a time among an account's versions as one opens a dictionary, in the middle first: there is no
# index by time, and versions come in the order of their times but for what the clock was put back. A version
# that is no longer kept is stood for by the next one that is.
FIND_VERSION = text("""
with recursive search (version_below, version_above) as (
  select cast(0 as bigint), version + 1 from account where account_id = cast(:account_id as bigint)
  union all
  select case when m.earlier then m.account_version else version_below end,
    case when m.earlier then version_above else middle end
  from search
  cross join lateral (select (version_below + version_above) / 2 as middle) halved
  left join lateral (
    select account_version, create_time < cast(:time as timestamptz) + cast(:margin as interval) as earlier
    from movement where account_id = cast(:account_id as bigint) and account_version >= middle
    order by account_version limit 1) m on true
  where version_above - version_below > 1)
select max(version_below) from search
""")

# A page from the tables' indexes by version, merged: it reads the rows that it returns, and those that its
# filter leaves out on the way.
LIST_MOVEMENTS = text(f"""
select {_MOVEMENT_COLUMNS} from movement
where account_id = cast(:account_id as bigint) and account_version > cast(:version_after as bigint)
  and account_version < cast(:version_before as bigint)
  and create_time >= cast(:start_time as timestamptz) and create_time < cast(:end_time as timestamptz)
  and table_types && cast(:types as smallint[]) and type = any(cast(:types as smallint[]))
order by account_version desc limit cast(:rows_max as bigint)
""")

# Known when the movement after it is kept as well, or there is none: between the two nothing was archived.
FIND_BALANCE = text("""
with found as (
  select account_version, balance_after_minor from movement
  where account_id = cast(:account_id as bigint) and account_version < cast(:version_before as bigint)
    and create_time <= cast(:time as timestamptz)
  order by account_version desc limit 1),
answer as (
  select coalesce(max(account_version), 0) as account_version,
    coalesce(max(balance_after_minor), 0) as balance_minor from found)
select b.account_version, b.balance_minor, b.account_version = a.version or exists (
    select from movement m where m.account_id = a.account_id and m.account_version = b.account_version + 1)
  as known
from answer b cross join account a where a.account_id = cast(:account_id as bigint)
""")

LIST_STEPS = text(f"""
select {_MOVEMENT_COLUMNS} from movement
where transaction_id = cast(:transaction_id as uuid) order by account_version
""")

LIST_POSTINGS = text("""
select p.transaction_id, p.leg, side.account_id, side.amount_minor from posting p
cross join lateral (values (1, p.account_id, p.amount_minor), (2, p.counter_account_id, -p.amount_minor))
  as side (number, account_id, amount_minor)
where p.transaction_id = cast(:transaction_id as uuid) order by p.leg, side.number
""")

# A day of an operator's real money: its movements, and both sides of the postings that they made. A posting
# has no time of its own: a round's payout or rollback may be of a later day than its stake. Its id may be as
# old, so no id bounds the search.
_DAY = """
with day as materialized (
  select m.transaction_id, m.type, m.create_time, m.account_version, m.amount_minor, m.stake_minor,
    m.win_minor, m.round_id, m.game_id, m.request_id, m.actor, m.reason, a.player_id, a.currency_code
  from movement m join account a using (account_id)
  where m.create_time >= cast(:start_time as timestamptz) and m.create_time < cast(:end_time as timestamptz)
    and a.operator_id = cast(:operator_id as text) and a.kind = 1
    and (cast(:currency_code as text) = '' or a.currency_code = cast(:currency_code as text))),
side as (
  select p.transaction_id, p.leg, s.account_id, s.amount_minor, d.type, d.create_time, d.account_version,
    d.round_id, d.game_id, d.request_id, d.actor, d.reason, d.player_id, d.currency_code
  from day d
  join posting p on p.transaction_id = d.transaction_id and p.leg = any(case d.type
    when 1 then cast('{1,2}' as smallint[]) when 2 then '{1}' when 3 then '{2}' when 4 then '{3,4}'
    else '{1}' end)
  cross join lateral (values (p.account_id, p.amount_minor), (p.counter_account_id, -p.amount_minor))
    as s (account_id, amount_minor))
"""

# `hash_sum` is statements.checksum's, over the same text: README.md says how.
DAILY_TOTALS = text(f"""
{_DAY},
posted as (
  select currency_code, count(*) as posting_count,
    sum(cast(cast('x' || left(encode(sha256(convert_to(
      concat_ws('|', transaction_id, leg, account_id, amount_minor), 'UTF8')), 'hex'), 16) as bit(64))
      as bigint)) as hash_sum
  from side group by currency_code)
select d.currency_code, count(*) filter (where d.type in (1, 2)) as round_count,
  coalesce(sum(d.stake_minor) filter (where d.type in (1, 2)), 0) as stake_minor,
  coalesce(sum(d.win_minor) filter (where d.type in (1, 3)), 0) as win_minor,
  coalesce(sum(d.stake_minor) filter (where d.type = 4), 0) as stake_reversed_minor,
  coalesce(sum(d.win_minor) filter (where d.type = 4), 0) as win_reversed_minor,
  coalesce(sum(d.amount_minor) filter (where d.type = 5), 0) as deposit_minor,
  -coalesce(sum(d.amount_minor) filter (where d.type = 6), 0) as withdrawal_minor,
  coalesce(sum(d.amount_minor) filter (where d.type = 7), 0) as adjustment_minor,
  coalesce(p.posting_count, 0) as posting_count, coalesce(p.hash_sum, 0) as hash_sum
from day d left join posted p using (currency_code)
group by d.currency_code, p.posting_count, p.hash_sum order by d.currency_code
""")

STREAM_DAY = text(f"{_DAY} select * from side order by create_time, transaction_id, leg, amount_minor")

STREAM_MOVEMENTS = text(f"""
select {_MOVEMENT_COLUMNS} from movement
where account_id = cast(:account_id as bigint) and create_time >= cast(:start_time as timestamptz)
  and create_time < cast(:end_time as timestamptz)
order by account_version
""")

NOW = text("select clock_timestamp()")

# Until the transaction ends no month is taken out of the database. In the order of whoever drops one.
HOLD_MONTHS = text("lock table reversal, transfer, settlement, posting in access share mode")

# A round that was minted before a month's end may have moved after it.
ARCHIVED_END = text("""
select greatest(cast(max(month) + interval '1 month' as date),
  cast(max(last_movement_time) at time zone 'UTC' as date) + 1)
from ledger_month where archive_time is not null
""")

# One snapshot for all statements of the transaction.
SNAPSHOT = text("set transaction isolation level repeatable read read only")

# Until the transaction ends; 0 is no limit.
ALLOW_TIME = text("""
select set_config('statement_timeout', cast(:statement_ms as text), true),
  set_config('idle_in_transaction_session_timeout', cast(:idle_ms as text), true)
""")
