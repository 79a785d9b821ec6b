"""ListEvents: filters, pages and their tokens."""

import asyncio
from typing import Any, cast

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from reelmesh.events.v1 import events_pb2
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common.errors import DomainError
from services.events import store
from services.events.feed import Feed
from services.events.handlers import Handlers
from services.events.log import Log
from services.events.messages import parse_batches
from services.events.records import EventFilter
from services.events.webhooks.vault import Vault
from services.events.webhooks.webhooks import Webhooks
from tests.integration.events.written import Clock, event

SESSION_A, SESSION_B = "0192f0c1-0000-7000-8000-00000000000a", "0192f0c1-0000-7000-8000-00000000000b"
ROUND_A, ROUND_B = "0192f0c1-1111-7000-8000-00000000000a", "0192f0c1-1111-7000-8000-00000000000b"


async def fill(engine: AsyncEngine) -> None:
    written = [
        event(1, 0, account_id=1, session_id=SESSION_A, round_id=ROUND_A),
        event(1, 1, account_id=2, player_id="bob", session_id=SESSION_B, round_id=ROUND_B),
        event(1, 2, account_id=1, session_id=SESSION_A, round_id=ROUND_B, event_type="round.settled"),
        event(1, 3, account_id=1, operator_id="other"),
        event(1, 4, account_id=1, event_type="transfer.applied"),
        event(1, 5, account_id=3, player_id="eve", operator_id="third", event_type="transfer.applied"),
        event(1, 6, account_id=4, player_id="eve", operator_id="third"),
        event(1, 7, player_id="eve", operator_id="third", event_type="operator.requested"),
        event(1, 8, account_id=3, player_id="eve", operator_id="third"),
    ]
    written[7].account_id = 0
    batches = parse_batches([events_pb2.EventBatch(batch_no=1, events=written)])
    await Log(engine).append("wallet", batches)


async def listed(engine: AsyncEngine, **request: Any) -> events_pb2.ListEventsResponse:
    context = cast("grpc.aio.ServicerContext[Any, Any]", None)
    wanted = events_pb2.ListEventsRequest(**{"operator_id": "acme", **request})
    vault = Vault("a key of the tests")
    feed = Feed(engine, draining=asyncio.Event())
    return await Handlers(engine, feed=feed, webhooks=Webhooks(engine, vault)).ListEvents(wanted, context)


@pytest.mark.parametrize(
    ("request_fields", "indexes"),
    [
        ({}, [0, 1, 2, 4]),
        ({"operator_id": "other"}, [3]),
        ({"operator_id": "nobody"}, []),
        ({"account_id": 1}, [0, 2, 4]),
        ({"player_id": "ada"}, [0, 2, 4]),
        ({"player_id": "bob"}, [1]),
        ({"operator_id": "third", "player_id": "eve"}, [5, 6, 7, 8]),
        ({"operator_id": "third", "player_id": "eve", "account_id": 3}, [5, 8]),
        ({"operator_id": "third", "player_id": "eve", "event_type": "transfer.applied"}, [5]),
        ({"operator_id": "third", "player_id": "ada"}, []),
        ({"player_id": "ada", "account_id": 2}, []),
        ({"session_id": SESSION_A}, [0, 2]),
        ({"session_id": SESSION_A.upper()}, [0, 2]),
        ({"round_id": ROUND_B}, [1, 2]),
        ({"round_id": ROUND_B, "source": "wallet"}, [1, 2]),
        ({"round_id": ROUND_B, "source": "gateway"}, []),
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
        ({"player_id": "a\n"}, "FIELD_INVALID"),
        ({"append_time_start": Timestamp(seconds=-1)}, "FIELD_INVALID"),
        ({"append_time_end": Timestamp(nanos=-1)}, "FIELD_INVALID"),
        ({"session_id": "a"}, "FIELD_INVALID"),
        ({"round_id": "a"}, "FIELD_INVALID"),
        ({"event_type": "a\n"}, "FIELD_INVALID"),
        ({"event_type": "wallet"}, "FIELD_INVALID"),
        ({"event_type": "wallet.setled"}, "FIELD_INVALID"),
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
    expected.append_time.FromMicroseconds(first.position)
    assert first == expected


async def test_a_time_lists_what_was_stored_from_then_on_and_before(engine: AsyncEngine) -> None:
    clock = Clock()
    log, first_us = Log(engine, clock_us=clock), clock.now_us
    for number in range(1, 5):
        await log.append(
            "wallet", parse_batches([events_pb2.EventBatch(batch_no=number, events=[event(number)])])
        )
        clock.now_us += 1_000_000

    def at(seconds: int, nanos: int = 0) -> Timestamp:
        time = Timestamp()
        time.FromMicroseconds(first_us + seconds * 1_000_000)
        return Timestamp(seconds=time.seconds, nanos=time.nanos + nanos)

    async def batches(**request: Any) -> list[int]:
        return [one.batch_no for one in (await listed(engine, **request)).events]

    assert await batches(append_time_start=at(1)) == [2, 3, 4]
    assert await batches(append_time_start=at(1, 1)) == [3, 4]
    assert await batches(append_time_end=at(2)) == [1, 2]
    assert await batches(append_time_start=at(1), append_time_end=at(3)) == [2, 3]
    assert await batches(append_time_start=at(9)) == []
    page = await listed(engine, append_time_start=at(1), append_time_end=at(3), page_size=1)
    again = {"append_time_start": at(1), "append_time_end": at(3), "page_token": page.next_page_token}
    assert await batches(**again) == [3]
    with pytest.raises(DomainError):
        await batches(append_time_end=at(9), page_token=page.next_page_token)


async def test_a_page_reads_few_rows_however_long_the_log(engine: AsyncEngine) -> None:
    """Five thousand events of another account, round and type are not read to find a few."""
    many = [
        events_pb2.EventBatch(
            batch_no=number,
            events=[event(number, index, source="game", account_id=9) for index in range(200)],
        )
        for number in range(1, 26)
    ]
    await Log(engine).append("game", parse_batches(many))
    await fill(engine)
    async with engine.begin() as conn:
        await conn.execute(text("analyze event"))
    wanted = {
        EventFilter("acme", account_id=1): 3,
        EventFilter("acme", player_id="bob"): 1,
        EventFilter("acme", session_id=SESSION_A): 2,
        EventFilter("acme", round_id=ROUND_B): 2,
        EventFilter("acme", event_types=("transfer.applied",)): 1,
        EventFilter("acme", event_types=("review.opened", "transfer.applied")): 1,
        EventFilter("acme", account_id=1, event_types=("round.void",)): 0,
        EventFilter("acme", account_id=1, event_types=("round.settled", "transfer.applied")): 2,
        EventFilter("acme", player_id="bob", event_types=("wallet.settled", "round.void")): 1,
    }
    read = text("""select sum(seq_tup_read + idx_tup_fetch) from pg_stat_xact_user_tables
        where relname like 'event_2%'""")
    for question, count in wanted.items():
        async with engine.connect() as conn:
            found = await store.list_events(conn, question, position_after=0, position_end=None, limit=101)
            assert len(found) == count
            assert (await conn.execute(read)).scalar_one() < 50, question
