"""The texts of the wallet's SQL statements; store.py calls them. The verdict is made here too."""

from sqlalchemy import text

# The verdicts of a whole batch. What each part must not lose:
# input: `rn` makes "one item per account" a property of the SQL: of two, the update would apply just one.
# locked: in account order, as everything that locks accounts, so there is no deadlock. After a wait a locking
#   read returns the newest row, so no verdict is made on a stale balance. Not where an operator's own wallet
#   keeps the money (external/).
# judged: while the books are broken no stake is judged (audit/). A payout asks for its stake; without one
#   there is no verdict. (Not whether the stake was given back: its rollback left a tombstone on the payout's
#   key.) A void of a round that an operator's wallet is asked for by another account has none either: its
#   tombstone would stand where the operator's answer belongs.
#   `rn < 2`, because the generic plan estimates one row for `rn = 1` and joins by nested loops, N^2.
#   The bounds of the payouts' ids say at the start which partitions their stakes can be in: without them
#   every batch opens all of them. Null, in a batch without payouts, is none.
# ins: verdict and arbiter in one. A duplicate (old, concurrent or in the batch) returns no row and so moves
#   nothing. In key order, because two batches may meet on a round even when they name different accounts.
# post: hangs on the update's own result, so no balance moves without its postings. (A join of `ins` and
#   `locked`, which the planner takes for a row each, would be N^2 again.)
# out: an outcome must not become readable unless its stake is applied (R2): any other verdict hides the win.
SETTLE = text("""
with input as materialized (
  select t.*, row_number() over (partition by t.account_id order by t.ord) as rn
  from unnest(cast(:round_ids as uuid[]), cast(:steps as smallint[]), cast(:account_ids as bigint[]),
    cast(:currency_codes as text[]), cast(:stakes_minor as bigint[]), cast(:wins_minor as bigint[]),
    cast(:game_ids as text[]), cast(:traceparents as text[])) with ordinality
    as t(round_id, step, account_id, currency_code, stake_minor, win_minor, game_id, traceparent, ord)),
locked as materialized (
  select account_id, currency_code, balance_minor, version, frozen from account
  where account_id = any(cast(:account_ids as bigint[])) and type = 1 and not external
  order by account_id for no key update),
judged as materialized (
  select i.*, l.balance_minor, l.version, case
    when i.step = 0 then case when not exists (
        select from external_call c where c.round_id = i.round_id and c.account_id <> i.account_id) then 3 end
    when i.step = 3 then (
      select case when s.status = 1 then 1 else 4 end from settlement s
      where s.round_id = i.round_id and s.step_key = 0 and s.account_id = i.account_id and s.step <> 1
        and s.round_id between cast(:payout_id_min as uuid) and cast(:payout_id_max as uuid))
    when exists (select from ledger_break where resolve_time is null) then null
    when l.balance_minor >= i.stake_minor and not l.frozen then 1 else 2 end as status,
    case when l.frozen then 2 else 1 end as refusal
  from input i join locked l
    on l.account_id = i.account_id and (l.currency_code = i.currency_code or i.step = 0)
  where i.rn < 2),
ins as (
  insert into settlement (round_id, step_key, step, status, account_id, stake_minor, win_minor, game_id,
    balance_after_minor, account_version, refusal)
  select round_id, case when step = 3 then 1 else 0 end, step, status, account_id, stake_minor, win_minor,
    game_id, case when status = 1 then balance_minor - stake_minor + win_minor else balance_minor end,
    case when status = 1 and stake_minor + win_minor > 0 then version + 1 else 0 end,
    case when status = 2 then refusal else 0 end
  from judged where status is not null order by round_id, step
  on conflict (round_id, step_key) do nothing
  returning round_id, step, status, account_id, stake_minor, win_minor, balance_after_minor, account_version,
    refusal),
upd as (
  update account a set balance_minor = n.balance_after_minor, version = n.account_version
  from ins n where n.account_version > 0 and a.account_id = n.account_id
  returning n.round_id, n.account_id, a.house_account_id, n.stake_minor, n.win_minor),
post as (
  insert into posting (transaction_id, leg, account_id, counter_account_id, amount_minor)
  select u.round_id, v.leg, u.account_id, u.house_account_id, v.amount_minor from upd u
  cross join lateral (values (cast(1 as smallint), -u.stake_minor), (2, u.win_minor)) v(leg, amount_minor)
  where v.amount_minor <> 0
  returning counter_account_id, amount_minor),
tail as (
  insert into counter_tail (account_id, amount_minor)
  select counter_account_id, -sum(amount_minor) from post group by counter_account_id),
out as (
  insert into outbox (kind, payload)
  select 'settle', json_build_object('round_ids', json_agg(n.round_id), 'steps', json_agg(n.step),
    'statuses', json_agg(n.status), 'account_ids', json_agg(n.account_id),
    'account_versions', json_agg(n.account_version), 'stakes_minor', json_agg(n.stake_minor),
    'wins_minor', json_agg(case when n.status = 1 then n.win_minor else 0 end),
    'balances_after_minor', json_agg(n.balance_after_minor), 'refusals', json_agg(n.refusal),
    'traceparents', json_agg(i.traceparent))
  from ins n join input i on i.account_id = n.account_id and i.rn < 2 having count(*) > 0)
select n.status, n.balance_after_minor, n.account_version, n.refusal, l.currency_code
from input i left join ins n on n.account_id = i.account_id and i.rn < 2
left join locked l on l.account_id = i.account_id order by i.ord
""")

# The bounds of the ids spare it the partitions where none of them can be.
FIND_KNOWN = text("""
select a.currency_code as account_currency_code, a.external, a.currency_code, a.balance_minor,
  s.round_id, s.step_key, s.step, s.status, s.account_id, s.stake_minor, s.win_minor, s.game_id,
  s.balance_after_minor, s.account_version, s.refusal, r.round_id is not null as reversed,
  k.step as stake_step, k.account_id as stake_account_id,
  coalesce(i.round_id < (select month_id(cast(max(month) + interval '1 month' as date)) from ledger_month
    where close_time is not null), false) as expired,
  exists (select from ledger_break where resolve_time is null) as halted,
  exists (select from external_call c where c.round_id = i.round_id and c.account_id <> i.account_id)
    as called_elsewhere
from unnest(cast(:round_ids as uuid[]), cast(:step_keys as smallint[]), cast(:account_ids as bigint[]))
  with ordinality as i(round_id, step_key, account_id, ord)
left join settlement s on s.round_id = i.round_id and s.step_key = i.step_key
  and s.round_id between cast(:round_id_min as uuid) and cast(:round_id_max as uuid)
left join settlement k on k.round_id = i.round_id and k.step_key = 0 and i.step_key = 1
  and k.round_id between cast(:round_id_min as uuid) and cast(:round_id_max as uuid)
left join reversal r on r.round_id = s.round_id
  and r.round_id between cast(:round_id_min as uuid) and cast(:round_id_max as uuid)
left join account a on a.account_id = coalesce(s.account_id, i.account_id) and a.type = 1
order by i.ord
""")

LIST_SETTLEMENTS = text("""
select s.round_id, s.step_key, s.step, s.status, s.account_id, s.stake_minor, s.win_minor, s.game_id,
  s.balance_after_minor, s.account_version, s.refusal, r.round_id is not null as reversed, a.currency_code,
  a.balance_minor
from settlement s join account a using (account_id) left join reversal r on r.round_id = s.round_id
where s.round_id = cast(:round_id as uuid) order by s.step_key
""")

# Gives a round back in one movement: payout first (leg 3), then stake (leg 4). A round with a choice whose
# payout is still to come gets a tombstone on its key.
INSERT_REVERSAL = text("""
with rev as (
  insert into reversal (round_id, account_id, stake_minor, win_minor, balance_after_minor, account_version,
    actor, reason)
  select cast(:round_id as uuid), account_id, cast(:stake_minor as bigint), cast(:win_minor as bigint),
    balance_minor + cast(:stake_minor as bigint) - cast(:win_minor as bigint), version + 1,
    cast(:actor as text), cast(:reason as text)
  from account where account_id = cast(:account_id as bigint)
  on conflict (round_id) do nothing returning *),
upd as (
  update account a set balance_minor = r.balance_after_minor, version = r.account_version
  from rev r where a.account_id = r.account_id returning a.house_account_id),
post as (
  insert into posting (transaction_id, leg, account_id, counter_account_id, amount_minor)
  select r.round_id, v.leg, r.account_id, u.house_account_id, v.amount_minor
  from rev r cross join upd u
  cross join lateral (values (cast(3 as smallint), -r.win_minor), (4, r.stake_minor)) v(leg, amount_minor)
  where v.amount_minor <> 0 returning counter_account_id, amount_minor),
tail as (
  insert into counter_tail (account_id, amount_minor)
  select counter_account_id, -sum(amount_minor) from post group by counter_account_id),
tomb as (
  insert into settlement (round_id, step_key, step, status, account_id, stake_minor, win_minor, game_id,
    balance_after_minor, account_version)
  select round_id, 1, 0, 4, account_id, 0, 0, '', balance_after_minor, 0
  from rev where cast(:step as smallint) = 2
  on conflict (round_id, step_key) do nothing),
out as (
  insert into outbox (kind, payload)
  select 'settle', json_build_object('round_ids', json_build_array(round_id),
    'steps', json_build_array(cast(:step as smallint)),
    'statuses', json_build_array(4), 'account_ids', json_build_array(account_id),
    'account_versions', json_build_array(account_version), 'stakes_minor', json_build_array(stake_minor),
    'wins_minor', json_build_array(win_minor),
    'balances_after_minor', json_build_array(balance_after_minor), 'refusals', json_build_array(0),
    'traceparents', json_build_array(cast(:traceparent as text)))
  from rev)
select balance_after_minor, account_version from rev
""")

FIND_SCALE = text("select scale from currency where currency_code = :currency_code")

LIST_SCALES = text("select currency_code, scale from currency order by currency_code")

INSERT_SCALE = text("""
insert into currency (currency_code, scale) values (:currency_code, cast(:scale as smallint))
on conflict (currency_code) do nothing
""")

INSERT_ACCOUNT = text("""
insert into account (account_id, operator_id, player_id, currency_code, kind, type, house_account_id,
  cashier_account_id, external)
values (2 * nextval('account_number') + cast(:kind as smallint) - 1, :operator_id, :player_id, :currency_code,
  cast(:kind as smallint), cast(:type as smallint), cast(:house_account_id as bigint),
  cast(:cashier_account_id as bigint), :external)
on conflict (operator_id, player_id, currency_code, kind, type) do nothing
""")

_ACCOUNT_COLUMNS = (
    "account_id, operator_id, player_id, currency_code, kind, type, balance_minor, version, frozen, external"
)

FIND_ACCOUNT_BY_PLAYER = text(f"""
select {_ACCOUNT_COLUMNS} from account
where (operator_id, player_id, currency_code, kind, type)
  = (:operator_id, :player_id, :currency_code, cast(:kind as smallint), cast(:type as smallint))
""")

# One statement, one snapshot: the roll-up moves amounts from the tail to the checkpoint in one transaction.
FIND_ACCOUNT = text("""
select account_id, operator_id, player_id, currency_code, kind, type, version, frozen, external,
  case type when 1 then balance_minor else cast(
    coalesce((select c.balance_minor from counter_checkpoint c where c.account_id = a.account_id), 0)
    + coalesce((select sum(t.amount_minor) from counter_tail t where t.account_id = a.account_id), 0)
  as bigint) end as balance_minor
from account a where account_id = cast(:account_id as bigint)
""")

LOCK_ACCOUNT = text(f"""
select {_ACCOUNT_COLUMNS} from account
where account_id = cast(:account_id as bigint) and type = 1 for no key update
""")

IS_HALTED = text("select exists (select from ledger_break where resolve_time is null)")

HAS_ROUND = text("""
select exists (select from settlement where round_id = cast(:round_id as uuid) and step_key = 0
  and account_id = cast(:account_id as bigint))
""")

# An archived transfer has its request left: a row of nulls.
FIND_TRANSFER = text("""
select t.transfer_id, t.operator_id, t.request_id, t.account_id, a.currency_code, t.type, t.amount_minor,
  t.refusal, t.balance_after_minor, t.account_version, t.create_time, t.actor, t.reason,
  cast(t.round_id as text) as round_id, a.balance_minor as current_balance_minor
from transfer_request q left join transfer t on t.transfer_id = q.transfer_id
left join account a on a.account_id = t.account_id
where q.operator_id = :operator_id and q.request_id = cast(:request_id as uuid)
""")

INSERT_TRANSFER = text("""
with req as (
  insert into transfer_request (operator_id, request_id, transfer_id)
  values (cast(:operator_id as text), cast(:request_id as uuid), cast(:transfer_id as uuid))
  on conflict (operator_id, request_id) do nothing returning operator_id, request_id, transfer_id),
ins as (
  insert into transfer (transfer_id, operator_id, request_id, account_id, type, amount_minor, actor, reason,
    round_id, refusal, balance_after_minor, account_version)
  select q.transfer_id, q.operator_id, q.request_id, a.account_id,
    cast(:type as smallint), cast(:amount_minor as bigint), cast(:actor as text), cast(:reason as text),
    cast(nullif(cast(:round_id as text), '') as uuid), cast(:refusal as text),
    balance_minor + case when cast(:refusal as text) = '' then cast(:amount_minor as bigint) else 0 end,
    case when cast(:refusal as text) = '' then version + 1 else 0 end
  from req q cross join account a where a.account_id = cast(:account_id as bigint)
  returning *),
upd as (
  update account a set balance_minor = n.balance_after_minor, version = n.account_version
  from ins n where n.account_version > 0 and a.account_id = n.account_id returning a.cashier_account_id),
post as (
  insert into posting (transaction_id, leg, account_id, counter_account_id, amount_minor)
  select n.transfer_id, 1, n.account_id, u.cashier_account_id, n.amount_minor from ins n cross join upd u
  returning counter_account_id, amount_minor),
tail as (
  insert into counter_tail (account_id, amount_minor) select counter_account_id, -amount_minor from post),
out as (
  insert into outbox (kind, payload)
  select 'transfer', json_build_object('transfer_ids', json_build_array(transfer_id),
    'request_ids', json_build_array(request_id), 'account_ids', json_build_array(account_id),
    'account_versions', json_build_array(account_version), 'types', json_build_array(type),
    'amounts_minor', json_build_array(amount_minor),
    'balances_after_minor', json_build_array(balance_after_minor),
    'traceparents', json_build_array(cast(:traceparent as text)))
  from ins where account_version > 0)
select 1 from ins
""")

# The condition makes it the change of a state: who freezes a frozen account is not recorded. One statement,
# so that account, record and event cannot differ.
UPDATE_FROZEN = text("""
with upd as (
  update account set frozen = cast(:frozen as boolean)
  where account_id = cast(:account_id as bigint) and frozen <> cast(:frozen as boolean) returning account_id),
ins as (
  insert into account_freeze (account_id, frozen, actor, reason)
  select account_id, cast(:frozen as boolean), cast(:actor as text), cast(:reason as text) from upd
  returning *)
insert into outbox (kind, payload)
select 'freeze', json_build_object('account_ids', json_build_array(account_id),
  'frozen', json_build_array(frozen), 'actors', json_build_array(actor), 'reasons', json_build_array(reason),
  'traceparents', json_build_array(cast(:traceparent as text)))
from ins
""")

# Rows that are deleted here were committed, so nothing in flight can be missed; what commits later is the
# next tail. In account order, because two replicas may do this at once.
ROLL_UP = text("""
with moved as (
  delete from counter_tail where tail_id in (
    select tail_id from counter_tail order by tail_id limit cast(:rows_max as integer) for update skip locked)
  returning account_id, amount_minor),
sums as (select account_id, cast(sum(amount_minor) as bigint) as amount_minor from moved group by account_id),
checkpoint as (
  insert into counter_checkpoint as c (account_id, balance_minor)
  select account_id, amount_minor from sums order by account_id
  on conflict (account_id) do update set balance_minor = c.balance_minor + excluded.balance_minor)
select count(*) from moved
""")

LIST_ACCOUNT_NAMES = text("""
select account_id, operator_id, currency_code, kind, player_id from account
where account_id = any(cast(:account_ids as bigint[]))
""")
