"""Webhooks: addresses that are sent an operator's events, and the events that they would not take."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("""
create table webhook (
  webhook_id uuid primary key,
  operator_id text not null check (operator_id <> ''),
  request_id uuid not null,                    -- the operator's, of its registration
  url text not null,
  event_types text[] not null,                 -- empty: all
  secret bytea not null,                       -- encrypted, for this webhook_id only: vault.py
  create_time timestamptz not null,
  paused boolean not null default false,
  position bigint not null check (position >= 0), -- taken, dead or not for it, up to here
  attempts integer not null default 0,         -- failed in a row, of the delivery that is next
  last_error text not null default '',
  given_up boolean not null default false,     -- the last thing that became of an event was to be dead
  due_time timestamptz not null default '-infinity',
  holder text not null default '',             -- the process that delivers, until then
  lease_until timestamptz not null default '-infinity',
  unique (operator_id, request_id)
);
create table dead_letter (
  webhook_id uuid not null references webhook on delete cascade,
  position bigint not null,
  event_id uuid not null,
  event_type text not null,
  attempts integer not null,
  last_error text not null,
  dead_time timestamptz not null,
  redelivering boolean not null default false, -- to be sent once more
  primary key (webhook_id, position)
);
create index dead_letter_redelivering on dead_letter (webhook_id, position) where redelivering;
""")
