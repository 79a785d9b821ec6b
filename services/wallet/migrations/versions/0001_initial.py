"""Accounts, settlements, reversals, transfers, postings, counter-account balances, and the outbox."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute("""
create sequence account_number;
create table account (
  account_id bigint primary key,           -- 2 * account_number for real money, one more for demo
  operator_id text not null,
  player_id text not null default '',
  currency_code text not null,
  kind smallint not null check (kind in (1, 2)),                -- 1 real, 2 demo
  type smallint not null check (type in (1, 2, 3)),             -- 1 player, 2 house, 3 cashier
  house_account_id bigint,                 -- what stakes go to and wins come from
  cashier_account_id bigint,               -- what deposits come from and withdrawals go to
  balance_minor bigint not null default 0 check (balance_minor >= 0),
  version bigint not null default 0 check (version >= 0),
  create_time timestamptz not null default clock_timestamp(),
  unique (operator_id, player_id, currency_code, kind, type),
  unique (account_id, operator_id, currency_code, kind),
  -- The kind shows in the id, so that the CHECK of one posting row can see that two accounts are of one kind.
  check (account_id % 2 = kind - 1),
  check ((type = 1) = (player_id <> '')),
  check ((type = 1) = (house_account_id is not null) and (type = 1) = (cashier_account_id is not null)),
  -- A counter-account is never updated: its balance is counter_checkpoint plus counter_tail.
  check (type = 1 or (balance_minor = 0 and version = 0)),
  foreign key (house_account_id, operator_id, currency_code, kind)
    references account (account_id, operator_id, currency_code, kind),
  foreign key (cashier_account_id, operator_id, currency_code, kind)
    references account (account_id, operator_id, currency_code, kind)
) with (fillfactor = 50);                  -- room for HOT updates: a settle touches no index

-- One verdict per key. Fused, stake and tombstone share step_key 0: a round has one of them.
-- No foreign keys on the hot path: rows come from the locked account row of the same statement.
create table settlement (
  round_id uuid not null,
  step_key smallint not null check (step_key in (0, 1)),        -- 0 fused, stake or tombstone; 1 payout
  step smallint not null check (step between 0 and 3),          -- 0 tombstone, 1 fused, 2 stake, 3 payout
  status smallint not null check (status between 1 and 4),      -- 1 applied, 2 refused, 3 void, 4 reversed
  account_id bigint not null,
  stake_minor bigint not null check (stake_minor between 0 and 9007199254740992),
  win_minor bigint not null check (win_minor between 0 and 9007199254740992),
  balance_after_minor bigint not null check (balance_after_minor >= 0),
  account_version bigint not null,         -- 0 when nothing moved
  create_time timestamptz not null default clock_timestamp(),
  game_id text not null,
  primary key (round_id, step_key),
  check (case step
    when 0 then stake_minor = 0 and win_minor = 0 and status = 3 + step_key
    when 1 then step_key = 0 and status in (1, 2) and stake_minor > 0
    when 2 then step_key = 0 and status in (1, 2) and stake_minor > 0 and win_minor = 0
    when 3 then step_key = 1 and status in (1, 4) and stake_minor = 0 end),
  check ((account_version > 0) = (status = 1 and stake_minor + win_minor > 0))
);

-- A round that was given back. Its settlements stay as they were decided.
create table reversal (
  round_id uuid primary key,
  account_id bigint not null references account,
  stake_minor bigint not null,
  win_minor bigint not null,
  balance_after_minor bigint not null check (balance_after_minor >= 0),
  account_version bigint not null check (account_version > 0),
  actor text not null,
  reason text not null,
  create_time timestamptz not null default clock_timestamp()
);

create table transfer (
  transfer_id uuid primary key,
  operator_id text not null,
  request_id uuid not null,
  account_id bigint not null references account,
  amount_minor bigint not null check (amount_minor <> 0),       -- above zero in, below zero out
  refusal text not null default '' check (refusal in ('', 'INSUFFICIENT_FUNDS', 'BALANCE_TOO_LARGE')),
  balance_after_minor bigint not null check (balance_after_minor >= 0),
  account_version bigint not null,         -- 0 when it was refused
  create_time timestamptz not null default clock_timestamp(),
  unique (operator_id, request_id),
  check ((account_version = 0) = (refusal <> ''))
);

-- Double entry, both sides in one row: the account gets the amount, the counter-account its opposite. Neither
-- a sum other than zero nor a transaction over two kinds can be written.
create table posting (
  transaction_id uuid not null,            -- round or transfer
  leg smallint not null check (leg between 1 and 4),  -- 1 stake or transfer, 2 win, 3 win back, 4 stake back
  account_id bigint not null,
  counter_account_id bigint not null check (counter_account_id <> account_id),
  amount_minor bigint not null check (amount_minor <> 0),
  primary key (transaction_id, leg),
  check ((account_id - counter_account_id) % 2 = 0)
);
create view posting_leg as                 -- the same as the textbook writes it: two rows that sum to zero
  select transaction_id, leg, account_id, amount_minor from posting
  union all
  select transaction_id, leg, counter_account_id, -amount_minor from posting;

-- Balances of the counter-accounts: a checkpoint, and what came since, one row per account and batch.
create table counter_checkpoint (
  account_id bigint primary key references account,
  balance_minor bigint not null
);
create table counter_tail (
  tail_id bigint generated always as identity primary key,
  account_id bigint not null,
  amount_minor bigint not null
);

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
