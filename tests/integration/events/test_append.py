"""Append: what arrives at least once, in any number of copies, is stored exactly once and without gaps."""

import asyncio
import random
import uuid
from collections.abc import Sequence

import pytest
from reelmesh.events.v1 import events_pb2
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db
from services.common.errors import DomainError
from services.events import store
from services.events.errors import BatchOutOfOrder
from services.events.log import Log, clock_us
from services.events.messages import parse_batches
from services.events.records import EventFilter, StoredEvent
from tests.integration.events.written import ROUND_ID, Clock, batch, event, message, stored


def numbers(found: Sequence[tuple[int, uuid.UUID]]) -> list[int]:
    return [batch_no for batch_no, _ in found]


async def listed(engine: AsyncEngine, *, position_after: int = 0) -> list[StoredEvent]:
    async with engine.connect() as conn:
        return await store.list_events(
            conn, EventFilter("acme"), position_after=position_after, position_end=None, limit=100
        )


async def test_batches_are_stored_in_order_with_all_their_events(engine: AsyncEngine) -> None:
    log = Log(engine)
    assert await log.append("wallet", [batch(1, count=2), batch(2)]) == 2
    assert await log.append("wallet", [batch(3, count=3)]) == 3
    assert numbers(await stored(engine)) == [1, 1, 2, 3, 3, 3]


async def test_a_repeated_batch_is_acknowledged_and_not_stored_again(engine: AsyncEngine) -> None:
    log = Log(engine)
    await log.append("wallet", [batch(1), batch(2)])
    assert await log.append("wallet", [batch(1), batch(2), batch(3)]) == 3
    assert await log.append("wallet", [batch(1)]) == 3
    assert await Log(engine).append("wallet", [batch(2)]) == 3
    assert numbers(await stored(engine)) == [1, 2, 3]


@pytest.mark.parametrize("fenced", [True, False])
async def test_a_replica_that_remembers_an_older_end_stores_nothing_twice(
    engine: AsyncEngine, fenced: bool
) -> None:
    """Both have stored batch 1 and 2 in their turn; the first one is sent batch 2 again."""
    first, second = Log(engine, fenced=fenced), Log(engine)
    await first.append("wallet", [batch(1)])
    await second.append("wallet", [batch(1), batch(2)])
    assert await first.append("wallet", [batch(2)]) == 2
    assert numbers(await stored(engine)) == ([1, 2] if fenced else [1, 2, 2])
    if fenced:
        assert await first.append("wallet", [batch(3)]) == 3
        assert await second.append("wallet", [batch(4)]) == 4


async def test_the_head_of_a_source_stands_behind_the_head_of_the_log(engine: AsyncEngine) -> None:
    """Somebody puts the log's head back to where a replica remembers it: its source's is not there."""
    first, second = Log(engine), Log(engine)
    await first.append("wallet", [batch(1)])
    async with engine.connect() as conn:
        before = await store.find_position_last(conn)
    await second.append("wallet", [batch(2)])
    async with engine.begin() as conn:
        await conn.execute(text("update log_head set position = :before"), {"before": before})
    assert await first.append("wallet", [batch(2)]) == 2
    assert numbers(await stored(engine)) == [1, 2]


@pytest.mark.parametrize("gap", [[2], [1, 3], [1, 2, 4]])
async def test_a_gap_is_refused_and_nothing_of_the_request_is_stored(
    engine: AsyncEngine, gap: list[int]
) -> None:
    log = Log(engine)
    for _ in range(2):
        with pytest.raises(BatchOutOfOrder) as refused:
            await log.append("wallet", list(map(batch, gap)))
        assert refused.value.metadata == {"batch_no_expected": str(gap[-2] + 1 if len(gap) > 1 else 1)}
    assert await stored(engine) == []


async def test_every_source_counts_for_itself(engine: AsyncEngine) -> None:
    log = Log(engine)
    assert await log.append("wallet", [batch(1, source="wallet")]) == 1
    assert await log.append("game", [batch(1, source="game")]) == 1
    with pytest.raises(BatchOutOfOrder):
        await log.append("game", [batch(3, source="game")])


async def test_many_writers_of_one_source_store_every_batch_once(engine: AsyncEngine) -> None:
    """Eight writers on four replicas send the same 40 batches in requests of any size, from the start."""
    replicas = [Log(engine) for _ in range(4)]

    async def write(seed: int) -> None:
        choice, batch_no_last = random.Random(seed), 0
        while batch_no_last < 40:
            count = min(choice.randint(1, 6), 40 - batch_no_last)
            sent = [batch(batch_no_last + 1 + number, count=2) for number in range(count)]
            await replicas[seed % 4].append("wallet", sent)
            batch_no_last += count

    await asyncio.gather(*map(write, range(8)))
    found = await stored(engine)
    assert numbers(found) == [batch_no for batch_no in range(1, 41) for _ in range(2)]
    assert len({event_id for _, event_id in found}) == 80


@pytest.mark.parametrize("fenced", [True, False])
async def test_a_reader_that_pages_along_the_end_sees_every_event(engine: AsyncEngine, fenced: bool) -> None:
    """The wallet has stored but not committed when game appends; the reader reads in between."""
    game, seen = Log(engine, fenced=fenced), list[StoredEvent]()
    async with db.hot_transaction(engine, "slow") as conn:
        # What the wallet's append does, in a transaction that takes its time.
        await store.append_events(
            conn,
            source="wallet",
            events=batch(1).events,
            hashes=[bytes(32)],
            position=clock_us(),
            position_before=(await store.find_ends(conn)).position,
            fenced=fenced,
        )
        appending = asyncio.create_task(game.append("game", [batch(1, source="game")]))
        if fenced:
            await asyncio.wait([appending], timeout=0.1)
            assert not appending.done()
        else:
            await appending
        seen += await listed(engine)
    await appending
    seen += await listed(engine, position_after=seen[-1].position if seen else 0)
    assert sorted(event.source for event in seen) == (["game", "wallet"] if fenced else ["game"])


async def test_positions_ascend_when_the_clock_is_put_back(engine: AsyncEngine) -> None:
    clock = Clock()
    log = Log(engine, clock_us=clock)
    await log.append("wallet", [batch(1, count=3)])
    clock.now_us -= 1_000_000
    await log.append("wallet", [batch(2)])
    positions = [event.position for event in await listed(engine)]
    assert positions == list(range(positions[0], positions[0] + 4))
    clock.now_us += 2_000_000
    await log.append("game", [batch(1, source="game")])
    assert (await listed(engine))[-1].position == clock.now_us


async def test_an_append_whose_answer_was_lost_is_looked_up_again(engine: AsyncEngine) -> None:
    """The statement took effect, the connection did not live to tell: nobody goes by what was remembered."""
    log = Log(engine)
    await log.append("wallet", [batch(1)])
    async with db.hot_transaction(engine, "block") as conn:
        await store.append_events(
            conn,
            source="wallet",
            events=batch(2).events,
            hashes=[bytes(32)],
            position=clock_us(),
            position_before=(await store.find_ends(conn)).position,
            fenced=True,
        )
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await log.append("wallet", [batch(2)])
    assert await log.append("wallet", [batch(2), batch(3)]) == 3
    assert numbers(await stored(engine)) == [1, 2, 3]


async def test_what_was_sent_comes_back_byte_for_byte(engine: AsyncEngine) -> None:
    await Log(engine).append("wallet", parse_batches([message(1)]))
    (found,) = await listed(engine)
    (sent,) = batch(1).events
    assert found.event == sent and found.source == "wallet"
    assert found.event.payload_json == '{"status":"applied",  "stake_minor":100}'


def _event(**fields: object) -> events_pb2.EventBatch:
    changed = event(1)
    for name, value in fields.items():
        changed.ClearField(name)  # type: ignore[arg-type]
        if value is not None:
            setattr(changed, name, value)
    return events_pb2.EventBatch(batch_no=1, events=[changed])


@pytest.mark.parametrize(
    ("batches", "reason", "field"),
    [
        ([], "FIELD_MISSING", "batches"),
        ([message(number) for number in range(1, 102)], "FIELD_INVALID", "batches"),
        ([message(2), message(1)], "FIELD_INVALID", "batches"),
        ([message(1), message(1)], "FIELD_INVALID", "batches"),
        ([message(0)], "FIELD_INVALID", "batches"),
        ([message(-1)], "FIELD_INVALID", "batches"),
        ([events_pb2.EventBatch(batch_no=1)], "FIELD_MISSING", "batches.events"),
        ([_event(event_id="")], "FIELD_MISSING", "event_id"),
        ([_event(event_id="7")], "FIELD_INVALID", "event_id"),
        ([_event(event_type="")], "FIELD_MISSING", "event_type"),
        ([_event(event_type="Settled")], "FIELD_INVALID", "event_type"),
        ([_event(operator_id="")], "FIELD_MISSING", "operator_id"),
        ([_event(account_id=-1)], "FIELD_INVALID", "account_id"),
        ([_event(account_version=-1)], "FIELD_INVALID", "account_id"),
        ([_event(player_id="a\n")], "FIELD_INVALID", "player_id"),
        ([_event(session_id="here")], "FIELD_INVALID", "session_id"),
        ([_event(round_id=ROUND_ID + "0")], "FIELD_INVALID", "round_id"),
        ([_event(event_time=None)], "FIELD_MISSING", "event_time"),
        ([_event(payload_json=b"")], "FIELD_INVALID", "payload_json"),
        ([_event(payload_json=b"[1]")], "FIELD_INVALID", "payload_json"),
        ([_event(payload_json=b'{"a":1} ,')], "FIELD_INVALID", "payload_json"),
        ([_event(payload_json=b'{"a":"\xff"}')], "FIELD_INVALID", "payload_json"),
        ([_event(traceparent="0" * 129)], "FIELD_INVALID", "traceparent"),
    ],
)
def test_what_is_not_an_event_is_refused(
    batches: Sequence[events_pb2.EventBatch], reason: str, field: str
) -> None:
    with pytest.raises(DomainError) as refused:
        parse_batches(batches)
    assert (refused.value.reason, refused.value.metadata["field"]) == (reason, field)
