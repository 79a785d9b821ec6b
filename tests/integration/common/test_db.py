"""The database: what a transaction leaves, what its errors mean, how it is migrated."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator

import psycopg
import pytest
from alembic.util.exc import CommandError
from sqlalchemy import exc, text
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.local.databases import Server
from services.common import db, telemetry_names
from services.common.errors import Internal, Unavailable
from services.common.migrate import migrate
from services.tracing import logs
from tests.spans import Kept, shown


async def numbers(engine: AsyncEngine) -> list[int]:
    async with engine.connect() as conn:
        return list((await conn.execute(text("select n from number order by n"))).scalars())


@pytest.fixture
async def table(engine: AsyncEngine) -> None:
    async with engine.begin() as conn:
        await conn.execute(text("create table number (n int primary key check (n > 0))"))


INSERT = text("insert into number values (:n)")


@pytest.mark.usefixtures("table")
async def test_a_transaction_is_committed_whole_or_not_at_all(engine: AsyncEngine) -> None:
    async with db.transaction(engine, "insert") as conn:
        await conn.execute(INSERT, {"n": 1})
        await conn.execute(INSERT, {"n": 2})
    with pytest.raises(KeyError):
        async with db.transaction(engine, "insert") as conn:
            await conn.execute(INSERT, {"n": 3})
            raise KeyError
    assert await numbers(engine) == [1, 2]


@pytest.mark.usefixtures("table")
async def test_a_cancelled_transaction_leaves_nothing_and_gives_its_connection_back(
    engine: AsyncEngine,
) -> None:
    inserted = asyncio.Event()

    async def insert() -> None:
        async with db.transaction(engine, "insert") as conn:
            await conn.execute(INSERT, {"n": 1})
            inserted.set()
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(insert())]
    await inserted.wait()
    tasks[0].cancel()
    await asyncio.wait(tasks)
    assert await numbers(engine) == []
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]


@pytest.mark.usefixtures("table")
async def test_a_row_to_blame_is_a_data_error_and_its_values_are_not_shown(
    engine: AsyncEngine, spans: Kept
) -> None:
    for n, state in ((-4711, "23514"), (2**40, "22003")):
        with pytest.raises(exc.DBAPIError) as failed:
            async with db.transaction(engine, "insert") as conn:
                await conn.execute(INSERT, {"n": n})
        assert db.sqlstate(failed.value) == state
        assert db.is_data_error(failed.value) and not db.is_connection_error(failed.value)
        assert isinstance(db.translate(failed.value), Internal)
        span = spans.finished[-1]
        assert span.name == "insert"
        assert span.attributes[telemetry_names.DB_STATUS_CODE] == state
        assert str(n).encode() not in shown(span)


async def test_a_failing_statement_s_text_and_log_do_not_show_its_parameters(
    engine: AsyncEngine, caplog: pytest.LogCaptureFixture
) -> None:
    secrets = {"token": "st_not-for-logs", "win_minor": 424_242}
    for statement, rows in (
        ("select cast(:token as text), cast(:win_minor as bigint) / 0", secrets),
        ("insert into absent values (:token, :win_minor)", [secrets, secrets]),
    ):
        with pytest.raises(exc.DBAPIError) as failed:
            async with db.transaction(engine, "test") as conn:
                await conn.execute(text(statement), rows)
        logging.getLogger(__name__).error("it failed: %s", failed.value, exc_info=failed.value)
        line = logs.LogFormatter("session", "json").format(caplog.records[-1])
        for shown_text in (str(failed.value), repr(failed.value), line):
            assert "DivisionByZero" in shown_text or "UndefinedTable" in shown_text
            assert not [secret for secret in secrets.values() if str(secret) in shown_text]


async def test_a_database_that_is_away_slow_or_full_is_unavailable(engine: AsyncEngine) -> None:
    away = db.create_engine(
        str(engine.url.set(port=1).render_as_string(hide_password=False)),
        pool_size=1,
        application_name="test",
    )
    slow = db.create_engine(
        engine.url.render_as_string(hide_password=False),
        pool_size=1,
        application_name="test",
        statement_timeout_ms=50,
    )
    for tried, statement in ((away, "select 1"), (slow, "select pg_sleep(5)")):
        with pytest.raises(exc.OperationalError) as failed:
            async with db.transaction(tried, "test") as conn:
                await conn.execute(text(statement))
        assert db.is_connection_error(failed.value) and not db.is_data_error(failed.value)
        assert isinstance(db.translate(failed.value), Unavailable)
        await tried.dispose()
    for error in (exc.TimeoutError(), ConnectionRefusedError(), psycopg.errors.DeadlockDetected()):
        assert db.is_connection_error(error)
    for other in (KeyError(), psycopg.errors.SyntaxError(), psycopg.errors.UniqueViolation()):
        assert not db.is_connection_error(other)


async def test_a_connection_that_was_killed_in_the_pool_is_not_handed_out(engine: AsyncEngine) -> None:
    async with engine.connect() as conn:
        pid = (await conn.execute(text("select pg_backend_pid()"))).scalar_one()
    other = db.create_engine(
        engine.url.render_as_string(hide_password=False), pool_size=1, application_name="killer"
    )
    async with other.connect() as conn:
        await conn.execute(text("select pg_terminate_backend(:pid, 2000)"), {"pid": pid})
    await other.dispose()
    async with db.transaction(engine, "test") as conn:
        assert (await conn.execute(text("select pg_backend_pid()"))).scalar_one() != pid


async def test_connections_have_the_settings_that_the_code_relies_on(engine: AsyncEngine) -> None:
    wanted = {
        "transaction_isolation": "read committed",
        "plan_cache_mode": "force_generic_plan",
        "statement_timeout": "2s",
        "lock_timeout": "1s",
        "idle_in_transaction_session_timeout": "5s",
        "application_name": "session",
    }
    async with engine.connect() as conn:
        for name, value in wanted.items():
            assert (await conn.execute(text(f"show {name}"))).scalar_one() == value


@pytest.fixture
def empty_database(server: Server) -> Iterator[Callable[[str], str]]:
    """`empty_database(service)` is the URL of a new database without a table."""
    names: list[str] = []

    def create(service: str) -> str:
        server.create_role(service)
        names.append(f"empty_{service}_{len(names)}")
        return server.create_database(service, names[-1])

    yield create
    for name in names:
        server.drop_database(name)


@pytest.mark.parametrize("service", ["session", "wallet", "game", "events", "gateway"])
async def test_two_migrators_at_once_and_a_third_later_leave_one_schema(
    empty_database: Callable[[str], str], service: str
) -> None:
    url = empty_database(service)
    await asyncio.gather(*(asyncio.to_thread(run_migrate, service, url) for _ in range(2)))
    run_migrate(service, url)
    with psycopg.connect(url.replace("+psycopg", "")) as conn:
        versions = conn.execute("select version_num from alembic_version").fetchall()
        tables = {
            row[0] for row in conn.execute("select tablename from pg_tables where schemaname = 'public'")
        }
    assert len(versions) == 1
    assert tables > ({"event", "log_head"} if service == "events" else {"outbox", "relay"})


def test_a_schema_of_a_newer_version_is_left_as_it_is(empty_database: Callable[[str], str]) -> None:
    """After a rollback the version before applies its Job again (docs/kubernetes/upgrade.md)."""
    url = empty_database("session")
    migrate("session", url)
    with psycopg.connect(url.replace("+psycopg", "")) as conn:
        conn.execute("update alembic_version set version_num = '9999'")
    migrate("session", url)
    with psycopg.connect(url.replace("+psycopg", "")) as conn:
        assert conn.execute("select version_num from alembic_version").fetchall() == [("9999",)]
        # One that was never ours is another matter.
        conn.execute("update alembic_version set version_num = '0000'")
    with pytest.raises(CommandError, match="0000"):
        migrate("session", url)


def run_migrate(service: str, url: str) -> None:
    """In a process of its own, as deployments do."""
    code = "import sys; from services.common.migrate import migrate; migrate(*sys.argv[1:])"
    subprocess.run(
        [sys.executable, "-c", code, service, url], check=True, timeout=60, env={"PYTHONPATH": ".:gen"}
    )


def test_an_unknown_service_is_named() -> None:
    with pytest.raises(SystemExit, match="no service 'casino'"):
        migrate("casino", "postgresql+psycopg://nowhere/x")
