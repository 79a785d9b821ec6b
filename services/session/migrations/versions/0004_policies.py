"""Policies by version, what a session is held to, limits that belong to the account, and what they count."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("""
create table policy_definition (
  name text not null,
  version integer not null,
  policy_hash text not null unique,           -- SHA-256 of canonical_json, hexadecimal
  canonical_json text not null,
  record_time timestamptz not null default clock_timestamp(),
  primary key (name, version)
);

-- Constants, so that no row is rewritten: sessions of before are held to what they were held to.
alter table session
  add column policy_version integer not null default 0,
  add column policy_hash text not null default '',
  add column loss_max_minor bigint check (loss_max_minor between 1 and 9007199254740992),
  add column check_interval_ms integer check (check_interval_ms > 0),
  add column lock_out_ms integer not null default 0,
  add column idle_max_ms integer check (idle_max_ms > 0),
  add column features_forbidden smallint not null default 0,  -- 1 autoplay, 2 turbo
  add column modes_allowed text[],                            -- null: all
  add column keep_alive_time timestamptz,
  add column counted boolean not null default false,          -- whether account_play and spin_count know it
  add column staked_minor bigint not null default 0,
  add column returned_minor bigint not null default 0,
  add column joins boolean not null default false,            -- tokens and codes are in session_entry
  add column keeps_open_rounds boolean not null default false;

-- A launch of a session that several may join. The session's own token_hash is then a handle: nobody has a
-- token for it.
create table session_entry (
  entry_id uuid primary key,                  -- UUIDv7
  session_id uuid not null,
  operator_id text not null,
  request_id uuid not null,
  fingerprint bytea not null,
  code_hash bytea not null unique check (octet_length(code_hash) = 32),
  code_expire_time timestamptz not null,
  token_hash bytea unique check (octet_length(token_hash) = 32),  -- null until the code is spent
  unique (operator_id, request_id)
);

-- An account with limits: its player's own, and what a policy counts across sessions. Others have no row.
create table account_play (
  account_id bigint primary key,
  stake_max_minor bigint,                     -- in force; null: no limit, as below
  loss_day_max_minor bigint,
  loss_week_max_minor bigint,
  loss_month_max_minor bigint,
  session_max_ms bigint,
  check_interval_ms bigint,
  next_stake_max_minor bigint,                -- in force from next_time on
  next_loss_day_max_minor bigint,
  next_loss_week_max_minor bigint,
  next_loss_month_max_minor bigint,
  next_session_max_ms bigint,
  next_check_interval_ms bigint,
  next_time timestamptz,                      -- null: nothing is to change
  count_day date,                             -- UTC; of the last stake: names the three windows
  loss_day_minor bigint not null default 0,   -- stakes less returns; below zero after wins
  loss_week_minor bigint not null default 0,
  loss_month_minor bigint not null default 0,
  stay_time timestamptz,                      -- since when it is played without a long rest
  stake_time timestamptz,                     -- of the last stake
  check_time timestamptz,                     -- since when the next reality check is waited for
  lock_end_time timestamptz
) with (fillfactor = 50);                     -- each counted spin updates it: HOT

-- What was asked for, and the arbiter of its request.
create table limit_change (
  operator_id text not null,
  request_id uuid not null,
  account_id bigint not null,
  limits json not null,
  change_time timestamptz not null default clock_timestamp(),
  primary key (operator_id, request_id)
);
create index limit_change_account on limit_change (account_id, change_time);

-- A spin that counts, and once, what its round returned (R13).
create table spin_count (
  account_id bigint not null,
  request_id uuid not null,
  session_id uuid not null,
  stake_minor bigint not null,
  authorize_time timestamptz not null,        -- names the windows that its stake was counted in
  round_id uuid unique,                       -- null until it is counted
  returned_minor bigint check (returned_minor >= 0),
  reversed boolean not null default false,
  look_time timestamptz not null,             -- when a lost return is looked for
  primary key (account_id, request_id),
  check ((round_id is null) = (returned_minor is null))
);
create index spin_count_waiting on spin_count (look_time) where returned_minor is null;
""")
