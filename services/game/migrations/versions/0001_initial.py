"""Rounds, how they went on and ended, the reconciler's lease, and the outbox."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute("""
-- A round as it was born. Never updated: what becomes of it are rows elsewhere, and round_view joins them.
create table round (
  round_id uuid primary key,                -- UUIDv7, minted by game
  account_id bigint not null,
  request_id uuid not null,                 -- the client's
  operator_id text not null,
  player_id text not null,
  session_id uuid not null,
  kind smallint not null check (kind in (1, 2)),              -- 1 real, 2 demo
  game_id text not null,
  game_version integer not null,            -- 0 when the game is not served
  definition_hash text not null,
  currency_code text not null,
  stake_minor bigint not null check (stake_minor between 1 and 9007199254740992),
  win_minor bigint not null check (win_minor between 0 and 9007199254740992),
  outcome bytea,                            -- JSON, hidden until the stake is known to be applied (R2)
  draws bytea,                              -- MessagePack, re-derives the outcome offline
  offers_choice boolean not null,
  birth text not null check (birth in ('PENDING', 'REFUSED', 'VOID')),
  reason text not null,                     -- of a refusal or void by game; empty for PENDING
  reason_metadata jsonb,                    -- the keys that the reason documents
  authorize_time timestamptz not null,      -- session's clock
  create_time timestamptz not null default clock_timestamp(),
  traceparent text not null,                -- of the call that drew it
  gateway text not null,                    -- which process asked for the draw
  unique (account_id, request_id),          -- one draw (R1)
  check ((birth = 'PENDING') = (outcome is not null)),
  check ((birth = 'PENDING') = (draws is not null)),
  check ((birth = 'PENDING') = (reason = ''))
);
-- Not compressed: pglz would work on every batch for little.
alter table round alter column outcome set storage external, alter column draws set storage external;
create index round_history on round (account_id, create_time, round_id);
create index round_age on round (create_time);

-- No foreign keys to round on the hot path: the reference would lock, and so rewrite, the round's own row.
create table round_end (                    -- the first end of a round, as the wallet answered it
  round_id uuid primary key,
  state text not null check (state in ('SETTLED', 'REFUSED', 'VOID', 'REVERSED')),
  paid_minor bigint not null check (paid_minor between 0 and 9007199254740992),
  balance_after_minor bigint not null,
  account_version bigint not null,          -- the account's right after; 0 when nothing moved
  end_time timestamptz not null default clock_timestamp(),
  check (state = 'SETTLED' or paid_minor = 0)
);

create table round_reversal (               -- a settled round was given back
  round_id uuid primary key,
  balance_after_minor bigint not null,
  account_version bigint not null,
  end_time timestamptz not null default clock_timestamp()
);

create table round_step (                   -- of a round with a choice (R8): whoever inserts first decides
  round_id uuid not null,
  step integer not null check (step >= 0),  -- 0: the stake is applied, the choice is open
  state_after text not null check (state_after in ('OPEN', 'SETTLING')),
  choice text not null check (choice in ('', 'COLLECT', 'RED', 'BLACK')),
  decided_by text not null check (decided_by in ('', 'PLAYER', 'TIMEOUT', 'CLOSE')),
  card text not null,                       -- rank and suit; empty for COLLECT
  draws bytea,
  at_risk_minor bigint not null check (at_risk_minor between 0 and 9007199254740992),
  balance_after_minor bigint,               -- of step 0
  account_version bigint,                   -- of step 0
  create_time timestamptz not null default clock_timestamp(),
  traceparent text not null,
  primary key (round_id, step),
  check (step > 0 or (state_after = 'OPEN' and choice = '' and balance_after_minor is not null)),
  check (step = 0 or (choice <> '' and decided_by <> '')),
  check (decided_by in ('', 'PLAYER') or choice = 'COLLECT'),
  check (choice <> 'COLLECT' or state_after = 'SETTLING')
);

create table open_round (                   -- at most one unfinished round of a choice game per account (R8)
  account_id bigint not null,
  game_id text not null,
  round_id uuid not null,
  request_id uuid not null,
  primary key (account_id, game_id)
);

create table round_review (                -- an operator has to decide; the wallet's answer is recorded (R14)
  round_id uuid primary key,
  operator_id text not null,
  problem text not null,
  create_time timestamptz not null default clock_timestamp(),
  verdict text check (verdict in ('VOID', 'SETTLED', 'REVERSED')),
  actor text,
  verdict_reason text,
  state text check (state in ('SETTLED', 'REFUSED', 'VOID', 'REVERSED')),
  paid_minor bigint,
  balance_after_minor bigint,
  account_version bigint,
  resolve_time timestamptz,
  check ((resolve_time is null) = (state is null)),
  check ((resolve_time is null) = (verdict is null or actor is null or verdict_reason is null))
);
create index round_review_waiting on round_review (operator_id, create_time, round_id)
  where resolve_time is null;

-- The only place where a round's state is derived.
create view round_view as
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
  coalesce(w.verdict, '') as review_verdict
from round r
left join round_end e on e.round_id = r.round_id
left join round_reversal b on b.round_id = r.round_id
left join round_review w on w.round_id = r.round_id
left join lateral (
  select l.round_id, l.state_after, l.create_time from round_step l
  where l.round_id = r.round_id and r.offers_choice order by l.step desc limit 1) s on true;

create table reconciler (                   -- one row: who runs it, and before when no round is PENDING
  name text primary key,
  holder text not null default '',
  lease_until timestamptz not null default '-infinity',
  create_time_low timestamptz not null default '-infinity'
);
insert into reconciler (name) values ('rounds');

create table outbox (
  outbox_id bigint generated always as identity primary key,
  batch_no bigint unique,
  create_time timestamptz not null default clock_timestamp(),
  kind text not null,
  payload json not null                      -- read whole, once: nothing to gain from jsonb or compression
);
alter table outbox alter column payload set storage external;
create index outbox_unsent on outbox (outbox_id) where batch_no is null;
create table relay (
  source text primary key,
  batch_no_last bigint not null default 0,
  holder text not null default '',
  lease_until timestamptz not null default '-infinity'
);
""")
