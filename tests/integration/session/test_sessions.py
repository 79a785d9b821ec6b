"""Opening, entering, replacing and closing a session: the rules on a real database."""

import asyncio
import uuid
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common.db import transaction
from services.common.errors import IdReused, Unavailable
from services.session import errors, sessions
from services.session.store import Session, State
from tests.integration.session import players
from tests.integration.session.players import enter, exchange, launch, open_session


async def outbox_kinds(engine: AsyncEngine) -> list[str]:
    return [kind for (kind,) in await players.rows(engine, "select kind from outbox order by outbox_id")]


async def test_a_new_session_is_open_for_its_time(engine: AsyncEngine) -> None:
    session = await open_session(engine, launch(session_life_ms=90_000), account_id=42)
    assert (session.state, session.account_id, session.close_time) == (State.OPEN, 42, None)
    assert session.expire_time - session.create_time == timedelta(seconds=90)
    assert session.code_expire_time - session.create_time == timedelta(seconds=60)
    assert await outbox_kinds(engine) == ["session.created"]


async def test_a_launch_code_does_not_outlive_a_short_session(engine: AsyncEngine) -> None:
    session = await open_session(engine, launch(session_life_ms=1500))
    assert session.code_expire_time == session.expire_time


async def test_a_replayed_create_returns_the_first_session(engine: AsyncEngine) -> None:
    request = launch()
    first = await open_session(engine, request)
    assert await open_session(engine, request) == first
    assert await outbox_kinds(engine) == ["session.created"]


async def test_a_replay_does_not_bring_back_a_session_that_was_replaced(engine: AsyncEngine) -> None:
    request = launch()
    first = await open_session(engine, request)
    newer = await enter(engine)
    assert (await open_session(engine, request)).session_id == first.session_id
    assert (await players.find(engine, newer)).state == State.OPEN


@pytest.mark.parametrize(
    "change",
    [
        {"player_id": "bob"},
        {"game_id": "moonset"},
        {"currency_code": "EUR"},
        {"kind": 2},
        {"language_code": "de"},
        {"jurisdiction": "GB"},
        {"stake_max_minor": 1},
        {"cycle_min_ms": 1},
        {"session_life_ms": 1000},
    ],
)
async def test_another_body_under_a_used_create_id_changes_nothing(
    engine: AsyncEngine, change: dict[str, Any]
) -> None:
    request = launch()
    first = await open_session(engine, request)
    with pytest.raises(IdReused):
        await open_session(engine, launch(request_id=request.request_id, **change))
    assert await players.rows(engine, "select session_id::text, close_time from session") == [
        (first.session_id, None)
    ]


async def test_two_operators_may_use_the_same_create_id(engine: AsyncEngine) -> None:
    request_id = uuid.uuid4()
    first = await open_session(engine, launch(request_id=request_id), account_id=1)
    second = await open_session(engine, launch(request_id=request_id, operator_id="other"), account_id=2)
    assert first.session_id != second.session_id


async def test_a_newer_session_replaces_the_one_of_the_same_game_only(engine: AsyncEngine) -> None:
    older = await enter(engine)
    elsewhere = await enter(engine, game_id="moonset")
    of_another = await enter(engine, account_id=8)
    newer = await enter(engine)
    replaced = await players.find(engine, older)
    assert replaced.state == State.REPLACED
    assert replaced.close_time is not None and replaced.close_time <= newer.session.create_time
    for player in (elsewhere, of_another, newer):
        assert (await players.find(engine, player)).state == State.OPEN
    assert (await outbox_kinds(engine))[-2:] == ["session.replaced", "session.created"]


async def test_an_expired_session_is_replaced_too(engine: AsyncEngine) -> None:
    older = await enter(engine)
    await players.expire(engine, older)
    assert (await players.find(engine, older)).state == State.EXPIRED
    await enter(engine)
    assert (await players.find(engine, older)).state == State.REPLACED


async def test_twenty_concurrent_creates_of_one_id_are_one_session(
    engine: AsyncEngine, second_engine: AsyncEngine
) -> None:
    request = launch()
    opened = await asyncio.gather(
        *(open_session(replica, request) for _ in range(10) for replica in (engine, second_engine))
    )
    assert len({session.session_id for session in opened}) == 1
    assert await outbox_kinds(engine) == ["session.created"]


async def test_ten_concurrent_launches_leave_one_active_session(
    engine: AsyncEngine, second_engine: AsyncEngine
) -> None:
    await asyncio.gather(
        *(open_session(replica, launch()) for _ in range(5) for replica in (engine, second_engine))
    )
    states = await players.rows(
        engine, "select end_state, count(*) from session group by end_state order by end_state"
    )
    assert states == [(State.REPLACED, 9), (None, 1)]


async def launch_while_another_is_about_to_commit(
    engine: AsyncEngine, second_engine: AsyncEngine, *, take_turns: bool
) -> list[Session | BaseException]:
    """Both sessions, or the error, of two first launches of a player of which the second must wait."""
    async with transaction(engine, "test.open") as conn:
        first = await players.open_session_in(conn, launch(), take_turns=take_turns)
        second = asyncio.create_task(open_session(second_engine, launch(), take_turns=take_turns))
        await players.until_waiting_for_a_lock(engine, "session-2")
    return [first, *(await asyncio.gather(second, return_exceptions=True))]


async def test_a_launch_that_waited_replaces_the_session_it_waited_for(
    engine: AsyncEngine, second_engine: AsyncEngine
) -> None:
    first, second = await launch_while_another_is_about_to_commit(engine, second_engine, take_turns=True)
    assert isinstance(first, Session) and isinstance(second, Session)
    assert (await players.find(engine, players.Player(first, ""))).state == State.REPLACED
    assert second.state == State.OPEN


async def test_without_turns_the_launch_that_waited_finds_its_place_taken(
    engine: AsyncEngine, second_engine: AsyncEngine
) -> None:
    _, second = await launch_while_another_is_about_to_commit(engine, second_engine, take_turns=False)
    assert isinstance(second, Unavailable)


async def test_the_index_refuses_a_second_active_session_whatever_the_code_does(engine: AsyncEngine) -> None:
    older = await enter(engine)
    await enter(engine)
    with pytest.raises(IntegrityError, match="session_active"):
        await players.sql(
            engine,
            "update session set close_time = null, end_state = null where session_id = :session_id",
            session_id=older.session.session_id,
        )


async def test_a_code_is_exchanged_once(engine: AsyncEngine) -> None:
    request = launch()
    session = await open_session(engine, request)
    assert not session.code_spent
    token = await exchange(engine, session)
    async with transaction(engine, "test.get") as conn:
        assert (await sessions.get_session_by_token(conn, token)).session_id == session.session_id
    assert (await open_session(engine, request)).code_spent
    with pytest.raises(errors.LaunchCodeInvalid):
        await exchange(engine, session)


async def exchange_at_once(engines: list[AsyncEngine], *, once: bool) -> list[Any]:
    session = await open_session(engines[0], launch())
    calls = [exchange(replica, session, once=once) for _ in range(5) for replica in engines]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    return [answer for answer in answers if isinstance(answer, str)]


async def test_ten_concurrent_exchanges_of_a_code_give_one_token(
    engine: AsyncEngine, second_engine: AsyncEngine
) -> None:
    assert len(await exchange_at_once([engine, second_engine], once=True)) == 1


async def test_without_the_condition_a_code_gives_a_token_to_everyone(
    engine: AsyncEngine, second_engine: AsyncEngine
) -> None:
    assert len(await exchange_at_once([engine, second_engine], once=False)) == 10


@pytest.mark.parametrize("spoil", ["old", "closed", "replaced", "expired", "foreign key"])
async def test_a_code_that_is_no_longer_good_is_refused_like_an_unknown_one(
    engine: AsyncEngine, spoil: str
) -> None:
    session = await open_session(engine, launch())
    player = players.Player(session, "")
    match spoil:
        case "old":
            await players.sql(engine, "update session set code_expire_time = clock_timestamp()")
        case "closed":
            await players.close(engine, player)
        case "replaced":
            await open_session(engine, launch())
        case "expired":
            await players.sql(engine, "update session set code_expire_time = clock_timestamp()")
            await players.expire(engine, player)
        case "foreign key":
            await players.sql(engine, "update session set code_hash = sha256('another')")
    with pytest.raises(errors.LaunchCodeInvalid) as refusal:
        await exchange(engine, session)
    assert refusal.value.metadata == {}


async def test_a_closed_session_stays_as_it_is(engine: AsyncEngine) -> None:
    player = await enter(engine)
    closed = await players.close(engine, player)
    assert closed.state == State.CLOSED
    assert await players.close(engine, player) == closed
    assert await outbox_kinds(engine) == ["session.created", "session.closed"]


async def test_concurrent_closes_answer_the_same_close_time(
    engine: AsyncEngine, second_engine: AsyncEngine
) -> None:
    player = await enter(engine)
    closed = await asyncio.gather(
        *(players.close(replica, player) for _ in range(5) for replica in (engine, second_engine))
    )
    assert len({session.close_time for session in closed}) == 1
    assert (await outbox_kinds(engine)).count("session.closed") == 1


async def test_closing_a_replaced_session_leaves_it_replaced(engine: AsyncEngine) -> None:
    older = await enter(engine)
    await enter(engine)
    assert (await players.close(engine, older)).state == State.REPLACED


async def test_closing_an_expired_session_makes_it_closed(engine: AsyncEngine) -> None:
    player = await enter(engine)
    await players.expire(engine, player)
    assert (await players.close(engine, player)).state == State.CLOSED


async def test_nothing_stored_contains_a_token_or_a_code(engine: AsyncEngine) -> None:
    player = await enter(engine)
    await players.spin(engine, player.ask())
    code = sessions.launch_code(players.CODE_KEY, player.session.session_id)
    tables = await players.rows(
        engine, "select tablename from pg_tables where schemaname = 'public' and tablename !~ '_[0-9]$'"
    )
    assert {"session", "spin_authorization", "outbox", "relay"} <= {table for (table,) in tables}
    for (table,) in tables:
        # A row as text shows every column; bytes as hex, so the secrets are looked for in hex too.
        stored = await players.rows(engine, f"select row_to_json(t)::text from {table} t")
        for secret in (player.token, code):
            for form in (secret, secret.encode().hex()):
                assert all(form not in row for (row,) in stored)
