"""The mode of a spin: part of what its id stands for."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("""
-- A constant, so that no row is rewritten: before this column there was no other mode.
alter table spin_authorization add column mode text not null default 'base' check (mode <> '');
""")
