"""Where the auditor stands; one open break per invariant; what of the outbox is kept for it."""

from alembic import op

revision = "0007"
down_revision = "0006"
# Why the version before loses nothing by what is taken away or held tighter here.
contract = "no release was before it"


def upgrade() -> None:
    op.execute("""
-- The auditor's place, one row: replicas share it, and a restart goes on from it.
create table auditor (
  since timestamptz not null default clock_timestamp(),     -- all that was over before it is audited
  due_time timestamptz not null default clock_timestamp(),  -- who finds it past moves it on, and audits
  counters_time timestamptz not null default '-infinity'    -- when the counter-accounts were last summed up
);
create unique index auditor_one on auditor ((true));
insert into auditor default values;

alter table ledger_break add column violations bigint not null default 1 check (violations > 0);
create unique index ledger_break_open on ledger_break (invariant) where resolve_time is null;

alter table relay
  add column batch_no_acked bigint not null default 0,
  add column kept_by text not null default '',
  add column kept_since timestamptz not null default '-infinity';
""")
