"""Append: what arrives at least once, in any number of copies, is stored exactly once and without gaps."""

import asyncio
import random
import uuid
from collections.abc import Sequence

import pytest
from reelmesh.events.v1 import events_pb2
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db
from services.common.errors import DomainError
from services.events import log, store
from services.events.errors import BatchOutOfOrder
from services.events.handlers import parse_batches
from tests.integration.events.written import ROUND_ID, batch, event, message, stored


async def append(
    engine: AsyncEngine,
    *batches: log.Batch,
    source: str = "wallet",
    locked: bool = True,
    arbiter: bool = True,
) -> int:
    async with db.transaction(engine, "append") as conn:
        return await log.append(conn, source, batches, locked=locked, arbiter=arbiter)


def numbers(found: Sequence[tuple[int, uuid.UUID]]) -> list[int]:
    return [batch_no for batch_no, _ in found]


async def test_batches_are_stored_in_order_with_all_their_events(engine: AsyncEngine) -> None:
    assert await append(engine, batch(1, count=2), batch(2)) == 2
    assert await append(engine, batch(3, count=3)) == 3
    assert numbers(await stored(engine)) == [1, 1, 2, 3, 3, 3]


async def test_a_repeated_batch_is_acknowledged_and_not_stored_again(engine: AsyncEngine) -> None:
    await append(engine, batch(1), batch(2))
    assert await append(engine, batch(1), batch(2), batch(3)) == 3
    assert await append(engine, batch(1)) == 3
    assert numbers(await stored(engine)) == [1, 2, 3]


async def test_without_the_inbox_only_the_unique_place_stands_against_a_repeat(
    engine: AsyncEngine,
) -> None:
    await append(engine, batch(1))
    with pytest.raises(IntegrityError):
        await append(engine, batch(1), arbiter=False)
    async with engine.begin() as conn:
        await conn.execute(text("alter table event drop constraint event_source_batch_no_batch_index_key"))
    await append(engine, batch(1), arbiter=False)
    assert numbers(await stored(engine)) == [1, 1]


@pytest.mark.parametrize("gap", [[2], [1, 3], [1, 2, 4]])
async def test_a_gap_is_refused_and_nothing_of_the_request_is_stored(
    engine: AsyncEngine, gap: list[int]
) -> None:
    with pytest.raises(BatchOutOfOrder) as refused:
        await append(engine, *map(batch, gap))
    assert refused.value.metadata == {"batch_no_expected": str(gap[-2] + 1 if len(gap) > 1 else 1)}
    assert await stored(engine) == []


async def test_every_source_counts_for_itself(engine: AsyncEngine) -> None:
    assert await append(engine, batch(1, source="wallet"), source="wallet") == 1
    assert await append(engine, batch(1, source="game"), source="game") == 1
    with pytest.raises(BatchOutOfOrder):
        await append(engine, batch(3, source="game"), source="game")


async def test_many_writers_of_one_source_store_every_batch_once(engine: AsyncEngine) -> None:
    """Eight writers send the same 40 batches in requests of any size, each from the start, all at once."""

    async def write(seed: int) -> None:
        choice, batch_no_last = random.Random(seed), 0
        while batch_no_last < 40:
            count = min(choice.randint(1, 6), 40 - batch_no_last)
            sent = [batch(batch_no_last + 1 + number, count=2) for number in range(count)]
            await append(engine, *sent)
            batch_no_last += count

    await asyncio.gather(*map(write, range(8)))
    found = await stored(engine)
    assert numbers(found) == [batch_no for batch_no in range(1, 41) for _ in range(2)]
    assert len({event_id for _, event_id in found}) == 80


@pytest.mark.parametrize("locked", [True, False])
async def test_a_reader_that_pages_along_the_end_sees_every_event(engine: AsyncEngine, locked: bool) -> None:
    """The wallet has stored but not committed when game appends; the reader reads in between."""
    wanted = store.EventFilter("acme", 0, None, None, "")
    seen: list[store.StoredEvent] = []

    async def read() -> None:
        position_after = seen[-1].position if seen else 0
        async with engine.connect() as conn:
            seen.extend(await store.list_events(conn, wanted, position_after=position_after, limit=100))

    async with engine.connect() as slow:
        await log.append(slow, "wallet", [batch(1)], locked=locked)
        game = asyncio.create_task(append(engine, batch(1, source="game"), source="game", locked=locked))
        if locked:
            await asyncio.wait([game], timeout=0.1)
            assert not game.done()
        else:
            await game
        await read()
        await slow.commit()
    await game
    await read()
    assert sorted(event.source for event in seen) == (["game", "wallet"] if locked else ["game"])


async def test_a_transaction_that_ends_between_inbox_and_event_leaves_neither(engine: AsyncEngine) -> None:
    async with engine.connect() as conn:
        assert await store.insert_inbox(conn, source="wallet", batch_nos=[1]) == {1}
    assert await append(engine, batch(1)) == 1
    assert numbers(await stored(engine)) == [1]


async def test_what_was_sent_comes_back_byte_for_byte(engine: AsyncEngine) -> None:
    await append(engine, *parse_batches([message(1)]))
    async with engine.connect() as conn:
        wanted = store.EventFilter("acme", 0, None, None, "")
        (found,) = await store.list_events(conn, wanted, position_after=0, limit=10)
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
