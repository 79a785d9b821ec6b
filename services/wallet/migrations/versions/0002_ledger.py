"""Freezes, why a stake was refused, adjustments, reviews, breaks of the books; every movement in one view."""

from alembic import op

revision = "0002"
down_revision = "0001"
# Why the version before loses nothing by what is taken away or held tighter here.
contract = "no release was before it"


def upgrade() -> None:
    op.execute("""
alter table account add column frozen boolean not null default false;

-- Who froze or unfroze an account, and why.
create table account_freeze (
  freeze_id bigint generated always as identity primary key,
  account_id bigint not null references account,
  frozen boolean not null,
  actor text not null,
  reason text not null,
  create_time timestamptz not null default clock_timestamp()
);
create index account_freeze_account on account_freeze (account_id, freeze_id);

alter table settlement add column refusal smallint not null default 0;  -- 1 funds, 2 frozen
update settlement set refusal = 1 where status = 2;
alter table settlement add check (refusal between 0 and 2 and (refusal > 0) = (status = 2));

alter table transfer add column type smallint,           -- 1 deposit, 2 withdrawal, 3 adjustment
  add column actor text not null default '',
  add column reason text not null default '',
  add column round_id uuid;
update transfer set type = case when amount_minor > 0 then 1 else 2 end;
alter table transfer alter column type set not null,
  drop constraint transfer_refusal_check,
  add check (refusal in ('', 'INSUFFICIENT_FUNDS', 'BALANCE_TOO_LARGE', 'ACCOUNT_FROZEN')),
  add check (type = 1 and amount_minor > 0 or type = 2 and amount_minor < 0 or type = 3),
  add check ((type = 3) = (actor <> '') and (type = 3) = (reason <> '') and (type = 3 or round_id is null));

-- A rollback that would have made a balance negative: nothing moved, a person decides.
create table review (
  round_id uuid primary key,
  account_id bigint not null references account,
  missing_minor bigint not null check (missing_minor > 0),       -- what it would take from the balance
  balance_minor bigint not null check (balance_minor >= 0),      -- when it was last tried
  actor text not null,
  reason text not null,
  create_time timestamptz not null default clock_timestamp(),
  verdict smallint check (verdict in (1, 2)),     -- 1 settled, 2 reversed; null while open
  verdict_actor text not null default '',
  verdict_reason text not null default '',
  verdict_time timestamptz,
  check ((verdict is null) = (verdict_time is null))
);
create index review_open on review (create_time, round_id) where verdict is null;

-- What the auditor found broken. While a row is not resolved no stake is taken.
create table ledger_break (
  break_id bigint generated always as identity primary key,
  invariant text not null,
  detail text not null,
  find_time timestamptz not null default clock_timestamp(),
  resolve_time timestamptz,
  actor text not null default '',
  reason text not null default ''
);

-- Statements read an account's movements by version; refusals, tombstones and payouts of 0 move nothing.
create index settlement_statement on settlement (account_id, account_version) where account_version > 0;
create index reversal_statement on reversal (account_id, account_version);
create index transfer_statement on transfer (account_id, account_version) where account_version > 0;
-- Days and windows read by time: rows come in its order, so a summary per range of pages finds them. One that
-- is full is summarised soon: a window must not read all that came since the last vacuum.
create index settlement_time on settlement using brin (create_time)
  with (pages_per_range = 32, autosummarize = on);
create index reversal_time on reversal (create_time);
create index transfer_time on transfer (create_time);

-- Every movement of a player's account in one shape. type: 1 bet, 2 stake, 3 payout, 4 rollback, 5 deposit,
-- 6 withdrawal, 7 adjustment.
create view movement as
  select account_id, account_version, create_time, step as type, round_id as transaction_id,
    win_minor - stake_minor as amount_minor, stake_minor, win_minor, balance_after_minor, round_id, game_id,
    cast(null as uuid) as request_id, cast('' as text) as actor,
    cast('' as text) as reason
  from settlement where account_version > 0
  union all
  select account_id, account_version, create_time, cast(4 as smallint), round_id,
    stake_minor - win_minor, stake_minor, win_minor, balance_after_minor, round_id, cast('' as text),
    cast(null as uuid), actor, reason
  from reversal
  union all
  select account_id, account_version, create_time, cast(type + 4 as smallint), transfer_id,
    amount_minor, cast(0 as bigint), cast(0 as bigint), balance_after_minor, round_id, cast('' as text),
    request_id, actor, reason
  from transfer where account_version > 0;
""")
