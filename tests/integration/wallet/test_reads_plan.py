"""Reads of a wallet that holds 200,000 rounds: they read what they return, in the order of the indexes."""

import tracemalloc
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql.elements import TextClause

from services.common import db
from services.wallet.reads import sql as reads_sql
from services.wallet.reads import statements
from services.wallet.reads import store as reads_store
from services.wallet.records import MovementType, StatementQuery
from tests.databases import Databases
from tests.integration.wallet.harness import OPERATOR
from tests.integration.wallet.test_plan import nodes, prepared

ROUNDS, ACCOUNTS, BETWEEN_ROUNDS = 200_000, 1_000, timedelta(milliseconds=400)
ROUNDS_OF_ACCOUNT = ROUNDS // ACCOUNTS
PAGE_ROWS = 101
ALL_TYPES = "{1,2,3,4,5,6,7}"

# Round n is of account n % 1000; the last one was a moment ago. Every third one won.
_FILL = f"""
create temporary table made as
  select n, 6 + 2 * (n % {ACCOUNTS}) as account_id, 2 + n / {ACCOUNTS} as account_version,
    case when n % 3 = 0 then 50 else 0 end as win_minor, create_time,
    cast(lpad(to_hex(cast(extract(epoch from create_time) * 1000 as bigint)), 12, '0')
      || '70008000' || lpad(to_hex(n), 12, '0') as uuid) as round_id
  from generate_series(0, {ROUNDS - 1}) n cross join lateral (
    select now() - ({ROUNDS} - n) * interval '{BETWEEN_ROUNDS.microseconds} microseconds' as create_time) at;
insert into account (account_id, operator_id, currency_code, kind, type)
  values (2, '{OPERATOR}', 'EUR', 1, 2), (4, '{OPERATOR}', 'EUR', 1, 3);
insert into account (account_id, operator_id, player_id, currency_code, kind, type, house_account_id,
    cashier_account_id, balance_minor, version)
  select 6 + 2 * n, '{OPERATOR}', 'p' || n, 'EUR', 1, 1, 2, 4, 1000, {ROUNDS_OF_ACCOUNT + 1}
  from generate_series(0, {ACCOUNTS - 1}) n;
insert into transfer (transfer_id, operator_id, request_id, account_id, amount_minor, type,
    balance_after_minor, account_version, create_time)
  select (select round_id from made where n = 0), '{OPERATOR}', gen_random_uuid(), 6, 1000, 1, 1000, 1,
    (select min(create_time) from made);
insert into settlement (round_id, step_key, step, status, account_id, stake_minor, win_minor,
    balance_after_minor, account_version, create_time, game_id)
  select round_id, 0, 1, 1, account_id, 100, win_minor, 1000, account_version, create_time, 'g'
  from made order by n;
insert into posting (transaction_id, leg, account_id, counter_account_id, amount_minor)
  select round_id, 1, account_id, 2, -100 from made order by n;
insert into posting (transaction_id, leg, account_id, counter_account_id, amount_minor)
  select round_id, 2, account_id, 2, win_minor from made where win_minor > 0 order by n;
drop table made;
"""


class Reading(NamedTuple):
    """What a plan did: its kinds of nodes, and the rows that it took from tables."""

    kinds: set[str]
    rows: int


@pytest.fixture(scope="module")
def large_url(databases: Databases) -> Iterator[str]:
    """A wallet's database with that many rounds, as vacuum leaves it."""
    url = databases.create("wallet")
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as conn:
        conn.execute(_FILL)
        for table in ("account", "settlement", "transfer", "posting"):
            conn.execute(f"vacuum analyze {table}")
    yield url
    databases.drop(url)


@pytest.fixture
async def engine(large_url: str) -> AsyncIterator[AsyncEngine]:
    engine = db.create_engine(large_url, pool_size=1, application_name="plan", statement_timeout_ms=60_000)
    yield engine
    await engine.dispose()


async def read(conn: AsyncConnection, statement: TextClause, **values: object) -> Reading:
    """Runs the generic plan of a statement, and looks at what it did."""
    body, names = prepared(statement)
    await conn.exec_driver_sql("deallocate all")
    await conn.exec_driver_sql(f"prepare reading as {body}")
    arguments = ", ".join(f"'{values[name]}'" for name in names)
    result = await conn.exec_driver_sql(f"explain (analyze, format json) execute reading ({arguments})")
    [top] = result.scalar_one()
    taken = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
    found = list(nodes(top["Plan"]))
    scans = [node for node in found if "Relation Name" in node]
    rows = sum(node.get(key, 0) * node["Actual Loops"] for node in scans for key in taken)
    return Reading({node["Node Type"] for node in found}, rows)


def page(**changes: Any) -> dict[str, Any]:
    """A page from the middle of an account's statement."""
    whole = {"start_time": statements.BEGINNING, "end_time": statements.END, "types": ALL_TYPES}
    return {"account_id": 20, "version_after": 0, "version_before": 150, "rows_max": 50, **whole} | changes


async def test_a_page_of_a_statement_reads_a_page_of_rows_in_the_order_of_its_index(
    engine: AsyncEngine,
) -> None:
    async with engine.connect() as conn:
        found = await read(conn, reads_sql.LIST_MOVEMENTS, **page())
        assert "Merge Append" in found.kinds and not {"Sort", "Incremental Sort"} & found.kinds
        assert found.rows <= 50 + 2


async def test_without_its_index_it_reads_much_more(engine: AsyncEngine) -> None:
    async with engine.connect() as conn:
        await conn.exec_driver_sql("drop index settlement_statement")
        assert (await read(conn, reads_sql.LIST_MOVEMENTS, **page())).rows >= ROUNDS
        await conn.rollback()


async def test_a_statement_of_deposits_does_not_look_through_the_rounds(engine: AsyncEngine) -> None:
    async with engine.connect() as conn:
        found = await read(conn, reads_sql.LIST_MOVEMENTS, **page(account_id=6, types="{5,6}"))
        assert found.rows == 1


async def test_a_time_is_found_without_looking_through_the_account(engine: AsyncEngine) -> None:
    """Of the 22 hours that the account was played, half an hour is read, and an hour before and after it."""
    async with engine.connect() as conn:
        query = StatementQuery(
            operator_id=OPERATOR,
            account_id=20,
            start_time=await ago(conn, hours=15),
            end_time=await ago(conn, hours=14.5),
            types=tuple(MovementType),
        )
        asked: dict[str, Any] = {}

        async def list_movements(conn: AsyncConnection, **values: Any) -> list[Any]:
            asked.update(values)
            return []

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reads_store, "list_movements", list_movements)
            await statements.list_movements(conn, query, version_before=None, rows_max=PAGE_ROWS)
        found = await read(conn, reads_sql.LIST_MOVEMENTS, **asked | {"types": ALL_TYPES})
        assert 4 <= found.rows <= ROUNDS_OF_ACCOUNT * 3 / 22
        steps = await read(
            conn, reads_sql.FIND_VERSION, account_id=20, time=query.start_time, margin=timedelta()
        )
        # Every step of the search looks at one row of each table, and returns the lowest.
        assert steps.rows <= 1 + 3 * (ROUNDS_OF_ACCOUNT.bit_length() + 1)


async def test_a_day_is_read_by_its_time(engine: AsyncEngine) -> None:
    async with engine.connect() as conn:
        day = {
            "operator_id": OPERATOR,
            "start_time": await ago(conn, hours=15),
            "end_time": await ago(conn, hours=14),
            "currency_code": "",
        }
        rounds = timedelta(hours=1) / BETWEEN_ROUNDS
        found = await read(conn, reads_sql.DAILY_TOTALS, **day)
        # Each round, its one or two postings, and what else is on the pages that the index names.
        assert rounds * 2 < found.rows < ROUNDS / 4
        for index in ("settlement_time", "settlement_statement"):
            await conn.exec_driver_sql(f"drop index {index}")
        assert (await read(conn, reads_sql.DAILY_TOTALS, **day)).rows > ROUNDS
        await conn.rollback()


async def test_a_transaction_is_read_by_its_id(engine: AsyncEngine) -> None:
    async with engine.connect() as conn:
        round_id = (
            await conn.exec_driver_sql("select round_id from settlement limit 1 offset 777")
        ).scalar_one()
        for statement in (reads_sql.LIST_STEPS, reads_sql.LIST_POSTINGS):
            assert 1 <= (await read(conn, statement, transaction_id=round_id)).rows <= 3


async def test_a_day_is_written_in_constant_memory(engine: AsyncEngine) -> None:
    async with engine.connect() as conn:
        start_time, end_time = await ago(conn, hours=15), await ago(conn, hours=14)
        count, peak = 0, 0
        tracemalloc.start()
        try:
            async for _ in reads_store.stream_day(
                conn, operator_id=OPERATOR, start_time=start_time, end_time=end_time, currency_code=""
            ):
                count += 1
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    # All rows at once are 20 MB and more.
    assert count > 20_000
    assert peak < 5_000_000


async def ago(conn: AsyncConnection, *, hours: float) -> datetime:
    """A time before the last round."""
    last: datetime = (await conn.exec_driver_sql("select max(create_time) from settlement")).scalar_one()
    return last - timedelta(hours=hours)
