"""The invariants of the books as queries for violations: each shows one snapshot, and reads tables only.

A check has up to two forms, which differ in where their rows come from: all there is, or what was written
since `:since` with what stands right before it. Both compare by adding up: what must be there counts +1, what
is there -1, and whatever does not come to nothing is a violation. No join of two unknown sizes, so no plan is
N^2.

No query knows how the ledger's statements work, or shares a line with them. Details name ids, never amounts:
they are logged, and an outcome may be hidden yet (R2).
"""

from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.sql.elements import TextClause


class Check(NamedTuple):
    """One invariant. `name` starts with its number in the list of invariants."""

    name: str
    promise: str
    tables: tuple[str, ...]  # that the whole form reads
    whole: TextClause
    window: TextClause | None  # None: only the whole shows it


# What is looked at: `decided`, `given_back`, `moved` are the rows, `posted` the postings that are theirs,
# `played` their movements, `history` these and the last one that is kept before them, which is not `judged`.
# What was archived is in account_opening as sums only.
_PLAYED = """
played as (
  select account_id, account_version, win_minor - stake_minor as amount_minor, balance_after_minor,
    create_time
  from decided where account_version > 0
  union all
  select account_id, account_version, stake_minor - win_minor, balance_after_minor, create_time
  from given_back
  union all
  select account_id, account_version, amount_minor, balance_after_minor, create_time
  from moved where account_version > 0),
"""

_WHOLE = f"""
with decided as (select * from settlement),
given_back as (select * from reversal),
moved as (select * from transfer),
posted as (select transaction_id, leg, account_id, counter_account_id, amount_minor from posting),
{_PLAYED}
touched as (select account_id from account where type = 1),
history as (select *, true as judged from played)
"""

# A fused bet answers for the legs 1 and 2, a stake for 1, a payout for 2, a reversal for 3 and 4.
_WINDOW = f"""
with decided as (
  select round_id, step_key, step, status, account_id, account_version, stake_minor, win_minor,
    balance_after_minor, create_time
  from settlement where create_time >= cast(:since as timestamptz)),
given_back as (select * from reversal where create_time >= cast(:since as timestamptz)),
moved as (select * from transfer where create_time >= cast(:since as timestamptz)),
posted as (
  select p.* from (
    select round_id as id, 1 + step_key as leg_low, case step when 2 then 1 else 2 end as leg_high
    from decided
    union all select round_id, 3, 4 from given_back
    union all select transfer_id, 1, 4 from moved) d
  cross join lateral (
    select transaction_id, leg, account_id, counter_account_id, amount_minor from posting
    where transaction_id = d.id and leg between d.leg_low and d.leg_high offset 0) p),
{_PLAYED}
touched as (
  select account_id, min(account_version) - 1 as version_before from played group by account_id),
history as (
  select *, true as judged from played
  union all
  select t.account_id, b.account_version, 0, b.balance_after_minor, b.create_time, false
  from touched t cross join lateral (
    select * from (
      (select account_version, balance_after_minor, create_time from settlement s
       where s.account_id = t.account_id and s.account_version between 1 and t.version_before
         and s.account_version > 0 order by account_version desc limit 1)
      union all
      (select account_version, balance_after_minor, create_time from transfer m
       where m.account_id = t.account_id and m.account_version between 1 and t.version_before
         and m.account_version > 0 order by account_version desc limit 1)
      union all
      (select account_version, balance_after_minor, create_time from reversal r
       where r.account_id = t.account_id and r.account_version between 1 and t.version_before
       order by account_version desc limit 1)) last_of_each
    order by account_version desc limit 1) b
  where t.version_before > 0)
"""

_POSTINGS = """,
due as (
  select s.round_id as transaction_id, v.leg, s.account_id, a.house_account_id as counter_account_id,
    v.amount_minor
  from decided s join account a using (account_id)
  cross join lateral (values (cast(1 as smallint), -s.stake_minor), (2, s.win_minor)) v(leg, amount_minor)
  where s.status = 1 and v.amount_minor <> 0
  union all
  select r.round_id, v.leg, r.account_id, a.house_account_id, v.amount_minor
  from given_back r join account a using (account_id)
  cross join lateral (values (cast(3 as smallint), -r.win_minor), (4, r.stake_minor)) v(leg, amount_minor)
  where v.amount_minor <> 0
  union all
  select t.transfer_id, cast(1 as smallint), t.account_id, a.cashier_account_id, t.amount_minor
  from moved t join account a using (account_id) where t.refusal = '')
select transaction_id, leg,
  case when sum(side) > 0 then 'is missing' else 'should not be there' end as problem
from (select *, 1 as side from due union all select *, -1 from posted) both_sides
group by transaction_id, leg, account_id, counter_account_id, amount_minor having sum(side) <> 0
"""

# Every history begins with nothing, and the account's row stands at its end: what the last movement left.
# In one sort. Archived movements leave gaps (a month's here and a month's there), which I4 accounts for: none
# of more movements than were archived of the account, and none behind a movement that is younger than the
# close of the last archived month, by the most that a clock may have been put back meanwhile.
_CHAINS = """,
chain as (
  select account_id, account_version, amount_minor, balance_after_minor, create_time, 1 as place, judged
  from history
  union all
  select account_id, 0, 0, 0, '-infinity', 0, false from touched
  union all
  select account_id, a.version, 0, a.balance_minor, null, 2, true
  from touched join account a using (account_id)),
linked as (
  select *, lag(account_version) over link as version_before, lag(create_time) over link as time_before,
    lag(balance_after_minor) over link as balance_before_minor
  from chain window link as (partition by account_id order by account_version, place)),
measured as (
  select linked.*, account_version - version_before - case place when 1 then 1 else 0 end as gap,
    coalesce(o.movements, 0) as archived
  from linked left join account_opening o using (account_id)),
closed as (
  select max(close_time) + interval '1 hour' as time from ledger_month where archive_time is not null)
select account_id, account_version, case
    when place = 2 then 'the account is not what its last movement left'
    when gap <> 0 then 'does not follow the version before'
    when balance_after_minor < 0 then 'a balance below zero'
    else 'the balance before and the movement do not give the balance after' end as problem
from measured
where judged and (balance_after_minor < 0 or case gap
  when 0 then balance_after_minor <> balance_before_minor + amount_minor
  else gap not between 1 and archived or time_before > (select time from closed) end)
"""

_VERDICTS = """
select 'round' as what, round_id as id, 'two verdicts under one key' as problem
from decided group by round_id, step_key having count(*) > 1
union all
select 'round', round_id, 'given back twice' from given_back group by round_id having count(*) > 1
union all
select 'transfer', cast(min(cast(transfer_id as text)) as uuid), 'two transfers under one request id'
from moved group by operator_id, request_id having count(*) > 1
union all
select 'round', p.round_id, 'a payout that its stake does not allow' from decided p
left join settlement s on s.round_id = p.round_id and s.step_key = 0
where p.step_key = 1 and p.step = 3
  and (s.status is null or s.account_id <> p.account_id or s.step = 1 or p.status = 1 and s.status <> 1)
union all
select 'round', r.round_id, 'given back, though its stake was not taken' from given_back r
left join settlement s on s.round_id = r.round_id and s.step_key = 0
where s.status is distinct from 1 or s.account_id <> r.account_id
"""

_SUMS = """
select a.account_id, 'balance or version are not what its postings and movements come to' as problem
from account a
left join (select account_id, sum(amount_minor) as amount_minor from posting group by account_id) p
  using (account_id)
left join (select account_id, count(*) as movements from played group by account_id) m using (account_id)
left join account_opening o using (account_id)
where a.type = 1 and (a.balance_minor <> coalesce(p.amount_minor, 0) + coalesce(o.amount_minor, 0)
  or a.version <> coalesce(m.movements, 0) + coalesce(o.movements, 0))
"""

_PAIRS = """
select p.transaction_id, p.leg, 'a posting between two kinds, currencies or operators' as problem
from posting p left join account a on a.account_id = p.account_id
left join account c on c.account_id = p.counter_account_id
where (a.kind, a.currency_code, a.operator_id) is distinct from (c.kind, c.currency_code, c.operator_id)
"""

_DERIVED = """
derived as (
  select account_id, sum(amount_minor) as amount_minor from (
    select account_id, balance_minor as amount_minor from counter_checkpoint
    union all select account_id, amount_minor from counter_tail) parts group by account_id)
"""

_COUNTERS = f""",
{_DERIVED}
select account_id, 'checkpoint and tail are not the sum of its postings' as problem from (
  select account_id, amount_minor from derived
  union all select counter_account_id, amount_minor from posting
  union all
  select account_id, -o.amount_minor
  from account_opening o join account using (account_id) where type <> 1) sides
group by account_id having sum(amount_minor) <> 0
"""

# The same from the other side, without the postings: what players of an operator, currency and kind have is
# what house and cashier lack. It reads every account, which is why it is not done in every pass.
_MIRRORS = f"""
with {_DERIVED}
select operator_id, currency_code, kind, 'players do not hold what house and cashier gave' as problem
from account a left join derived d using (account_id)
group by operator_id, currency_code, kind
having sum(coalesce(d.amount_minor, 0) + a.balance_minor) <> 0
"""

# Outbox rows stay for a while after they were sent. `told_from`: what is told from then on is compared; of
# what is stored, only that which is younger than everything that was ever deleted (kept_since) must be told.
# One statement writes both, so what is told was stored at most as long ago as a statement may take. What was
# archived meanwhile is not looked for.
_EVENTS = """
with kept as (
  select coalesce(max(case when kept_by = holder then kept_since else 'infinity' end), '-infinity') as since
  from relay),
told_from as (
  select greatest(cast(:since as timestamptz), least(k.since, o.since)) as since, k.since as since_kept
  from kept k cross join (select min(create_time) as since from outbox) o),
archived as (
  select month_id(cast(max(month) + interval '1 month' as date)) as id_end from ledger_month
  where archive_time is not null),
told as (
  select t.round_id as id, case when t.status = 4 and t.step in (1, 2) then 'r' else 's' end as fact, t.step,
    t.status, t.account_id, t.account_version, t.stake_minor, t.win_minor, t.balance_after_minor
  from outbox o
  cross join lateral json_to_record(o.payload) as c(round_ids uuid[], steps smallint[], statuses smallint[],
    account_ids bigint[], account_versions bigint[], stakes_minor bigint[], wins_minor bigint[],
    balances_after_minor bigint[])
  cross join lateral unnest(c.round_ids, c.steps, c.statuses, c.account_ids, c.account_versions,
    c.stakes_minor, c.wins_minor, c.balances_after_minor)
    as t(round_id, step, status, account_id, account_version, stake_minor, win_minor, balance_after_minor)
  where o.kind = 'settle' and o.create_time >= (select since from told_from)
    and t.round_id >= (select id_end from archived)
  union all
  select t.transfer_id, 't', t.type, cast(1 as smallint), t.account_id, t.account_version, t.amount_minor,
    cast(0 as bigint), t.balance_after_minor
  from outbox o
  cross join lateral json_to_record(o.payload) as c(transfer_ids uuid[], types smallint[],
    account_ids bigint[], account_versions bigint[], amounts_minor bigint[], balances_after_minor bigint[])
  cross join lateral unnest(c.transfer_ids, c.types, c.account_ids, c.account_versions, c.amounts_minor,
    c.balances_after_minor)
    as t(transfer_id, type, account_id, account_version, amount_minor, balance_after_minor)
  where o.kind = 'transfer' and o.create_time >= (select since from told_from)
    and t.transfer_id >= (select id_end from archived)),
stored as (
  select round_id as id, 's' as fact, step, status, account_id, account_version, stake_minor,
    case when status = 1 then win_minor else 0 end as win_minor, balance_after_minor, create_time
  from settlement
  where create_time >= (select since from told_from) - interval '2 seconds' and (step <> 0 or status <> 4)
  union all
  select r.round_id, 'r', s.step, cast(4 as smallint), r.account_id, r.account_version, r.stake_minor,
    r.win_minor, r.balance_after_minor, r.create_time
  from reversal r left join settlement s on s.round_id = r.round_id and s.step_key = 0
  where r.create_time >= (select since from told_from) - interval '2 seconds'
  union all
  select transfer_id, 't', type, cast(1 as smallint), account_id, account_version, amount_minor,
    cast(0 as bigint), balance_after_minor, create_time
  from transfer
  where create_time >= (select since from told_from) - interval '2 seconds' and refusal = '')
select fact, id, case when count(store_time) = 0 then 'told, but not so stored'
    when sum(told) = 0 then 'stored, but not so told' else 'told more than once' end as problem
from (
  select id, fact, step, status, account_id, account_version, stake_minor, win_minor, balance_after_minor,
    1 as told, cast(null as timestamptz) as store_time
  from told
  union all
  select id, fact, step, status, account_id, account_version, stake_minor, win_minor, balance_after_minor,
    0, create_time
  from stored) both_sides
group by id, fact, step, status, account_id, account_version, stake_minor, win_minor, balance_after_minor
having sum(told) > 1 or sum(told) = 1 and count(store_time) = 0
  or sum(told) = 0 and max(store_time) >= (select since from told_from)
    and max(store_time) > (select since_kept from told_from)
"""

# Numbers that are given out are one run, from the oldest that is kept to the last.
_BATCHES = """
select batch_no, problem from (
  select batch_no, 'the number before it is missing' as problem from (
    select batch_no, lag(batch_no) over (order by batch_no) as before_no
    from outbox where batch_no is not null) n
  where batch_no <> before_no + 1
  union all
  select o.batch_no, 'was never given out' from outbox o
  where o.batch_no > (select coalesce(max(batch_no_last), 0) from relay)) v
"""


def _violations(query: str, *, scope: str = "") -> TextClause:
    # How many there are in all, and the first of them.
    found = "select count(*) over () as violations, cast(row_to_json(v) as text) as detail"
    return text(f"{found} from ({scope}{query}) v limit 5")


_ROUNDS = ("settlement", "reversal", "transfer")

CHECKS = (
    Check(
        "I3 postings",
        "Exactly the postings that applied bets, reversals and transfers call for",
        (*_ROUNDS, "posting", "account"),
        _violations(_POSTINGS, scope=_WHOLE),
        _violations(_POSTINGS, scope=_WINDOW),
    ),
    Check(
        "I3 pairs",
        "No posting joins two operators, currencies or kinds",
        ("posting", "account"),
        _violations(_PAIRS),
        None,
    ),
    Check(
        "I4 I7 chains",
        "Versions without gap, each balance from the one before, the account as the last movement left it",
        (*_ROUNDS, "account"),
        _violations(_CHAINS, scope=_WHOLE),
        _violations(_CHAINS, scope=_WINDOW),
    ),
    Check(
        "I4 sums",
        "Every balance is the sum of its postings, every version the number of its movements",
        (*_ROUNDS, "posting", "account"),
        _violations(_SUMS, scope=_WHOLE),
        None,
    ),
    Check(
        "I5 counters",
        "Checkpoint and tail are the sum of the counter-account's postings",
        ("posting", "counter_checkpoint", "counter_tail"),
        _violations(_COUNTERS, scope=_WHOLE),
        None,
    ),
    Check(
        "I5 mirrors",
        "Players hold what house and cashier gave",
        ("account", "counter_checkpoint", "counter_tail"),
        _violations(_MIRRORS),
        _violations(_MIRRORS),
    ),
    Check(
        "I2 verdicts",
        "One verdict per key, payouts and reversals on stakes that were taken",
        _ROUNDS,
        _violations(_VERDICTS, scope=_WHOLE),
        _violations(_VERDICTS, scope=_WINDOW),
    ),
    Check(
        "I6 events",
        "Each verdict, reversal and transfer is told once, as it is stored",
        (*_ROUNDS, "outbox"),
        _violations(_EVENTS),
        _violations(_EVENTS),
    ),
    Check(
        "I6 batches",
        "Numbers of batches have no gap",
        ("outbox",),
        _violations(_BATCHES),
        _violations(_BATCHES),
    ),
)
# Reads every account: once a minute, not in every pass.
SELDOM = "I5 mirrors"

# A generic plan would not know that a window is small; compiling one costs more than running it.
PLAN_EACH_TIME = text("set local plan_cache_mode = force_custom_plan")
WITHOUT_JIT = text("set local jit = off")

_COUNTED = (*_ROUNDS, "posting", "account", "counter_checkpoint", "counter_tail", "outbox")
COUNT_ROWS = text(
    " union all ".join(f"select '{table}' as name, count(*) as rows from {table}" for table in _COUNTED)
)
