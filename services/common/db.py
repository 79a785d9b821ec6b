"""The database: one engine per process, two ways to open a transaction, what its errors mean."""

import re
import select
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from opentelemetry.trace import Link, Span, SpanKind
from psycopg.pq import TransactionStatus
from sqlalchemy import TextClause, event, exc
from sqlalchemy.dialects.postgresql import psycopg as psycopg_dialect
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from services.common import failpoints, telemetry
from services.common import telemetry_names as names
from services.common.errors import DomainError, Internal, Unavailable

SERVICES = Path(__file__).parents[1]
CONNECT_TIMEOUT_S = 2
POOL_TIMEOUT_S = 2
# Above the tests' longest hold; a client that went away in a transaction must not keep its row locks.
IDLE_IN_TRANSACTION_TIMEOUT_MS = 5000
LOCK_TIMEOUT_MS = 1000

# Connection lost, resources short, server stopping, deadlock and serialisation victims, lock time-out:
# the same statement with the same ids may be sent again.
_AGAIN_CLASSES = ("08", "53", "57")
_AGAIN_STATES = ("25P02", "25P03", "40001", "40P01", "55P03")


def create_engine(
    url: str, *, pool_size: int, application_name: str, statement_timeout_ms: int = 2000
) -> AsyncEngine:
    """An engine at READ COMMITTED; `url` starts with postgresql+psycopg://. Connects at first use.

    Generic plans from the first execution: re-planning a statement of many CTEs costs about 1 ms a batch.
    """
    settings = {
        "default_transaction_isolation": r"read\ committed",
        "plan_cache_mode": "force_generic_plan",
        "statement_timeout": statement_timeout_ms,
        "lock_timeout": LOCK_TIMEOUT_MS,
        "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_TIMEOUT_MS,
    }
    arguments = {
        "application_name": application_name,
        "connect_timeout": CONNECT_TIMEOUT_S,
        "prepare_threshold": 0,
        "options": " ".join(f"-c {key}={value}" for key, value in settings.items()),
    }
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_S,
        pool_recycle=900,
        # The connection used last is the one whose server process is warm.
        pool_use_lifo=True,
        # Parameters may hold an outcome (R2) or a token: never in an exception's text.
        hide_parameters=True,
        connect_args=arguments,
    )
    event.listen(engine.sync_engine, "checkout", _refuse_dead)
    _lanes[engine] = _Lane(engine, arguments)
    return engine


def _refuse_dead(connection: Any, record: object, proxy: object) -> None:
    """Has the pool connect anew where the server hung up meanwhile."""
    if _hung_up(connection.driver_connection):
        raise exc.DisconnectionError


def _hung_up(driver: psycopg.AsyncConnection[Any]) -> bool:
    """Whether the server ended a connection that lay idle.

    It has nothing to read but its end. Asking the kernel costs 3 us; a ping is a round trip, and half of what
    a batch's transaction cost beside its statement (docs/performance.md).
    """
    if driver.closed:
        return True
    poll = select.poll()
    poll.register(driver.fileno(), select.POLLIN)
    return bool(poll.poll(0))


class _Lane:
    """Connections beside the pool for what many spins wait for: the pool's check-out costs 0.1 ms each time.

    They commit by themselves. There are as many as statements were ever in flight at once: one per batcher.
    """

    def __init__(self, engine: AsyncEngine, arguments: Mapping[str, Any]) -> None:
        _, address = engine.dialect.create_connect_args(engine.url)
        self._arguments = {**address, **arguments, "autocommit": True}
        self._idle: list[psycopg.AsyncConnection[Any]] = []
        self._disposals = 0
        event.listen(engine.sync_engine, "engine_disposed", self._dispose)

    @asynccontextmanager
    async def driver(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A connection that nobody else has. Errors: as psycopg's connect."""
        disposals, driver = self._disposals, self._idle.pop() if self._idle else None
        if driver is not None and _hung_up(driver):
            driver.pgconn.finish()
            driver = None
        if driver is None:
            driver = await psycopg.AsyncConnection.connect(**self._arguments)
        try:
            yield driver
        finally:
            # One that was left in the middle of something, or belongs to an engine that has ended, goes.
            if disposals == self._disposals and driver.info.transaction_status == TransactionStatus.IDLE:
                self._idle.append(driver)
            else:
                driver.pgconn.finish()

    def _dispose(self, engine: object) -> None:
        self._disposals += 1
        idle, self._idle = self._idle, []
        for driver in idle:
            driver.pgconn.finish()


_lanes: WeakKeyDictionary[AsyncEngine, _Lane] = WeakKeyDictionary()


def schema_version(service: str) -> str:
    """The newest migration that this build of the service brings; they sort as text ("0001", "0002")."""
    versions = (SERVICES / service / "migrations" / "versions").glob("[0-9]*.py")
    return max((path.name.partition("_")[0] for path in versions), default="")


class HotConnection:
    """A connection of the driver, beside the pool: for statements that many spins wait for.

    Rows are plain tuples, errors the driver's own. SQLAlchemy's execution would cost 0.5 ms a statement.
    """

    def __init__(self, driver: psycopg.AsyncConnection[Any]) -> None:
        self._driver = driver

    async def execute(
        self, statement: TextClause, parameters: Mapping[str, Any] | None = None
    ) -> list[tuple[Any, ...]]:
        """All rows of a statement that is a constant of its module: it is compiled once and kept."""
        cursor = await self._driver.execute(_driver_text(statement), parameters or {})
        return await cursor.fetchall() if cursor.description else []


Connection = AsyncConnection | HotConnection


@cache
def _driver_text(statement: TextClause) -> bytes:
    # Without comments and margins: shorter on the wire, and short enough for the driver to cache its parse.
    compiled = str(statement.compile(dialect=psycopg_dialect.dialect()))  # type: ignore[no-untyped-call]
    lines = [line.strip() for line in re.sub(r"(?m)^\s*--.*$", "", compiled).splitlines()]
    return "\n".join(filter(None, lines)).encode()


@asynccontextmanager
async def transaction(
    engine: AsyncEngine, name: str, *, links: Sequence[Link] | None = None
) -> AsyncIterator[AsyncConnection]:
    """BEGIN, the block, COMMIT; rolled back when the block raises. `name` names its span and its failpoints.

    An error out of COMMIT leaves the outcome unknown: whoever repeats it repeats the same ids.
    """
    async with _spanned(engine, name, links):
        async with engine.connect() as connection:
            yield connection
            await failpoints.reach("before_commit", name)
            await connection.commit()
        await failpoints.reach("after_commit", name)


@asynccontextmanager
async def hot_transaction(
    engine: AsyncEngine, name: str, *, links: Sequence[Link] | None = None
) -> AsyncIterator[HotConnection]:
    """The same for a batch: what runs in it are HotConnection's statements, constants all of them."""
    async with _spanned(engine, name, links):
        async with _lanes[engine].driver() as driver, driver.transaction():
            yield HotConnection(driver)
            await failpoints.reach("before_commit", name)
        await failpoints.reach("after_commit", name)


@asynccontextmanager
async def hot_statements(
    engine: AsyncEngine, name: str, *, links: Sequence[Link] | None = None
) -> AsyncIterator[HotConnection]:
    """The same for statements of which each may stand alone: it commits by itself, two round trips less.

    A statement that fails undoes itself only. Where a failpoint is armed all of them are one transaction, so
    that there is a moment before its commit: what a kill may leave behind is the same.
    """
    if failpoints.armed():
        async with hot_transaction(engine, name, links=links) as connection:
            yield connection
        return
    async with _spanned(engine, name, links), _lanes[engine].driver() as driver:
        yield HotConnection(driver)


@asynccontextmanager
async def _spanned(engine: AsyncEngine, name: str, links: Sequence[Link] | None) -> AsyncIterator[Span]:
    attributes = {names.DB_SYSTEM: "postgresql", names.DB_QUERY_SUMMARY: name}
    attributes[names.DB_NAMESPACE] = engine.url.database or ""
    with telemetry.span(name, kind=SpanKind.CLIENT, links=links, attributes=attributes) as span:
        try:
            yield span
        except Exception as error:
            state = sqlstate(error)
            if state is not None:
                span.set_attribute(names.DB_STATUS_CODE, state)
            raise


def sqlstate(error: BaseException) -> str | None:
    """The five characters that PostgreSQL answered; None when it did not answer, or for another error."""
    cause = error.orig if isinstance(error, exc.DBAPIError) else error
    return cause.sqlstate if isinstance(cause, psycopg.Error) else None


def is_data_error(error: BaseException) -> bool:
    """Whether the values of some row are to blame (class 22 and 23): the same statement would fail again."""
    return (sqlstate(error) or "").startswith(("22", "23"))


def is_connection_error(error: BaseException) -> bool:
    """Whether the database did not answer, was too slow or asks to try again; what took effect is unknown."""
    if isinstance(error, exc.TimeoutError | OSError):
        return True
    cause = error.orig if isinstance(error, exc.DBAPIError) else error
    if not isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError | psycopg.InternalError):
        return False
    state = cause.sqlstate
    return state is None or state.startswith(_AGAIN_CLASSES) or state in _AGAIN_STATES


def first_line(error: exc.DBAPIError) -> str:
    """What the driver said, for a command that ends with it."""
    return str(error.orig).splitlines()[0]


def translate(error: BaseException) -> DomainError:
    """What a caller is told: the error itself, UNAVAILABLE for a database that is away, else INTERNAL."""
    if isinstance(error, DomainError):
        return error
    return Unavailable() if is_connection_error(error) else Internal()
