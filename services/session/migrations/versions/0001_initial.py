"""Sessions, the spins they authorised, and the outbox."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute("""
create table session (
  session_id uuid primary key,                -- UUIDv7
  operator_id text not null check (operator_id <> ''),
  request_id uuid not null,
  fingerprint bytea not null,                 -- SHA-256 of the request's body
  player_id text not null check (char_length(player_id) between 1 and 128),
  account_id bigint not null,
  kind smallint not null check (kind in (1, 2)),                        -- 1 real, 2 demo
  game_id text not null,
  currency_code text not null,
  language_code text not null,
  jurisdiction text not null,                 -- the policy that is applied
  stake_max_minor bigint check (stake_max_minor between 1 and 9007199254740992),
  cycle_min_ms integer not null check (cycle_min_ms between 0 and 60000),
  code_hash bytea not null unique check (octet_length(code_hash) = 32),   -- SHA-256; the code is nowhere
  code_expire_time timestamptz not null,
  token_hash bytea unique check (octet_length(token_hash) = 32),  -- SHA-256; null until the code is spent
  authorize_time_last timestamptz,            -- start of the running game cycle
  create_time timestamptz not null,
  expire_time timestamptz not null check (expire_time > create_time),
  close_time timestamptz,
  end_state smallint check (end_state in (2, 4)),                       -- 2 closed, 4 replaced
  check ((close_time is null) = (end_state is null)),
  unique (operator_id, request_id)
) with (fillfactor = 50);                     -- each spin updates authorize_time_last: HOT, no index touched
-- One active session per player and game; an account is one player's, in one currency.
create unique index session_active on session (account_id, game_id) where close_time is null;
create index session_account_game on session (account_id, game_id, session_id);

-- One row per authorised spin, never deleted by session (R4). No foreign key: the row comes from the locked
-- session row of the same statement, and a check per spin would lock that row again.
create table spin_authorization (
  account_id bigint not null,
  request_id uuid not null,                   -- the client's
  session_id uuid not null,                   -- the one that authorised first
  stake_minor bigint not null check (stake_minor between 1 and 9007199254740992),
  authorize_time timestamptz not null,
  primary key (account_id, request_id)
) partition by hash (account_id);
do $$ begin
  for part in 0..7 loop
    execute format('create table spin_authorization_%s partition of spin_authorization '
                   'for values with (modulus 8, remainder %s)', part, part);
  end loop;
end $$;

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
