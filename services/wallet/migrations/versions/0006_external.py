"""Accounts whose money an operator's own wallet keeps, and every call to such a wallet."""

from alembic import op

revision = "0006"
down_revision = "0005"
# Why the version before loses nothing by what is taken away or held tighter here.
contract = "accounts of the version before are not external, by the default"


def upgrade() -> None:
    op.execute("""
-- Decided when the account is opened, and never again. Its balance is what is on its way to the operator.
alter table account add column external boolean not null default false,
  add check (not external or (kind = 1 and type = 1));

-- One row per call, written before it is made. A row is the same call however often it is sent.
create table external_call (
  round_id uuid not null,
  step smallint not null check (step in (1, 2, 3)),             -- 1 stake, 2 payout, 3 void
  operator_id text not null,
  account_id bigint not null references account,
  amount_minor bigint not null check (amount_minor between 0 and 9007199254740992),
  game_id text not null,
  -- Of a stake: what it is part of, and what is due when it is applied. Nobody reads that before.
  settle_step smallint check (settle_step in (1, 2)),           -- 1 fused, 2 stake
  win_minor bigint not null default 0 check (win_minor between 0 and 9007199254740992),
  traceparent text not null,
  -- Of a void that gives an applied stake back: who asked, and why.
  actor text not null default '',
  reason text not null default '',
  state smallint not null default 1 check (state in (1, 2, 3)), -- 1 sent, 2 done, 3 stopped
  outcome smallint check (outcome in (1, 2, 3)),                -- 1 applied, 2 refused, 3 void
  balance_after_minor bigint,              -- the player's at the operator, as its answer told
  transfer_id uuid,                        -- what brought the money in, or took it out, in our books
  attempts integer not null,
  last_error text not null default '',
  next_time timestamptz not null,
  create_time timestamptz not null default clock_timestamp(),
  done_time timestamptz,
  primary key (round_id, step),
  check ((step = 1) = (settle_step is not null) and (step = 1 or win_minor = 0)),
  check ((state = 2) = (outcome is not null) and (state = 2) = (done_time is not null))
);
create index external_call_due on external_call (operator_id, next_time) where state = 1 and step > 1;
create index external_call_open on external_call (operator_id, (-attempts), round_id, step) where state <> 2;

-- Who forced or stopped a call, and why.
create table external_call_action (
  action_id bigint generated always as identity primary key,
  round_id uuid not null,
  step smallint not null,
  action smallint not null check (action in (1, 2)),            -- 1 force, 2 stop
  actor text not null,
  reason text not null,
  create_time timestamptz not null default clock_timestamp(),
  foreign key (round_id, step) references external_call
);
""")
