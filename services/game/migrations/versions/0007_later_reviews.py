"""Reviews of rounds whose review was decided, and which differ in another way since."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute("""
-- The round stays as its first review left it: its state is derived from that one alone. A verdict is
-- executed at the wallet first (R14), whose answer changes the round as any other answer of it does.
create table later_review (
  review_id bigint generated always as identity primary key,
  round_id uuid not null,
  operator_id text not null,
  problem text not null,
  create_time timestamptz not null default clock_timestamp(),
  verdict text check (verdict in ('VOID', 'SETTLED', 'REVERSED')),
  actor text,
  verdict_reason text,
  state text,                               -- where the verdict left the round
  resolve_time timestamptz,
  unique (round_id, problem),               -- nobody is asked the same twice
  check ((resolve_time is null) = (state is null)),
  check ((resolve_time is null) = (verdict is null or actor is null or verdict_reason is null))
);
create unique index later_review_waiting on later_review (round_id) where resolve_time is null;

create view review as
select round_id, operator_id, problem, create_time, verdict, actor, verdict_reason, state, resolve_time,
  false as later from round_review
union all
select round_id, operator_id, problem, create_time, verdict, actor, verdict_reason, state, resolve_time, true
from later_review;
""")
