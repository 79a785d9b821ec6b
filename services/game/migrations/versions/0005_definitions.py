"""What was served under each version of a game, and what it should return."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute("""
create table game_definition (
  game_id text not null,
  version integer not null check (version >= 1),
  definition_hash text not null,            -- SHA-256 of the next, hexadecimal: rounds pin it
  canonical_json text not null,             -- everything that decides what the game pays
  profile text not null,                    -- which of several returns of one game; empty when it has one
  theory jsonb not null,                    -- mode -> {rtp_target, deviation}: texts, deviation may be null
  create_time timestamptz not null default clock_timestamp(),   -- first served
  primary key (game_id, version)
);
""")
