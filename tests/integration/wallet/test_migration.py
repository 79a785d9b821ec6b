"""The wallet's tables as they were become partitions, with every row they have."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import NullPool

from services.common.migrate import migrate
from tests import invariants
from tests.databases import Databases
from tests.integration.wallet.harness import APPLIED, OPERATOR, PAYOUT, REVERSED, STAKE, VOID, Wallet
from tests.integration.wallet.months import id_at, month_at, ms_of

# What each table had before it was partitioned.
COLUMNS = {
    "settlement": "round_id, step_key, step, status, account_id, stake_minor, win_minor, "
    "balance_after_minor, account_version, create_time, game_id, refusal",
    "reversal": "round_id, account_id, stake_minor, win_minor, balance_after_minor, account_version, actor, "
    "reason, create_time",
    "transfer": "transfer_id, operator_id, request_id, account_id, amount_minor, refusal, "
    "balance_after_minor, account_version, create_time, type, actor, reason, round_id",
    "posting": "transaction_id, leg, account_id, counter_account_id, amount_minor",
    "posting_leg": "transaction_id, leg, account_id, amount_minor",
    "movement": "account_id, account_version, create_time, type, transaction_id, amount_minor, "
    "balance_after_minor, round_id, request_id",
}
# A deposit, a fused round of years ago that was given back, a choice, a void and a refusal of this month.
# The relay has told them all, and is of a build that kept nothing.
ROWS = """
insert into relay (source, batch_no_last, holder) values ('wallet', 9, 'before');
insert into account (account_id, operator_id, currency_code, kind, type) values
  (1000, :operator, 'EUR', 1, 2), (1002, :operator, 'EUR', 1, 3);
insert into account (account_id, operator_id, player_id, currency_code, kind, type, house_account_id,
  cashier_account_id, balance_minor, version) values (1004, :operator, 'p', 'EUR', 1, 1, 1000, 1002, 985, 5);
insert into transfer (transfer_id, operator_id, request_id, account_id, type, amount_minor,
  balance_after_minor, account_version) values (:transfer, :operator, :request, 1004, 1, 1000, 1000, 1);
insert into settlement (round_id, step_key, step, status, account_id, stake_minor, win_minor, game_id,
  balance_after_minor, account_version, refusal) values
  (:old, 0, 1, 1, 1004, 100, 30, 'g', 930, 2, 0), (:choice, 0, 2, 1, 1004, 20, 0, 'g', 980, 4, 0),
  (:choice, 1, 3, 1, 1004, 0, 5, 'g', 985, 5, 0), (:void, 0, 0, 3, 1004, 0, 0, '', 985, 0, 0),
  (:refused, 0, 1, 2, 1004, 5000, 0, 'g', 985, 0, 1);
insert into reversal (round_id, account_id, stake_minor, win_minor, balance_after_minor, account_version,
  actor, reason) values (:old, 1004, 100, 30, 1000, 3, 'a', 'r');
insert into posting (transaction_id, leg, account_id, counter_account_id, amount_minor) values
  (:transfer, 1, 1004, 1002, 1000), (:old, 1, 1004, 1000, -100), (:old, 2, 1004, 1000, 30),
  (:old, 3, 1004, 1000, -30), (:old, 4, 1004, 1000, 100), (:choice, 1, 1004, 1000, -20),
  (:choice, 2, 1004, 1000, 5);
insert into counter_checkpoint values (1000, 10);
insert into counter_tail (account_id, amount_minor) values (1000, 5), (1002, -1000);
"""


@pytest.fixture
def old_url(databases: Databases) -> Iterator[str]:
    """A wallet's database as it was before its tables were partitioned."""
    name = f"wallet_{uuid.uuid4().hex[:12]}"
    databases.server.create_role("wallet")
    url = databases.server.create_database("wallet", name)
    migrate("wallet", url, revision="0004")
    yield url
    databases.server.drop_database(name)


def execute(url: str, script: str, **values: str) -> None:
    """Statements of one transaction."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as conn:
        for statement in filter(str.strip, script.split(";")):
            conn.execute(text(statement), {k: v for k, v in values.items() if f":{k}" in statement})


def contents(url: str) -> dict[str, list[Any]]:
    """Every row of the tables and views, in some order."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as conn:
        return {
            table: sorted(map(repr, conn.execute(text(f"select {columns} from {table}"))))
            for table, columns in COLUMNS.items()
        }


async def test_every_row_stays_and_is_replayed(old_url: str) -> None:
    this_month = ms_of(month_at(0))
    ids = {name: id_at(this_month) for name in ("transfer", "choice", "void", "refused")}
    ids |= {"old": id_at(ms_of(month_at(-30))), "request": str(uuid.uuid4())}
    execute(old_url, ROWS, operator=OPERATOR, **ids)
    before = contents(old_url)
    assert all(before.values())

    migrate("wallet", old_url)
    assert contents(old_url) == before
    async with Wallet(old_url) as wallet:
        assert (await wallet.deposit(1004, 1000, request_id=ids["request"])).transfer.replayed
        answers = [
            await wallet.settle(1004, round_id=ids["old"], stake=100, win=30, game_id="g"),
            await wallet.settle(1004, round_id=ids["choice"], step=STAKE, stake=20, game_id="g"),
            await wallet.settle(1004, round_id=ids["choice"], step=PAYOUT, win=5, game_id="g"),
            await wallet.void(1004, ids["void"]),
        ]
        assert [answer.status for answer in answers] == [REVERSED, APPLIED, APPLIED, VOID]
        assert all(answer.replayed for answer in answers)
        assert (await wallet.roll_back(1004, ids["choice"])).account_version == 6
        await wallet.deposit(1004, 1)
        assert await wallet.balance(1004) == 1001
        async with wallet.engine.connect() as conn:
            await invariants.check_wallet(conn)


async def test_an_id_without_a_month_stops_the_migration(old_url: str) -> None:
    ids = {name: id_at(ms_of(month_at(0))) for name in ("transfer", "choice", "void", "refused", "old")}
    ids |= {"refused": id_at(ms_of(month_at(9))), "request": str(uuid.uuid4())}
    execute(old_url, ROWS, operator=OPERATOR, **ids)
    before = contents(old_url)
    with pytest.raises(IntegrityError, match="settlement"):
        migrate("wallet", old_url)
    assert contents(old_url) == before
