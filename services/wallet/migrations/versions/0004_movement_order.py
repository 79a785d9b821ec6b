"""The view of every movement as the planner can flatten it: a statement comes from the indexes in order."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("""
drop view movement;

-- Every movement of a player's account in one shape. type: 1 bet, 2 stake, 3 payout, 4 rollback, 5 deposit,
-- 6 withdrawal, 7 adjustment; table_types are those that a row's table can hold, so that a filter by type
-- need not search the other tables. The condition stands outside: a branch with one of its own is planned by
-- itself, without order, and a page of a statement would sort all rows of the account.
create view movement as
  select * from (
    select account_id, account_version, create_time, step as type,
      cast('{1,2,3}' as smallint[]) as table_types, round_id as transaction_id,
      win_minor - stake_minor as amount_minor, stake_minor, win_minor, balance_after_minor,
      round_id, game_id, cast(null as uuid) as request_id, cast('' as text) as actor,
      cast('' as text) as reason
    from settlement
    union all
    select account_id, account_version, create_time, cast(4 as smallint), cast('{4}' as smallint[]), round_id,
      stake_minor - win_minor, stake_minor, win_minor, balance_after_minor, round_id, cast('' as text),
      cast(null as uuid), actor, reason
    from reversal
    union all
    select account_id, account_version, create_time, cast(type + 4 as smallint),
      cast('{5,6,7}' as smallint[]), transfer_id, amount_minor, cast(0 as bigint), cast(0 as bigint),
      balance_after_minor, round_id, cast('' as text), request_id, actor, reason
    from transfer) moved
  where account_version > 0;
""")
