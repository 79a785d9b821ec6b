"""What rounds returned, by the day they were drawn: for the monitor of the live RTP."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute("""
-- Sums over the rounds whose stake was taken, each counted once; wins as drawn, before a gamble.
create table return_day (
  day date not null,                        -- UTC, of the draw
  game_id text not null,
  game_version integer not null,
  mode text not null,
  operator_id text not null,
  currency_code text not null,
  kind smallint not null check (kind in (1, 2)),              -- 1 real, 2 demo
  rounds bigint not null check (rounds > 0),
  stake_minor numeric not null,
  win_minor numeric not null,
  stake_squares numeric not null,           -- sum of stake x stake
  stake_wins numeric not null,              -- sum of stake x win
  win_squares numeric not null,             -- sum of win x win
  primary key (day, game_id, game_version, mode, operator_id, currency_code, kind)
);

-- Rounds that were passed by before it was known whether their stake is taken. Looked at again in turn.
create table return_late (
  round_id uuid primary key,
  check_time timestamptz not null default clock_timestamp()
);
create index return_late_turn on return_late (check_time);

create table monitor (                      -- one row: who rolls up, and before when no round is uncounted
  name text primary key,
  holder text not null default '',
  lease_until timestamptz not null default '-infinity',
  create_time_low timestamptz not null default '-infinity'
);
insert into monitor (name) values ('returns');
""")
