"""The relay's count of what was acknowledged, for rows that stay in the outbox for a while after that."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("""
alter table relay
  add column batch_no_acked bigint not null default 0,
  add column kept_by text not null default '',
  add column kept_since timestamptz not null default '-infinity';
""")
