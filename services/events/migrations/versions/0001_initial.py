"""The inbox that makes every batch stored once, and the events."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute("""
create table inbox (                           -- a batch is stored when, and only when, its row is here
  source text not null,
  batch_no bigint not null check (batch_no > 0),
  create_time timestamptz not null default clock_timestamp(),
  primary key (source, batch_no)
);
create table source_position (                 -- the highest batch of each source: the next is one above
  source text primary key,
  batch_no_last bigint not null check (batch_no_last > 0)
);
create table event (
  position bigint generated always as identity primary key,
  event_id uuid not null,                      -- derived by the source from its outbox row and index
  source text not null,
  batch_no bigint not null,
  batch_index integer not null,                -- of the event in its batch, from 0
  event_type text not null check (event_type ~ '^[a-z]+[.][a-z_]+$'),
  operator_id text not null check (operator_id <> ''),
  account_id bigint not null check (account_id >= 0),           -- 0: none
  account_version bigint not null check (account_version >= 0), -- 0: the account did not move
  session_id uuid,
  round_id uuid,
  event_time timestamptz not null,             -- the source's clock
  append_time timestamptz not null default clock_timestamp(),
  payload json not null check (payload::text like '{%'),  -- json, not jsonb: the text as it came
  traceparent text not null,
  unique (source, batch_no, batch_index)       -- behind the inbox; in the order of arrival, unlike event_id
);
-- One index per filter of ListEvents, each in the order of the page. Most events are of the two types left
-- out of event_type: whoever asks for those finds them in the operator's log at once.
create index event_operator on event (operator_id, position);
create index event_account on event (operator_id, account_id, position);
create index event_type on event (operator_id, event_type, position)
  where event_type not in ('wallet.settled', 'round.settled');
create index event_session on event (session_id, position) where session_id is not null;
create index event_round on event (round_id, position) where round_id is not null;
""")
