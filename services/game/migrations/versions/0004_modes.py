"""The mode of its game that a round is played in."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("""
-- A constant, so that no row is rewritten: before this column there was no other mode.
alter table round add column mode text not null default 'base' check (mode <> '');

create or replace view round_view as
select r.round_id, r.account_id, r.request_id, r.operator_id, r.player_id, r.session_id, r.kind, r.game_id,
  r.game_version, r.definition_hash, r.currency_code, r.stake_minor, r.win_minor, r.outcome, r.offers_choice,
  r.birth, r.reason as birth_reason, r.reason_metadata as birth_metadata, r.authorize_time, r.create_time,
  r.traceparent, r.gateway,
  case
    when w.round_id is not null and w.state is null then 'NEEDS_REVIEW'
    when b.round_id is not null then 'REVERSED'
    else coalesce(w.state, e.state, s.state_after, r.birth)
  end as state,
  s.round_id is not null or b.round_id is not null
    or coalesce(e.state in ('SETTLED', 'REVERSED'), false)
    or coalesce(w.state in ('SETTLED', 'REVERSED'), false) as stake_applied,
  coalesce(w.paid_minor, e.paid_minor) as paid_minor,
  coalesce(b.balance_after_minor, w.balance_after_minor, e.balance_after_minor,
    case when r.offers_choice then (
      select o.balance_after_minor from round_step o where o.round_id = r.round_id and o.step = 0) end)
    as balance_after_minor,
  case when r.birth <> 'PENDING' then r.create_time else coalesce(b.end_time, w.resolve_time, e.end_time) end
    as end_time,
  s.create_time as step_time,
  case when r.offers_choice then (
    select jsonb_agg(
      jsonb_build_array(d.step, d.choice, d.decided_by, d.card, d.at_risk_minor) order by d.step)
    from round_step d where d.round_id = r.round_id and d.step > 0) end as steps,
  coalesce(w.problem, '') as review_problem,
  coalesce(w.verdict, '') as review_verdict,
  coalesce(w.refusal, e.refusal, '') as refusal,
  r.mode
from round r
left join round_end e on e.round_id = r.round_id
left join round_reversal b on b.round_id = r.round_id
left join round_review w on w.round_id = r.round_id
left join lateral (
  select l.round_id, l.state_after, l.create_time from round_step l
  where l.round_id = r.round_id and r.offers_choice order by l.step desc limit 1) s on true;
""")
