"""A service's database and its outbox, as gauges."""

from collections.abc import Iterable, Sequence
from typing import Any

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from sqlalchemy import QueuePool, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.common import telemetry_names as names
from services.common.service import Runtime
from services.watching.watch import Reading, Watch

# Another role's transactions do not show, nor need they: a service has one role, and a database of its own.
_DATABASE = text("""
select (select sum(numbackends) from pg_stat_database), cast(current_setting('max_connections') as integer),
  coalesce((select extract(epoch from clock_timestamp() - min(xact_start)) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()), 0),
  pg_database_size(current_database()), deadlocks
from pg_stat_database where datname = current_database()""")

# Numbered rows are few; of the others one counts up to a million, so that the worst day can still be read.
# An acknowledged row may stay for a while (outbox.py): it does not wait.
_OUTBOX = text("""
with acked as (
  select coalesce((select batch_no_acked from relay where source = :source), 0) as batch_no),
numbered as (
  select count(*) as rows, min(create_time) as create_time
  from outbox where batch_no > (select batch_no from acked)),
others as (
  select (select count(*) from (select from outbox where batch_no is null limit 1000000) o) as rows,
    (select create_time from outbox where batch_no is null order by outbox_id limit 1) as create_time)
select numbered.rows + others.rows,
  coalesce(extract(epoch from clock_timestamp() - least(numbered.create_time, others.create_time)), 0)
from numbered, others""")


def start(runtime: Runtime[Any], *watches: Watch, source: str = "") -> None:
    """Watches the service's pool and database, the outbox of a `source`, and what the service adds."""
    engine = runtime.engine
    runtime.observe(Pool(engine, name=runtime.service))
    of_outbox = [outbox(engine, source=source)] if source else []
    for watch in (database(engine), *of_outbox, *watches):
        if runtime.observe(watch):
            runtime.background("watch", watch.run)


def database(engine: AsyncEngine) -> Watch:
    """Connections, oldest transaction, size and deadlocks of the engine's database and its server."""
    attributes = {names.DB_NAMESPACE: engine.url.database or ""}
    shown = (
        names.DATABASE_CONNECTIONS,
        names.DATABASE_CONNECTIONS_MAX,
        names.DATABASE_TRANSACTION_AGE,
        names.DATABASE_SIZE,
        names.DATABASE_DEADLOCKS,
    )

    async def read(conn: AsyncConnection) -> Sequence[Reading]:
        values = (await conn.execute(_DATABASE)).one()
        return [Reading(name, float(value), attributes) for name, value in zip(shown, values, strict=True)]

    units = ("{connection}", "{connection}", "s", "By")
    return Watch(
        engine,
        read,
        gauges=dict(zip(shown, units, strict=False)),
        counters={names.DATABASE_DEADLOCKS: "{deadlock}"},
    )


def outbox(engine: AsyncEngine, *, source: str) -> Watch:
    """What waits in a source's outbox, and for how long."""
    attributes = {names.MESSAGING_DESTINATION: source}

    async def read(conn: AsyncConnection) -> Sequence[Reading]:
        rows, age_s = (await conn.execute(_OUTBOX, {"source": source})).one()
        return [
            Reading(names.OUTBOX_ROWS, rows, attributes),
            Reading(names.OUTBOX_AGE, float(age_s), attributes),
        ]

    return Watch(engine, read, gauges={names.OUTBOX_ROWS: "{row}", names.OUTBOX_AGE: "s"})


class Pool:
    """The connections of an engine's pool; nothing is asked of the database."""

    def __init__(self, engine: AsyncEngine, *, name: str) -> None:
        """`name`: the pool's in its metrics."""
        assert isinstance(engine.pool, QueuePool)
        self._pool, self._attributes = engine.pool, {names.DB_CLIENT_CONNECTION_POOL_NAME: name}

    def observe_with(self, meter: Meter) -> None:
        """Registers both metrics."""

        def count(options: CallbackOptions) -> Iterable[Observation]:
            for state, value in (("used", self._pool.checkedout()), ("idle", self._pool.checkedin())):
                yield Observation(value, {**self._attributes, names.DB_CLIENT_CONNECTION_STATE: state})

        def most(options: CallbackOptions) -> Iterable[Observation]:
            yield Observation(self._pool.size(), self._attributes)

        unit = "{connection}"
        meter.create_observable_up_down_counter(names.DB_CLIENT_CONNECTION_COUNT, [count], unit=unit)
        meter.create_observable_up_down_counter(names.DB_CLIENT_CONNECTION_MAX, [most], unit=unit)
