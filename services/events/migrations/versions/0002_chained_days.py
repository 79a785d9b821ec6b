"""The log by day of its positions, chained by hash per source; the player of an event.

Every event is written anew: its position becomes the microsecond at which it was stored, and its hash
follows from the one before it. Batches need no row of their own any more: an event says how many its batch
has, and the head of the source which batch is next. The build before this one cannot append to it: relays
wait until it is replaced.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
# Why the version before loses nothing by what is taken away or held tighter here.
contract = "no release was before it"


def upgrade() -> None:
    op.execute("""
alter table event rename to event_before;
alter index event_pkey rename to event_before_pkey;
-- Their names are for the new table.
alter table event_before drop constraint event_event_type_check, drop constraint event_operator_id_check,
  drop constraint event_account_id_check, drop constraint event_account_version_check,
  drop constraint event_payload_check;
drop index event_operator, event_account, event_type, event_session, event_round;

create table event (
  position bigint not null check (position > 0), -- the microsecond at which it was stored, or the next free
  event_id uuid not null,                      -- derived by the source from its outbox row and index
  source text not null,
  batch_no bigint not null,
  batch_index integer not null,                -- of the event in its batch, from 0
  batch_size integer not null check (batch_index >= 0 and batch_index < batch_size),
  event_type text not null check (event_type ~ '^[a-z]+[.][a-z_]+$'),
  operator_id text not null check (operator_id <> ''),
  account_id bigint not null check (account_id >= 0),           -- 0: none
  account_version bigint not null check (account_version >= 0), -- 0: the account did not move
  player_id text not null,                     -- empty: none
  session_id uuid,
  round_id uuid,
  event_time timestamptz not null,             -- the source's clock
  payload json not null check (payload::text like '{%'),  -- json, not jsonb: the text as it came
  traceparent text not null,
  hash bytea not null,                         -- SHA-256 over the one before it, of its source, and the above
  primary key (position)
) partition by range (position);
-- One index per filter of ListEvents, each in the order of the page. Most events are of the two types left
-- out of event_type: whoever asks for those finds them in the operator's log at once.
create index event_operator on event (operator_id, position);
create index event_player on event (operator_id, player_id, position)
  where player_id <> '' and account_id = 0;
create index event_account on event (account_id, position) where account_id > 0;
create index event_type on event (operator_id, event_type, position)
  where event_type not in ('wallet.settled', 'round.settled');
create index event_session on event (session_id, position) where session_id is not null;
create index event_round on event (round_id, position) where round_id is not null;

-- The accounts of each player: an index by player over all events would cost a fifth of what an append costs.
create table player_account (
  operator_id text not null,
  player_id text not null,
  account_id bigint not null,
  primary key (operator_id, player_id, account_id)
);

create table log_head (                        -- the last position: who appends moves it, one at a time
  single boolean primary key default true check (single),
  position bigint not null
);
create table source_head (                     -- the end of each source's chain
  source text primary key,
  batch_no bigint not null check (batch_no > 0), -- its last batch: the next is one above
  position bigint not null,                    -- of its last event
  hash bytea not null                          -- of its last event
);

-- The days of the log, each with a partition, until it is archived.
create table event_day (
  day date primary key,                        -- UTC; the oldest one stands for all before it
  archive_time timestamptz,                    -- its rows are in files only
  manifest jsonb,                              -- of these files
  check ((archive_time is null) = (manifest is null))
);
create table archived_head (                   -- where the chain of a source stood after an archived day
  day date not null references event_day,
  source text not null,
  position bigint not null,
  batch_no bigint not null,
  batch_index integer not null,
  batch_size integer not null,
  hash bytea not null,
  primary key (day, source)
);

-- The first position of a day.
create function day_position(day date) returns bigint language sql immutable return
  cast(extract(epoch from day) as bigint) * 1000000;

-- Partitions for every day up to this one; any number of callers may do it at once. Attaching, unlike
-- CREATE TABLE ... PARTITION OF, lets appends and reads of the parent go on.
create function add_days(day_last date) returns integer language plpgsql as $$
declare
  day_new date;
  part text;
  added integer := 0;
begin
  perform pg_advisory_xact_lock(7263004);
  loop
    select day + 1 into day_new from event_day order by day desc limit 1;
    exit when day_new > day_last;
    part := 'event_' || to_char(day_new, 'YYYY_MM_DD');
    execute format('create table %I (like event including all)', part);
    execute format('alter table event attach partition %I for values from (%L) to (%L)', part,
      day_position(day_new), day_position(day_new + 1));
    insert into event_day (day) values (day_new);
    added := added + 1;
  end loop;
  return added;
end $$;

-- The day before the first one is archived, empty: there were no events.
insert into event_day
  select cast(coalesce(min(append_time), now()) at time zone 'UTC' as date) - 1, now(), '{}'
  from event_before;
select add_days(cast(now() at time zone 'UTC' as date) + 2);

do $$
declare
  previous bytea;
  chained text;
  e record;
begin
  for chained in select distinct source from event_before loop
    previous := '\\x';
    for e in
      select * from (
        select *, count(*) over (partition by source, batch_no) as batch_size,
          cast(extract(epoch from event_time) * 1000000 as bigint) as event_time_us,
          max(cast(extract(epoch from append_time) * 1000000 as bigint) - position)
            over (order by position) + position as position_new
        from event_before) numbered
      where source = chained order by position
    loop
      previous := sha256(previous || convert_to(concat_ws(e'\\n', e.position_new, e.source, e.batch_no,
        e.batch_index, e.batch_size, e.event_id, e.event_type, e.operator_id, e.account_id,
        e.account_version, '',
        coalesce(cast(e.session_id as text), ''), coalesce(cast(e.round_id as text), ''), e.event_time_us,
        e.traceparent, cast(e.payload as text)), 'UTF8'));
      insert into event values (e.position_new, e.event_id, e.source, e.batch_no, e.batch_index,
        e.batch_size, e.event_type, e.operator_id, e.account_id, e.account_version, '', e.session_id,
        e.round_id, e.event_time, e.payload, e.traceparent, previous);
    end loop;
  end loop;
end $$;
insert into source_head
  select distinct on (source) source, batch_no, position, hash from event order by source, position desc;
insert into log_head (position) select coalesce(max(position), 0) from event;
drop table event_before, inbox, source_position;
""")
