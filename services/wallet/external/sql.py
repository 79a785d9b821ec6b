"""The SQL of accounts whose money an operator's own wallet keeps; store.py calls it."""

from sqlalchemy import text

from services.wallet import sql

# sql.SETTLE with the operator's verdict in the place of ours, so that all that hangs on a verdict (postings,
# versions, tail, event) is the same. Of its parameters two are new: :status and :refusal of a stake.
_JUDGED = """
    when exists (select from ledger_break where resolve_time is null) then null
    when l.balance_minor >= i.stake_minor and not l.frozen then 1 else 2 end as status,
    case when l.frozen then 2 else 1 end as refusal
"""
_TOLD = """
    else cast(:status as smallint) end as status, cast(:refusal as smallint) as refusal
"""
assert sql.SETTLE.text.count(_JUDGED) == sql.SETTLE.text.count(" and not external") == 1
SETTLE = text(sql.SETTLE.text.replace(_JUDGED, _TOLD).replace(" and not external", " and external"))

_CALLS = """
select c.round_id, c.step, c.operator_id, a.player_id, c.account_id, a.currency_code, c.amount_minor,
  c.game_id, c.settle_step, c.win_minor, c.traceparent, c.actor, c.reason, c.state, c.outcome,
  c.balance_after_minor, c.attempts, c.last_error, c.next_time, c.create_time
from external_call c join account a using (account_id)
"""

LIST_CALLS = text(f"{_CALLS} where c.round_id = cast(:round_id as uuid) order by c.step")

# A call is written before it is made: it counts as sent from here on, and is due again after a while.
INSERT_CALL = text("""
insert into external_call (round_id, step, operator_id, account_id, amount_minor, game_id, settle_step,
  win_minor, traceparent, actor, reason, attempts, next_time)
values (cast(:round_id as uuid), cast(:step as smallint), :operator_id, cast(:account_id as bigint),
  cast(:amount_minor as bigint), :game_id, cast(:settle_step as smallint), cast(:win_minor as bigint),
  :traceparent, :actor, :reason, 1, clock_timestamp() + cast(:wait_s as double precision) * interval '1 s')
on conflict (round_id, step) do nothing
""")

SEND_AGAIN = text("""
update external_call set attempts = attempts + 1
where round_id = cast(:round_id as uuid) and step = cast(:step as smallint) and state = 1
""")

# Taken by whoever comes first: it moves on by the time that one more attempt may take, and by more each time.
# A replica that takes it and dies leaves it to be taken again then.
TAKE_DUE = text(f"""
with due as (
  select round_id, step from external_call
  where operator_id = :operator_id and state = 1 and step > 1 and next_time <= clock_timestamp()
  order by next_time limit cast(:rows_max as integer) for update skip locked),
taken as (
  update external_call c set attempts = c.attempts + 1,
    next_time = clock_timestamp() + interval '1 s' * least(cast(:wait_s_max as double precision),
      cast(:wait_s as double precision) * power(2, least(c.attempts, 30)))
  from due d where c.round_id = d.round_id and c.step = d.step
  returning c.*)
{_CALLS.replace("external_call", "taken")}
""")

RECORD_ERROR = text("""
update external_call set last_error = :last_error
where round_id = cast(:round_id as uuid) and step = cast(:step as smallint) and state = 1
""")

FINISH_CALL = text("""
update external_call set state = 2, outcome = cast(:outcome as smallint),
  balance_after_minor = cast(:balance_after_minor as bigint), transfer_id = cast(:transfer_id as uuid),
  done_time = clock_timestamp()
where round_id = cast(:round_id as uuid) and step = cast(:step as smallint) and state <> 2
""")

STOP_CALL = text("""
update external_call set state = 3, last_error = :last_error
where round_id = cast(:round_id as uuid) and step = cast(:step as smallint) and state = 1
""")

# A stake is never due: whoever settles repeats it, or has it voided. Forced, any call is sent once more.
FORCE_CALL = text("""
update external_call set state = 1, attempts = attempts + 1,
  next_time = clock_timestamp() + cast(:wait_s as double precision) * interval '1 s'
where round_id = cast(:round_id as uuid) and step = cast(:step as smallint) and state <> 2
""")

INSERT_ACTION = text("""
insert into external_call_action (round_id, step, action, actor, reason)
values (cast(:round_id as uuid), cast(:step as smallint), cast(:action as smallint), :actor, :reason)
""")

# What was sent this often and not answered, or was stopped. (attempts, round_id, step) is the position.
LIST_STUCK = text(f"""
{_CALLS}
where c.operator_id = :operator_id and c.state <> 2
  and (cast(:attempts as integer) is null
    or (-c.attempts, c.round_id, c.step)
      > (-cast(:attempts as integer), cast(:round_id as uuid), cast(:step as smallint)))
order by -c.attempts, c.round_id, c.step limit cast(:rows_max as integer)
""")

LIST_OPERATORS = text("select distinct operator_id from account where external")

COUNT_STUCK = text("select count(*) from external_call where state <> 2 and (state = 3 or attempts > 1)")
