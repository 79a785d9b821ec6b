"""The texts of game's SQL statements; store.py calls them. A round's state is derived by round_view alone."""

from sqlalchemy import text

# The columns of records.Round, in its order.
ROUND_COLUMNS = (
    "kind birth state steps round_id account_id request_id operator_id player_id session_id game_id"
    " game_version definition_hash currency_code stake_minor win_minor outcome offers_choice birth_reason"
    " birth_metadata authorize_time traceparent gateway mode create_time stake_applied paid_minor"
    " balance_after_minor end_time review_problem review_verdict refusal"
).split()
_IDS = ("round_id", "request_id", "session_id")
_ROUND = ", ".join(f"cast(v.{name} as text)" if name in _IDS else f"v.{name}" for name in ROUND_COLUMNS)

# Stores a batch of rounds with what was drawn for them (R1). What each part must not lose:
# opened: of a choice game only one round per account may be unfinished (R8); who finds another is left out.
#   In key order, and complete before the first round is inserted (array(..) makes it so): no deadlock.
# ins: the draw and its arbiter in one. An id that is known (old, concurrent or in the batch) returns no row.
# out: only rounds that are born ended are told here; nothing was drawn for them. The others are told by their
#   end (R2).
# A row of `opened` whose round was not inserted belongs to a known id: the caller has to take it back, in
# the same transaction.
APPEND_ROUNDS = text("""
with input as materialized (
  select * from unnest(
    cast(:round_ids as uuid[]), cast(:account_ids as bigint[]), cast(:request_ids as uuid[]),
    cast(:operator_ids as text[]), cast(:player_ids as text[]), cast(:session_ids as uuid[]),
    cast(:kinds as smallint[]), cast(:game_ids as text[]), cast(:game_versions as integer[]),
    cast(:definition_hashes as text[]), cast(:currency_codes as text[]), cast(:stakes_minor as bigint[]),
    cast(:wins_minor as bigint[]), cast(:outcomes as bytea[]), cast(:draws as bytea[]),
    cast(:offers as boolean[]), cast(:births as text[]), cast(:reasons as text[]), cast(:metadata as text[]),
    cast(:authorize_times as timestamptz[]), cast(:traceparents as text[]), cast(:gateways as text[]),
    cast(:modes as text[]))
    with ordinality as t(round_id, account_id, request_id, operator_id, player_id, session_id, kind, game_id,
      game_version, definition_hash, currency_code, stake_minor, win_minor, outcome, draws, offers_choice,
      birth, reason, reason_metadata, authorize_time, traceparent, gateway, mode, ord)),
opened as (
  insert into open_round (account_id, game_id, round_id, request_id)
  select account_id, game_id, round_id, request_id from input where offers_choice and birth = 'PENDING'
  order by account_id, game_id
  on conflict do nothing returning round_id),
ins as (
  insert into round (round_id, account_id, request_id, operator_id, player_id, session_id, kind, game_id,
    game_version, definition_hash, currency_code, stake_minor, win_minor, outcome, draws, offers_choice,
    birth, reason, reason_metadata, authorize_time, traceparent, gateway, mode)
  select round_id, account_id, request_id, operator_id, player_id, session_id, kind, game_id, game_version,
    definition_hash, currency_code, stake_minor, win_minor, outcome, draws, offers_choice, birth, reason,
    cast(reason_metadata as jsonb), authorize_time, traceparent, gateway, mode
  from input
  where birth <> 'PENDING' or not offers_choice or round_id = any(array(select round_id from opened))
  order by account_id, request_id
  on conflict do nothing returning round_id, birth, create_time),
out as (
  insert into outbox (kind, payload)
  select 'round', json_build_object('round_ids', json_agg(n.round_id), 'states', json_agg(n.birth),
    'balances_after_minor', json_agg(cast(null as bigint)), 'account_versions', json_agg(0),
    'traceparents', json_agg(i.traceparent))
  from ins n join input i on i.round_id = n.round_id where n.birth <> 'PENDING' having count(*) > 0)
select n.create_time, o.round_id is not null as opened
from input i left join ins n on n.round_id = i.round_id left join opened o on o.round_id = i.round_id
order by i.ord
""")

DELETE_OPEN_ROUNDS = text("delete from open_round where round_id = any(cast(:round_ids as uuid[]))")

FIND_ROUNDS = text(f"""
select {_ROUND}, i.ord
from unnest(cast(:account_ids as bigint[]), cast(:request_ids as uuid[])) with ordinality
  as i(account_id, request_id, ord)
join round_view v on v.account_id = i.account_id and v.request_id = i.request_id
""")

LIST_BLOCKING = text("""
select o.account_id, o.game_id, cast(o.round_id as text) as round_id, cast(o.request_id as text) as request_id
from unnest(cast(:account_ids as bigint[]), cast(:game_ids as text[])) as i(account_id, game_id)
join open_round o on o.account_id = i.account_id and o.game_id = i.game_id
""")

LIST_ROUNDS_BY_ID = text(f"""
select {_ROUND.replace("v.outcome,", "case when cast(:outcomes as boolean) then v.outcome end,")}
from round_view v where v.round_id = any(cast(:round_ids as uuid[]))
""")

# Stores what the wallet's answers made of rounds, each in the table named by `place`. Each of them has the
# round as its key, so who comes second writes nothing, and is told nothing in `time`.
APPEND_RULINGS = text("""
with input as materialized (
  select * from unnest(cast(:round_ids as uuid[]), cast(:places as text[]), cast(:states as text[]),
    cast(:account_ids as bigint[]), cast(:game_ids as text[]), cast(:operator_ids as text[]),
    cast(:amounts_minor as bigint[]), cast(:balances_after_minor as bigint[]),
    cast(:account_versions as bigint[]), cast(:refusals as text[]), cast(:problems as text[]),
    cast(:traceparents as text[]))
    with ordinality as t(round_id, place, state, account_id, game_id, operator_id, amount_minor,
      balance_after_minor, account_version, refusal, problem, traceparent, ord)),
ended as (
  insert into round_end (round_id, state, paid_minor, balance_after_minor, account_version, refusal)
  select round_id, state, amount_minor, balance_after_minor, account_version, refusal
  from input where place = 'END' order by round_id
  on conflict do nothing returning round_id, end_time),
opened as (
  insert into round_step (round_id, step, state_after, choice, decided_by, card, at_risk_minor,
    balance_after_minor, account_version, traceparent)
  select round_id, 0, state, '', '', '', amount_minor, balance_after_minor, account_version, traceparent
  from input where place = 'STEP' order by round_id
  on conflict do nothing returning round_id, create_time),
reversed as (
  insert into round_reversal (round_id, balance_after_minor, account_version)
  select round_id, balance_after_minor, account_version from input where place = 'REVERSAL' order by round_id
  on conflict do nothing returning round_id, end_time),
reviewed as (
  insert into round_review (round_id, operator_id, problem)
  select round_id, operator_id, problem from input where place = 'REVIEW' order by round_id
  on conflict do nothing returning round_id, create_time),
written as materialized (
  select round_id, end_time as time from ended
  union all select round_id, create_time from opened
  union all select round_id, end_time from reversed
  union all select round_id, create_time from reviewed),
closed as (
  delete from open_round o using written w join input i on i.round_id = w.round_id
  where i.place <> 'STEP' and o.account_id = i.account_id and o.game_id = i.game_id
    and o.round_id = i.round_id),
out as (
  insert into outbox (kind, payload)
  select 'round', json_build_object('round_ids', json_agg(i.round_id), 'states', json_agg(i.state),
    'balances_after_minor', json_agg(case when i.place <> 'REVIEW' then i.balance_after_minor end),
    'account_versions', json_agg(i.account_version), 'traceparents', json_agg(i.traceparent))
  from written w join input i on i.round_id = w.round_id having count(*) > 0)
select w.time from input i left join written w on w.round_id = i.round_id order by i.ord
""")

# Decides a step (R8). The step before must stand and leave the choice open; the primary key picks the first.
APPEND_STEP = text("""
insert into round_step (round_id, step, state_after, choice, decided_by, card, draws, at_risk_minor,
  traceparent)
select p.round_id, p.step + 1, :state_after, :choice, :decided_by, :card, cast(:draws as bytea),
  cast(:at_risk_minor as bigint), :traceparent
from round_step p
where p.round_id = cast(:round_id as uuid) and p.step = cast(:step as integer) - 1 and p.state_after = 'OPEN'
on conflict do nothing returning 1
""")

FIND_ROUND_BY_ID = text(f"select {_ROUND} from round_view v where v.round_id = cast(:round_id as uuid)")

LIST_ROUNDS = text(f"""
select {_ROUND} from round_view v
where v.account_id = cast(:account_id as bigint) and (cast(:game_id as text) = '' or v.game_id = :game_id)
  and (v.create_time, v.round_id) < (cast(:time_before as timestamptz), cast(:id_before as uuid))
order by v.create_time desc, v.round_id desc limit cast(:rows_max as integer)
""")

LIST_OPEN_ROUNDS = text(f"""
select {_ROUND} from open_round o join round_view v on v.round_id = o.round_id
where o.account_id = cast(:account_id as bigint) and (cast(:game_id as text) = '' or o.game_id = :game_id)
order by v.create_time
""")

# Of a round that game does not know there is the review alone.
LIST_REVIEWS = text(f"""
select {_ROUND}, w.create_time as review_time, cast(w.round_id as text) as review_round_id, w.problem
from review w left join round_view v on v.round_id = w.round_id
where w.operator_id = :operator_id and w.resolve_time is null
  and (w.create_time, w.round_id) > (cast(:time_after as timestamptz), cast(:id_after as uuid))
order by w.create_time, w.round_id limit cast(:rows_max as integer)
""")

# The first verdict whose answer arrives is the round's; the condition makes it so.
RESOLVE_REVIEW = text("""
with resolved as (
  update round_review set verdict = :verdict, actor = :actor, verdict_reason = :reason, state = :state,
    paid_minor = cast(:paid_minor as bigint), balance_after_minor = cast(:balance_after_minor as bigint),
    account_version = cast(:account_version as bigint), refusal = :refusal, resolve_time = clock_timestamp()
  where round_id = cast(:round_id as uuid) and resolve_time is null returning round_id),
out as (
  insert into outbox (kind, payload)
  select 'round', json_build_object('round_ids', json_build_array(round_id),
    'states', json_build_array(cast(:state as text)),
    'balances_after_minor', json_build_array(cast(:balance_after_minor as bigint)),
    'account_versions', json_build_array(cast(:account_version as bigint)),
    'traceparents', json_build_array(cast(:traceparent as text))) from resolved)
select 1 from resolved
""")

# Who comes second under a version writes nothing, and has to look at what is stored.
APPEND_DEFINITIONS = text("""
insert into game_definition (game_id, version, definition_hash, canonical_json, profile, theory)
select game_id, version, definition_hash, canonical_json, profile, cast(theory as jsonb)
from unnest(cast(:game_ids as text[]), cast(:versions as integer[]), cast(:hashes as text[]),
  cast(:canonical_jsons as text[]), cast(:profiles as text[]), cast(:theories as text[]))
  as t(game_id, version, definition_hash, canonical_json, profile, theory)
order by game_id, version
on conflict do nothing returning game_id, version
""")

LIST_DEFINITIONS = text("""
select game_id, version, definition_hash, canonical_json from game_definition
where game_id = any(cast(:game_ids as text[])) order by game_id, version
""")

LIST_DEFINITIONS_BY_HASH = text("""
select game_id, version, definition_hash, canonical_json from game_definition
where definition_hash = any(cast(:hashes as text[]))
""")

TAKE_LEASE = text("""
update reconciler set holder = :holder,
  lease_until = clock_timestamp() + cast(:lease_ms as integer) * interval '1 ms'
where name = 'rounds' and (holder = :holder or lease_until < clock_timestamp())
returning cast(create_time_low as text)
""")

MOVE_LOW = text("""
update reconciler set create_time_low = cast(:create_time_low as timestamptz)
where name = 'rounds' and holder = :holder
""")

# Before this time every insert of a round is visible or was given up: no writer's transaction is older.
FIND_HORIZON = text("""
select least(clock_timestamp() - cast(:age_ms as integer) * interval '1 ms',
  (select min(xact_start) from pg_stat_activity
   where datname = current_database() and backend_xid is not null))
""")

LIST_PENDING = text("""
select cast(v.round_id as text) as round_id, v.account_id, v.create_time, v.traceparent from round_view v
where v.create_time >= cast(:create_time_low as timestamptz) and v.create_time < cast(:horizon as timestamptz)
  and (v.create_time, v.round_id) > (cast(:time_after as timestamptz), cast(:id_after as uuid))
  and v.state = 'PENDING'
order by v.create_time, v.round_id limit cast(:rows_max as integer)
""")

# The smallest id that the wallet may still be asked to pay: of an unfinished round of a choice game, or of
# one in review. Else the hour before this one: no process's clock is that late when it mints an id.
FIND_ROUND_LOW = text("""
select cast(least(
  (select round_id from open_round order by round_id limit 1),
  (select w.round_id from review w join round r on r.round_id = w.round_id and r.offers_choice
   where w.resolve_time is null order by w.round_id limit 1),
  cast(rpad(lpad(to_hex(cast(
    extract(epoch from date_trunc('hour', clock_timestamp(), 'UTC') - interval '1 hour') * 1000
    as bigint)), 12, '0'), 32, '0') as uuid)) as text)
""")

# Rounds whose payout is not confirmed, and rounds that wait too long for a choice.
LIST_UNFINISHED = text(f"""
select {_ROUND} from open_round o join round_view v on v.round_id = o.round_id
where o.round_id > cast(:id_after as uuid)
  and v.step_time < clock_timestamp() - interval '1 ms' * case v.state
    when 'SETTLING' then cast(:payout_age_ms as integer) when 'OPEN' then cast(:open_age_ms as integer) end
order by o.round_id limit cast(:rows_max as integer)
""")
