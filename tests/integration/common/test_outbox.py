"""The relay: every outbox row reaches the events service as one batch, once, in order, gapless."""

import asyncio
import logging
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common.errors import Unavailable
from tests.integration.common.outboxes import (
    Events,
    expire_lease,
    outbox,
    relay,
    stored,
    to_events,
    until_empty,
    write,
    write_rows,
)


async def test_every_row_becomes_one_batch_and_leaves_the_outbox(
    engine: AsyncEngine, events_engine: AsyncEngine
) -> None:
    events = Events(events_engine)
    async with engine.begin() as conn:
        await write(conn, 1, 2)
        await write(conn, 3)
    assert await relay(engine, events).forward()
    assert events.requests == [[(1, 2), (2, 1)]]
    assert await stored(events_engine) == [(1, 1), (1, 2), (2, 3)]
    assert await outbox(engine) == []
    assert not await relay(engine, events).forward()


async def test_numbers_go_on_where_the_last_relay_stopped(
    engine: AsyncEngine, events_engine: AsyncEngine
) -> None:
    for number in range(3):
        await write_rows(engine, number)
        await expire_lease(engine)
        assert await relay(engine, Events(events_engine)).forward()
    assert await stored(events_engine) == [(1, 0), (2, 1), (3, 2)]


@pytest.mark.parametrize("poll_by_seq", [False, True])
async def test_a_row_that_commits_late_is_not_passed_over(
    engine: AsyncEngine, events_engine: AsyncEngine, poll_by_seq: bool
) -> None:
    """Trap 9: the lower id becomes visible after the higher one was forwarded."""
    one = relay(engine, Events(events_engine), poll_by_seq=poll_by_seq)
    async with engine.connect() as slow:
        await write(slow, 1)
        await write_rows(engine, 2)
        assert await one.forward()
        await slow.commit()
    await one.forward()
    if poll_by_seq:
        assert await stored(events_engine) == [(1, 2)]
        assert len(await outbox(engine)) == 1
    else:
        assert await stored(events_engine) == [(1, 2), (2, 1)]


async def test_a_row_that_was_rolled_back_leaves_no_gap(
    engine: AsyncEngine, events_engine: AsyncEngine
) -> None:
    await write_rows(engine, 1)
    async with engine.connect() as conn:
        await write(conn, 2)
        await conn.rollback()
    await write_rows(engine, 3)
    assert await relay(engine, Events(events_engine)).forward()
    assert await stored(events_engine) == [(1, 1), (2, 3)]


async def test_two_relays_of_one_source_forward_each_row_once(
    engine: AsyncEngine, events_engine: AsyncEngine
) -> None:
    """Their lease is torn from whoever has it all the time, while three writers commit out of order."""
    events, stop = Events(events_engine), asyncio.Event()
    relays = [asyncio.create_task(relay(engine, events, interval_ms=2).run(stop)) for _ in range(2)]

    async def write_slowly(first: int) -> None:
        for number in range(first, first + 40):
            async with engine.begin() as conn:
                await write(conn, number)
                await asyncio.sleep(0.001 * (number % 5))

    writers = [asyncio.create_task(write_slowly(first)) for first in (0, 40, 80)]
    while not all(writer.done() for writer in writers):
        await expire_lease(engine)
        await asyncio.sleep(0.005)
    await asyncio.gather(*writers)
    await until_empty(engine)
    stop.set()
    await asyncio.gather(*relays)
    found = await stored(events_engine)
    assert [batch_no for batch_no, _ in found] == list(range(1, 121))
    assert sorted(number for _, number in found) == list(range(120))


async def test_only_the_holder_of_the_lease_numbers_rows(
    engine: AsyncEngine, events_engine: AsyncEngine
) -> None:
    events = Events(events_engine)
    holder, other = relay(engine, events), relay(engine, events)
    await write_rows(engine, 1)
    assert await holder.forward()
    await write_rows(engine, 2)
    assert not await other.forward()
    assert [batch_no for _, batch_no in await outbox(engine)] == [None]
    await expire_lease(engine)
    assert await other.forward()
    assert await stored(events_engine) == [(1, 1), (2, 2)]


@pytest.mark.parametrize("arbiter", [True, False])
async def test_a_stopped_then_continued_relay_doubles_nothing(
    engine: AsyncEngine, events_engine: AsyncEngine, arbiter: bool
) -> None:
    """Trap 8: it wakes up behind its lease with a request in its hand, at a service that knows an old end."""
    slow_events, events = Events(events_engine, arbiter=arbiter), Events(events_engine, arbiter=arbiter)
    slow = relay(engine, slow_events)
    await write_rows(engine, 0)
    assert await slow.forward()
    await write_rows(engine, 1, 2)
    slow_events.gate.clear()
    slow_events.arrived.clear()
    stopped = asyncio.create_task(slow.forward())
    await slow_events.arrived.wait()
    await expire_lease(engine)
    successor = relay(engine, events)
    assert await successor.forward()
    await write_rows(engine, 3)
    assert await successor.forward()
    slow_events.gate.set()
    assert await stopped
    # The same rows under the same numbers came twice.
    assert events.requests[0] == slow_events.requests[1] == [(2, 1), (3, 1)]
    once = [(1, 0), (2, 1), (3, 2), (4, 3)]
    assert await stored(events_engine) == (once if arbiter else [*once, (2, 1), (3, 2)])
    if arbiter:
        await write_rows(engine, 4)
        assert await successor.forward()
        assert (await stored(events_engine))[-1] == (5, 4)


async def test_an_outage_of_events_loses_nothing_and_is_logged_once(
    engine: AsyncEngine, events_engine: AsyncEngine, caplog: pytest.LogCaptureFixture
) -> None:
    events, stop = Events(events_engine), asyncio.Event()
    events.down = Unavailable()
    running = asyncio.create_task(relay(engine, events, interval_ms=5).run(stop))
    with caplog.at_level(logging.WARNING, "services.common.outbox"):
        await write_rows(engine, 1, 2, 3)
        async with asyncio.timeout(10):
            while not caplog.records:  # noqa: ASYNC110 - another task logs
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        events.down = None
        await until_empty(engine)
    stop.set()
    await running
    assert len(caplog.records) == 1
    assert [number for _, number in await stored(events_engine)] == [1, 2, 3]


async def test_an_outage_costs_the_service_one_row_an_attempt(
    engine: AsyncEngine, events_engine: AsyncEngine
) -> None:
    """And when it is over, everything goes as fast as ever."""
    events, stop, made = Events(events_engine), asyncio.Event(), list[int]()

    async def counted(conn: Any, rows: Any) -> Any:
        made.append(len(rows))
        return await to_events(conn, rows)

    events.down = Unavailable()
    await write_rows(engine, *range(120))
    running = asyncio.create_task(relay(engine, events, interval_ms=1, to_events=counted).run(stop))
    async with asyncio.timeout(20):
        while len(made) < 5:  # noqa: ASYNC110 - another task makes them
            await asyncio.sleep(0.01)
        assert made[:1] == [50] and set(made[1:]) == {1}
        events.down = None
        await until_empty(engine)
    stop.set()
    await running
    assert [len(request) for request in events.requests][:3] == [1, 50, 50]
    assert [number for _, number in await stored(events_engine)] == list(range(120))


async def test_large_batches_go_in_several_messages(engine: AsyncEngine, events_engine: AsyncEngine) -> None:
    events = Events(events_engine)
    async with engine.begin() as conn:
        for number in range(5):
            await write(conn, number, pad="x" * 400_000)
    assert await relay(engine, events).forward()
    assert [[batch_no for batch_no, _ in request] for request in events.requests] == [[1, 2], [3, 4], [5]]
    assert await outbox(engine) == []


async def test_a_row_without_events_is_an_error_and_stays(
    engine: AsyncEngine, events_engine: AsyncEngine
) -> None:
    async with engine.begin() as conn:
        await write(conn)
    with pytest.raises(ValueError, match="made no event"):
        await relay(engine, Events(events_engine)).forward()
    assert len(await outbox(engine)) == 1


async def test_what_to_events_reads_is_read_outside_of_the_numbering(
    engine: AsyncEngine, events_engine: AsyncEngine
) -> None:
    """A crash while the events are made leaves the number: the next relay sends the same batch."""
    await write_rows(engine, 1)

    async def crash(*_: object) -> list[list[object]]:
        raise RuntimeError("crash")

    with pytest.raises(RuntimeError):
        await relay(engine, Events(events_engine), to_events=crash).forward()
    assert [batch_no for _, batch_no in await outbox(engine)] == [1]
    await write_rows(engine, 2)
    await expire_lease(engine)
    events = Events(events_engine)
    assert await relay(engine, events, to_events=to_events).forward()
    assert events.requests == [[(1, 1), (2, 1)]]
