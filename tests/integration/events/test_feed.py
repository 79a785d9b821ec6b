"""Subscribe: nothing is left out and nothing doubled, whatever breaks; a slow reader costs nobody a thing."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from reelmesh.events.v1 import events_pb2
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common.errors import DomainError, Unavailable
from services.events import messages, store
from services.events.log import Log
from services.events.messages import parse_batches
from services.events.records import EventFilter
from tests.integration.events.served import Served, served
from tests.integration.events.test_archive import NEXT, OLD, archived, lay_days, position_of
from tests.integration.events.written import Clock, batch, event

ROUND = "0192f0c1-1111-7000-8000-00000000000a"


@pytest.fixture
async def service(engine: AsyncEngine) -> AsyncIterator[Served]:
    async with served(engine) as one:
        yield one


def subscribe(service: Served, **request: Any) -> AsyncGenerator[events_pb2.SubscribeResponse]:
    wanted = events_pb2.SubscribeRequest(**{"operator_id": "acme", **request})
    # The stubs say only that it iterates; ours can be closed, too.
    return cast(AsyncGenerator[events_pb2.SubscribeResponse], service.stub().Subscribe(wanted))


async def take(stream: Any, count: int) -> list[events_pb2.Event]:
    """So many events, or more, of the stream; then it is left."""
    found: list[events_pb2.Event] = []
    async with asyncio.timeout(20), aclosing(stream):
        async for response in stream:
            found += response.events
            if len(found) >= count:
                break
    return found


async def following(stream: Any) -> list[events_pb2.Event]:
    """The next events of the stream, behind any heartbeats."""
    async for response in stream:
        if response.events:
            return list(response.events)
    raise AssertionError("the stream ended")


async def refusal(stream: Any) -> DomainError:
    with pytest.raises(DomainError) as refused:
        async with asyncio.timeout(20):
            async for _ in stream:
                pass
    return refused.value


async def test_what_is_stored_comes_first_and_then_what_is_stored_meanwhile(
    engine: AsyncEngine, service: Served
) -> None:
    log = Log(engine)
    await log.append("wallet", [batch(1, count=3)])
    async with asyncio.timeout(20), aclosing(subscribe(service)) as stream:
        found = await following(stream)
        for number in (2, 3, 4):
            await log.append("wallet", [batch(number)])
            found += await following(stream)
    assert [one.batch_no for one in found] == [1, 1, 1, 2, 3, 4]
    assert [one.position for one in found] == sorted(one.position for one in found)


@pytest.mark.parametrize(
    ("request_fields", "batch_nos"),
    [
        ({}, [1, 2, 3, 5]),
        ({"event_types": ["round.settled"]}, [2]),
        ({"event_types": ["transfer.applied", "round.settled", "round.settled"]}, [2, 3]),
        ({"account_id": 8}, [3]),
        ({"player_id": "ada"}, [1, 2, 5]),
        ({"player_id": "ada", "event_types": ["wallet.settled"]}, [1, 5]),
        ({"round_id": ROUND.upper()}, [2]),
        ({"session_id": ROUND}, [5]),
        ({"operator_id": "other"}, [4]),
    ],
)
async def test_a_filter_lets_through_what_is_equal_in_all_of_it(
    engine: AsyncEngine, service: Served, request_fields: dict[str, Any], batch_nos: list[int]
) -> None:
    written = [
        event(1),
        event(2, event_type="round.settled", round_id=ROUND),
        event(3, event_type="transfer.applied", account_id=8, player_id="bob"),
        event(4, operator_id="other"),
        event(5, session_id=ROUND),
    ]
    batches = [events_pb2.EventBatch(batch_no=n, events=[one]) for n, one in enumerate(written, 1)]
    await Log(engine).append("wallet", parse_batches(batches))
    found = await take(subscribe(service, **request_fields), len(batch_nos))
    assert [one.batch_no for one in found] == batch_nos


async def test_a_reader_that_breaks_off_anywhere_misses_and_doubles_nothing(
    engine: AsyncEngine, service: Served
) -> None:
    """It keeps the cursor of what it has dealt with, and breaks off before, at and behind it, with a seed."""
    choice, log, count = random.Random(6), Log(engine), 60
    handled: list[int] = []

    async def write() -> None:
        for number in range(1, count + 1):
            await log.append("wallet", [batch(number, count=5)])

    async def read() -> None:
        cursor = ""
        while len(handled) < count * 5:
            left = choice.randint(0, 3)
            async with aclosing(subscribe(service, cursor=cursor)) as stream:
                async for response in stream:
                    if left == 0:
                        break  # received, and not dealt with
                    handled.extend(one.position for one in response.events)
                    cursor = response.cursor
                    left -= 1
                    if len(handled) >= count * 5:
                        break

    async with asyncio.timeout(60):
        await asyncio.gather(write(), read())
    async with engine.connect() as conn:
        stored = [
            position for (position,) in await conn.execute(text("select position from event order by 1"))
        ]
    assert handled == stored


async def test_a_slow_reader_has_the_server_read_no_more_than_the_connection_takes(
    engine: AsyncEngine, service: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eighty pages wait; a reader that takes one has a few of them read, not all."""
    pages, payload = 80, b'{"pad":"' + b"x" * 2_000 + b'"}'
    log, reads = Log(engine), 0
    for number in range(1, pages + 1, 10):
        batches = [
            events_pb2.EventBatch(
                batch_no=n, events=[event(n, index, payload_json=payload) for index in range(100)]
            )
            for n in range(number, number + 10)
        ]
        await log.append("wallet", parse_batches(batches))
    list_events = store.list_events

    async def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal reads
        reads += 1
        return await list_events(*arguments, **options)

    monkeypatch.setattr(store, "list_events", counted)
    async with asyncio.timeout(60), aclosing(subscribe(service)) as stream:
        first = await anext(stream)
        assert len(first.events) == 100
        before = -1
        # That it reads no more has no sign but time.
        while before != reads:
            before = reads
            await asyncio.sleep(0.5)
        assert reads < pages / 2, "it reads ahead of its reader"
        # The slow one holds nobody up, and gets everything in the end.
        assert len(await take(subscribe(service), 300)) == 300
        rest = 0
        async for response in stream:
            rest += len(response.events)
            if rest == (pages - 1) * 100:
                break


async def test_a_drain_ends_streams_with_unavailable_and_the_cursor_goes_on_elsewhere(
    engine: AsyncEngine,
) -> None:
    log, cursor = Log(engine), ""
    await log.append("wallet", [batch(1)])
    async with served(engine) as first:
        stream = subscribe(first)
        cursor = (await anext(stream)).cursor
        ending = asyncio.create_task(refusal(stream))
        await first.server.drain(wait_s=0, grace_s=20)
        assert isinstance(await ending, Unavailable)
    await log.append("wallet", [batch(2)])
    async with served(engine) as second:
        assert [one.batch_no for one in await take(subscribe(second, cursor=cursor), 1)] == [2]


async def test_a_reader_that_got_old_is_ended_by_word_and_goes_on_from_its_cursor(
    engine: AsyncEngine,
) -> None:
    async with served(engine, age_s=0.2) as service:
        log = Log(engine)
        await log.append("wallet", [batch(1)])
        told = []
        with pytest.raises(Unavailable):
            async with asyncio.timeout(20):
                async for answer in subscribe(service):
                    told.append(answer)
        # Also at the end of a quiet log, long before a heartbeat is due.
        assert len(told[0].events) == 1
        await log.append("wallet", [batch(2)])
        again = await take(subscribe(service, cursor=told[-1].cursor), 1)
        assert [one.batch_no for one in again] == [2]


async def test_a_quiet_log_has_a_heartbeat_whose_cursor_goes_on(engine: AsyncEngine) -> None:
    async with served(engine, heartbeat_s=0.05) as service:
        log = Log(engine)
        await log.append("wallet", [batch(1)])
        async with asyncio.timeout(20), aclosing(subscribe(service, operator_id="other")) as stream:
            beats = [await anext(stream) for _ in range(3)]
        assert all(not beat.events and beat.cursor for beat in beats)
        # What is not for this reader is behind it: it is not looked through again.
        async with engine.connect() as conn:
            end = await store.find_position_last(conn)
        wanted = EventFilter("other")
        assert messages.decode_position(beats[0].cursor, f"subscribe {wanted!r}") == end
        written = events_pb2.EventBatch(batch_no=2, events=[event(2, operator_id="other")])
        await log.append("wallet", parse_batches([written]))
        found = await take(subscribe(service, operator_id="other", cursor=beats[0].cursor), 1)
        assert [one.batch_no for one in found] == [2]


async def test_a_time_begins_with_what_was_stored_from_then_on(engine: AsyncEngine, service: Served) -> None:
    clock = Clock()
    log = Log(engine, clock_us=clock)
    await log.append("wallet", [batch(1)])
    clock.now_us += 1_000_000
    await log.append("wallet", [batch(2)])
    start = Timestamp()
    start.FromMicroseconds(clock.now_us)
    assert [one.batch_no for one in await take(subscribe(service, append_time_start=start), 1)] == [2]


async def test_a_cursor_whose_events_are_archived_is_refused(
    engine: AsyncEngine, service: Served, tmp_path: Path
) -> None:
    await lay_days(engine, first=OLD)
    clock = Clock()
    clock.now_us = position_of(OLD) + 10
    log = Log(engine, clock_us=clock)
    await log.append("wallet", [batch(1)])
    cursor = (await anext(subscribe(service))).cursor
    clock.now_us += 10
    await log.append("wallet", [batch(2)])
    behind = (await anext(subscribe(service, cursor=cursor))).cursor
    clock.now_us = position_of(NEXT) + 10
    await log.append("wallet", [batch(3)])
    await archived(engine, tmp_path)
    expired = await refusal(subscribe(service, cursor=cursor))
    assert expired.reason == "CURSOR_EXPIRED" and "append_time_oldest" in expired.metadata
    # Nothing is missing behind the last archived event; and without a cursor it is what there is.
    assert [one.batch_no for one in await take(subscribe(service, cursor=behind), 1)] == [3]
    assert [one.batch_no for one in await take(subscribe(service), 1)] == [3]


async def test_what_is_no_subscription_is_refused(engine: AsyncEngine, service: Served) -> None:
    await Log(engine).append("wallet", [batch(1)])
    cursor = (await anext(subscribe(service))).cursor
    for request, reason in (
        ({"operator_id": ""}, "FIELD_MISSING"),
        ({"event_types": ["Settled"]}, "FIELD_INVALID"),
        ({"event_types": [f"a.{'b' * n}" for n in range(1, 22)]}, "FIELD_INVALID"),
        ({"account_id": -1}, "FIELD_INVALID"),
        ({"cursor": "x"}, "FIELD_INVALID"),
        ({"cursor": cursor, "account_id": 7}, "FIELD_INVALID"),
        ({"cursor": cursor, "operator_id": "other"}, "FIELD_INVALID"),
        ({"append_time_start": Timestamp(seconds=-1)}, "FIELD_INVALID"),
    ):
        assert (await refusal(subscribe(service, **request))).reason == reason, request
    wanted = events_pb2.SubscribeRequest(operator_id="acme")
    assert (await refusal(service.stub(caller="wallet").Subscribe(wanted))).reason == "CALLER_FORBIDDEN"
    stranger = service.stub(identity_key="another key of 32 characters, too")
    assert (await refusal(stranger.Subscribe(wanted))).reason == "CALLER_UNKNOWN"
    with pytest.raises(TypeError):
        await take(service.stub().Subscribe(events_pb2.ListEventsRequest()), 1)


async def test_there_are_no_more_readers_than_the_process_has_room_for(engine: AsyncEngine) -> None:
    await Log(engine).append("wallet", [batch(1)])
    async with served(engine, readers_max=1) as service:
        async with aclosing(subscribe(service)) as stream:
            await anext(stream)
            assert (await refusal(subscribe(service))).reason == "OVERLOADED"
        async with asyncio.timeout(20):
            while True:
                try:
                    assert await take(subscribe(service), 1)
                    return
                except DomainError as error:
                    assert error.reason == "OVERLOADED"


async def test_no_operator_takes_the_room_of_the_others(engine: AsyncEngine) -> None:
    await Log(engine).append("wallet", [batch(1)])
    async with served(engine, readers_max=3, readers_per_operator_max=2) as service:
        async with aclosing(subscribe(service)) as first, aclosing(subscribe(service)) as second:
            await anext(first)
            await anext(second)
            assert (await refusal(subscribe(service))).reason == "OVERLOADED"
            async with aclosing(subscribe(service, operator_id="other")) as others:
                # A heartbeat: it has no events.
                assert not (await anext(others)).events


async def test_a_broken_stream_tells_its_reader_nothing_of_the_inside(
    engine: AsyncEngine, service: Served, caplog: pytest.LogCaptureFixture
) -> None:
    async with engine.begin() as conn:
        await conn.execute(text("alter table event rename column hash to hush"))
    broken = await refusal(subscribe(service))
    assert broken.reason == "INTERNAL" and "hash" not in broken.message
    assert "Subscribe failed" in caplog.text
