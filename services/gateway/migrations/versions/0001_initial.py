"""Operators, their API keys, what they asked for, and the outbox."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute("""
create table operator (
  operator_id text primary key check (operator_id ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
  display_name text not null,
  jurisdiction text not null,              -- of sessions that name none
  create_time timestamptz not null default clock_timestamp()
);
create table api_key (
  key_hash bytea primary key check (octet_length(key_hash) = 32),  -- SHA-256; the key is nowhere
  operator_id text not null references operator,
  create_time timestamptz not null default clock_timestamp(),
  revoke_time timestamptz
);
create table operator_action (              -- what operators asked for, written before it is carried out
  operator_id text not null references operator,
  action text not null,
  request_id uuid not null,
  player_id text not null,
  fingerprint bytea not null,               -- SHA-256 of the request: another body under the id is refused
  refused boolean not null default false,   -- class NOT_YET, nothing was done: another body may take the id
  create_time timestamptz not null default clock_timestamp(),
  primary key (operator_id, action, request_id)
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
