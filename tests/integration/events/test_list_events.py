"""ListEvents: filters, pages and their tokens."""

from typing import Any, cast
from uuid import UUID

import grpc
import pytest
from reelmesh.events.v1 import events_pb2
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db
from services.common.errors import DomainError
from services.events import log, store
from services.events.handlers import Handlers, parse_batches
from tests.integration.events.written import event

SESSION_A, SESSION_B = "0192f0c1-0000-7000-8000-00000000000a", "0192f0c1-0000-7000-8000-00000000000b"
ROUND_A, ROUND_B = "0192f0c1-1111-7000-8000-00000000000a", "0192f0c1-1111-7000-8000-00000000000b"


async def fill(engine: AsyncEngine) -> None:
    written = [
        event(1, 0, account_id=1, session_id=SESSION_A, round_id=ROUND_A),
        event(1, 1, account_id=2, session_id=SESSION_B, round_id=ROUND_B),
        event(1, 2, account_id=1, session_id=SESSION_A, round_id=ROUND_B, event_type="round.settled"),
        event(1, 3, account_id=1, operator_id="other"),
        event(1, 4, account_id=1, event_type="transfer.applied"),
    ]
    batches = parse_batches([events_pb2.EventBatch(batch_no=1, events=written)])
    async with db.transaction(engine, "append") as conn:
        await log.append(conn, "wallet", batches)


async def listed(engine: AsyncEngine, **request: Any) -> events_pb2.ListEventsResponse:
    context = cast("grpc.aio.ServicerContext[Any, Any]", None)
    wanted = events_pb2.ListEventsRequest(**{"operator_id": "acme", **request})
    return await Handlers(engine).ListEvents(wanted, context)


@pytest.mark.parametrize(
    ("request_fields", "indexes"),
    [
        ({}, [0, 1, 2, 4]),
        ({"operator_id": "other"}, [3]),
        ({"operator_id": "nobody"}, []),
        ({"account_id": 1}, [0, 2, 4]),
        ({"session_id": SESSION_A}, [0, 2]),
        ({"session_id": SESSION_A.upper()}, [0, 2]),
        ({"round_id": ROUND_B}, [1, 2]),
        ({"event_type": "round.settled"}, [2]),
        ({"account_id": 2, "round_id": ROUND_B, "session_id": SESSION_B}, [1]),
        ({"account_id": 2, "round_id": ROUND_A}, []),
    ],
)
async def test_a_filter_lists_what_is_equal_in_all_of_it(
    engine: AsyncEngine, request_fields: dict[str, Any], indexes: list[int]
) -> None:
    await fill(engine)
    answer = await listed(engine, **request_fields)
    assert [one.event_id for one in answer.events] == [event(1, index).event_id for index in indexes]
    assert answer.next_page_token == ""


async def test_pages_follow_each_other_without_gap_or_repeat(engine: AsyncEngine) -> None:
    await fill(engine)
    found, token = [], ""
    for size in (2, 2, 2):
        answer = await listed(engine, page_size=size, page_token=token)
        found += [one.position for one in answer.events]
        token = answer.next_page_token
        if not token:
            break
    assert found == sorted(set(found)) and len(found) == 4
    # The fourth event filled the second page: there is no third.
    assert token == ""


async def test_a_page_token_belongs_to_its_query(engine: AsyncEngine) -> None:
    await fill(engine)
    token = (await listed(engine, page_size=1)).next_page_token
    for request in (
        {"operator_id": "other", "page_token": token},
        {"account_id": 1, "page_token": token},
        {"page_token": "x"},
        {"page_token": token[:-2]},
    ):
        with pytest.raises(DomainError) as refused:
            await listed(engine, **request)
        assert refused.value.reason == "PAGE_TOKEN_INVALID"


@pytest.mark.parametrize(
    ("request_fields", "reason"),
    [
        ({"operator_id": ""}, "FIELD_MISSING"),
        ({"account_id": -1}, "FIELD_INVALID"),
        ({"session_id": "a"}, "FIELD_INVALID"),
        ({"round_id": "a"}, "FIELD_INVALID"),
        ({"event_type": "a\n"}, "FIELD_INVALID"),
        ({"page_size": -1}, "FIELD_INVALID"),
    ],
)
async def test_a_malformed_question_is_refused(
    engine: AsyncEngine, request_fields: dict[str, Any], reason: str
) -> None:
    with pytest.raises(DomainError) as refused:
        await listed(engine, **request_fields)
    assert refused.value.reason == reason


async def test_an_answer_carries_where_the_event_came_from(engine: AsyncEngine) -> None:
    await fill(engine)
    first, *_ = (await listed(engine)).events
    assert (first.source, first.batch_no) == ("wallet", 1) and first.position > 0
    expected = event(1, 0, account_id=1, session_id=SESSION_A, round_id=ROUND_A)
    expected.MergeFrom(events_pb2.Event(source="wallet", batch_no=1, position=first.position))
    assert first == expected


async def test_a_page_reads_few_rows_however_long_the_log(engine: AsyncEngine) -> None:
    """Five thousand events of another account, round and type are not read to find a few."""
    many = [
        events_pb2.EventBatch(
            batch_no=number,
            events=[event(number, index, source="game", account_id=9) for index in range(200)],
        )
        for number in range(1, 26)
    ]
    async with db.transaction(engine, "append") as conn:
        await log.append(conn, "game", parse_batches(many))
    await fill(engine)
    async with engine.begin() as conn:
        await conn.execute(text("analyze event"))
    wanted = {
        store.EventFilter("acme", 1, None, None, ""): 3,
        store.EventFilter("acme", 0, UUID(SESSION_A), None, ""): 2,
        store.EventFilter("acme", 0, None, UUID(ROUND_B), ""): 2,
        store.EventFilter("acme", 0, None, None, "transfer.applied"): 1,
        store.EventFilter("acme", 1, None, None, "round.void"): 0,
    }
    read = text("select seq_tup_read + idx_tup_fetch from pg_stat_xact_user_tables where relname = 'event'")
    for question, count in wanted.items():
        async with engine.connect() as conn:
            assert len(await store.list_events(conn, question, position_after=0, limit=101)) == count
            assert (await conn.execute(read)).scalar_one() < 50, question
