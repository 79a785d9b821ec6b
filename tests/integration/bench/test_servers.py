"""The bench's own PostgreSQL: durable, measured without the bench's questions, batches read from its rows."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.figures import Floor
from bench.floors import ITEMS, Floors
from bench.servers import PostgresServer, rows_per_transaction, transaction_id, value


@pytest.fixture(scope="module")
def postgres(postgres_directory: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(postgres_directory / "bench")
    server.start()
    yield server
    server.stop()


def test_commits_are_durable(postgres: PostgresServer) -> None:
    postgres.reader("postgres")
    assert set(postgres.durability().values()) == {"on"}


def test_the_bench_does_not_pay_for_its_own_questions(postgres: PostgresServer) -> None:
    reader = postgres.reader("postgres")
    before_s = postgres.cpu_s()
    # About 0.3 s of work for this backend; the others only idle.
    value(reader, "select count(*) from generate_series(1, 3000000)")
    assert postgres.cpu_s() - before_s < 0.1


def test_batch_sizes_are_read_from_the_transactions_that_wrote_the_rows(postgres: PostgresServer) -> None:
    reader = postgres.reader("postgres")
    reader.execute("create table written (n int)")
    reader.execute("insert into written select generate_series(1, 1000)")
    since = transaction_id(reader)
    for rows in (10, 20, 60):
        reader.execute("insert into written select generate_series(1, %s)", [rows])
    assert rows_per_transaction(reader, "written", since) == 30
    assert rows_per_transaction(reader, "written", transaction_id(reader)) == 0


def test_the_floors_run_the_statements_of_the_stores(postgres: PostgresServer) -> None:
    floors = Floors(postgres)
    floors.start()
    try:
        measured: list[Floor] = floors.measure(2, pass_no=1)
    finally:
        floors.stop()
    names = ["draw", "sql authorize", "sql play", "sql settle", "sql finish"]
    assert [floor.name for floor in measured] == names
    assert all(floor.client_us > 0 for floor in measured)
    for database, table in (
        ("floor_session", "spin_authorization"),
        ("floor_game", "round"),
        ("floor_game", "round_end"),
        ("floor_wallet", "settlement"),
    ):
        reader = postgres.reader(database)
        assert value(reader, f"select count(*) from {table}") == 2 * ITEMS
        assert rows_per_transaction(reader, table, 0) == ITEMS
    applied = "select count(*) from settlement where status = 1"
    assert value(postgres.reader("floor_wallet"), applied) == 2 * ITEMS
