"""What clients reported, by the id of the request: so that a repeated one is stored once."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("""
create table client_report (
  session_id uuid not null,
  request_id uuid not null,
  fingerprint bytea not null,               -- SHA-256 of the events: others under the id are refused
  create_time timestamptz not null default clock_timestamp(),
  primary key (session_id, request_id)
);
create index client_report_create_time on client_report (create_time);  -- the old ones are deleted by inserts
""")
