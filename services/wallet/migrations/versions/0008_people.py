"""What people decide about operators' own wallets; what keeps a month, and what it leaves behind."""

from alembic import op

revision = "0008"
down_revision = "0007"
# Why the version before loses nothing by what is taken away or held tighter here.
contract = "checks looser than before; the archiving command of before fails, with nothing lost"


def upgrade() -> None:
    op.execute("""
-- A round that an operator's own wallet has paid waits for a person whatever it would take, or bring.
alter table review drop constraint review_missing_minor_check,
  add column external boolean not null default false,
  add check (external or missing_minor > 0);

-- 3: a person settled the call by hand.
alter table external_call_action drop constraint external_call_action_action_check,
  add check (action in (1, 2, 3));

-- One row: under smaller ids all of game's rounds are over, it says. Until then a stake may still be paid.
create table game_report (
  round_id_low uuid not null default '00000000-0000-0000-0000-000000000000',
  report_time timestamptz
);
create unique index game_report_one on game_report ((true));
insert into game_report default values;

-- When the last movement under an archived month's ids was: up to that day, days are not whole any more. Of
-- what was archived before this we know that nothing was added after it was closed. The build before this one
-- archives nothing more: its command fails, with nothing lost.
alter table ledger_month add column last_movement_time timestamptz;
update ledger_month set last_movement_time = close_time where archive_time is not null and manifest <> '{}';
alter table ledger_month
  add check (archive_time is null or manifest = '{}' or last_movement_time is not null);
""")
