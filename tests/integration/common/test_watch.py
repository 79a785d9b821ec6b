"""What a database says of itself and of its outbox, read now and then."""

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.common import db
from services.common import telemetry_names as names
from services.watching import database, watch
from services.watching.watch import Reading, Watch
from tests.integration.common.outboxes import SOURCE, Events, relay, write_rows
from tests.waiting import until


async def values(of: Watch) -> dict[str, float]:
    """What it reads now."""
    return {one.name: one.value for one in await of.read()}


async def age_rows(engine: AsyncEngine, *, seconds: int) -> None:
    """As if every row had been written so long ago."""
    async with engine.begin() as conn:
        await conn.execute(
            text("update outbox set create_time = clock_timestamp() - make_interval(secs => :seconds)"),
            {"seconds": seconds},
        )


async def test_an_outbox_is_as_old_as_its_oldest_row_that_waits(
    engine: AsyncEngine, events_engine: AsyncEngine
) -> None:
    events, of_outbox = Events(events_engine), database.outbox(engine, source=SOURCE)
    assert await values(of_outbox) == {names.OUTBOX_ROWS: 0, names.OUTBOX_AGE: 0}
    await write_rows(engine, 1, 2)
    await age_rows(engine, seconds=1000)
    await write_rows(engine, 3)
    for down in (None, OSError("away")):  # not numbered; then numbered, and not acknowledged
        waiting = await values(of_outbox)
        assert waiting[names.OUTBOX_ROWS] == 3 and 1000 <= waiting[names.OUTBOX_AGE] < 1200
        events.down = OSError("away")
        if down is None:
            with pytest.raises(OSError):
                await relay(engine, events).forward()
    events.down = None
    async with engine.begin() as conn:
        await conn.execute(text("update relay set lease_until = '-infinity'"))
    await relay(engine, events, keep_s=10_000).forward()
    async with engine.connect() as conn:
        assert (await conn.execute(text("select count(*) from outbox"))).scalar_one() == 3
    # Kept for those who compare: they do not wait.
    assert await values(of_outbox) == {names.OUTBOX_ROWS: 0, names.OUTBOX_AGE: 0}


async def test_a_transaction_left_open_and_a_deadlock_show(engine: AsyncEngine, source_url: str) -> None:
    of_database = database.database(engine)
    before = await values(of_database)
    assert before[names.DATABASE_DEADLOCKS] == 0 and before[names.DATABASE_SIZE] > 1_000_000
    assert 1 <= before[names.DATABASE_CONNECTIONS] < before[names.DATABASE_CONNECTIONS_MAX]
    async with engine.connect() as conn:
        await conn.execute(text("select pg_sleep(0.3)"))
        assert (await values(of_database))[names.DATABASE_TRANSACTION_AGE] >= 0.3
    await write_rows(engine, 1, 2)
    await deadlock(engine)

    async def counted() -> bool:
        """The server's processes report what they count when they have time."""
        return (await values(of_database))[names.DATABASE_DEADLOCKS] == 1

    await until(counted)


async def deadlock(engine: AsyncEngine) -> None:
    """Two transactions that each lock a row and then the other's."""
    both = asyncio.Barrier(2)

    async def lock(*outbox_ids: int) -> None:
        async with engine.connect() as conn:
            await conn.execute(text("set local lock_timeout = 0"))
            for outbox_id in outbox_ids:
                query = text("select from outbox where outbox_id = :outbox_id for update")
                await conn.execute(query, {"outbox_id": outbox_id})
                if outbox_id == outbox_ids[0]:
                    await both.wait()

    ended = await asyncio.gather(lock(1, 2), lock(2, 1), return_exceptions=True)
    assert [db.sqlstate(error) for error in ended if isinstance(error, Exception)] == ["40P01"]


@pytest.mark.parametrize(
    ("text", "interval_s"), [("", 60), ("5000", 5), ("a minute", 60), ("0", 60), ("-5", 60), ("nan", 60)]
)
def test_the_interval_is_that_of_the_sdk(
    text: str, interval_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", text)
    assert watch.export_interval_s() == interval_s


async def test_what_cannot_be_read_is_not_shown_and_looked_for_once_per_interval(
    engine: AsyncEngine, caplog: pytest.LogCaptureFixture
) -> None:
    stop, shown = asyncio.Event(), list[int]()

    async def read(conn: AsyncConnection) -> Sequence[Reading]:
        shown.append(len(of._readings))
        match len(shown):
            case 2:
                await conn.execute(text("select from nothing"))
            case 3:
                stop.set()
        return [Reading("reelmesh.tide", 1.0)]

    of = Watch(engine, read, gauges={"reelmesh.tide": "1"}, interval_s=0.01)
    await of.run(stop)
    # It runs on by itself: whoever starts it again after a crash would not wait for the interval.
    assert shown == [0, 1, 0] and of._readings
    assert [record.getMessage() for record in caplog.records] == ["watch failed"]
