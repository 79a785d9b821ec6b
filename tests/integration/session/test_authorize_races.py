"""What concurrency could do to an authorisation. Each guard is also switched off, to see what it prevents."""

import asyncio
import hashlib
import uuid
from collections import Counter
from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.common.batching import Batcher
from services.common.db import transaction
from services.common.errors import DomainError
from services.session import errors, sessions
from services.session.authorizations import Answer, SpinAuthorization, authorize_spins
from services.session.spins_store import SpinAsk
from services.session.store import State
from tests.integration.session import players
from tests.integration.session.players import AGE_MS, Player, enter, spin, spin_batch


async def send_to_two_replicas(
    engines: Sequence[AsyncEngine], ask: SpinAsk, times: int, *, find_known: bool = True
) -> list[SpinAuthorization | BaseException]:
    """The answers to one ask sent `times` times at once, in turn to one batcher per engine."""

    def replica(engine: AsyncEngine) -> Batcher[SpinAsk, SpinAuthorization]:
        async def execute(asks: Sequence[SpinAsk]) -> Sequence[Answer]:
            async with transaction(engine, "test.authorize") as conn:
                return await authorize_spins(conn, asks, mint_age_ms=60_000, find_known=find_known)

        return Batcher("test.authorize", execute, key=lambda ask: ask.token_hash)

    replicas = [replica(engine) for engine in engines]
    calls = [replicas[turn % len(replicas)].submit(ask) for turn in range(times)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for batcher in replicas:
        await batcher.close()
    return answers


async def test_fifty_duplicates_over_two_replicas_are_one_authorisation(
    engine: AsyncEngine, second_engine: AsyncEngine
) -> None:
    player = await enter(engine, cycle_min_ms=5000)
    answers = await send_to_two_replicas([engine, second_engine], player.ask(), 50)
    assert isinstance(answers[0], SpinAuthorization)
    assert answers == [answers[0]] * 50
    assert await players.rows(engine, "select count(*) from spin_authorization") == [(1,)]


async def test_without_the_second_look_duplicates_are_refused(
    engine: AsyncEngine, second_engine: AsyncEngine
) -> None:
    player = await enter(engine, cycle_min_ms=5000)
    answers = await send_to_two_replicas([engine, second_engine], player.ask(), 50, find_known=False)
    assert Counter(type(answer) for answer in answers) == {SpinAuthorization: 1, errors.SpinTooEarly: 49}


async def authorize_while_a_close_is_about_to_commit(
    engine: AsyncEngine, second_engine: AsyncEngine, player: Player, *, row_lock: bool
) -> Answer:
    """The answer of an authorisation that meets a close which holds the session's row, then commits."""
    async with transaction(engine, "test.close") as closing:
        await sessions.close_session(closing, player.session, traceparent="")
        batch = asyncio.create_task(spin_batch(second_engine, [player.ask()], row_lock=row_lock))
        await players.until_waiting_for_a_lock(engine, "session-2")
    (answer,) = await batch
    return answer


async def test_no_spin_is_authorised_after_the_close(engine: AsyncEngine, second_engine: AsyncEngine) -> None:
    player = await enter(engine)
    answer = await authorize_while_a_close_is_about_to_commit(engine, second_engine, player, row_lock=True)
    assert isinstance(answer, errors.SessionClosed)
    assert await players.rows(engine, "select count(*) from spin_authorization") == [(0,)]


async def test_without_the_row_lock_a_spin_is_authorised_after_the_close(
    engine: AsyncEngine, second_engine: AsyncEngine
) -> None:
    player = await enter(engine)
    answer = await authorize_while_a_close_is_about_to_commit(engine, second_engine, player, row_lock=False)
    assert isinstance(answer, SpinAuthorization)
    assert (await players.find(engine, player)).state == State.CLOSED


async def test_a_spin_that_came_first_is_older_than_the_close_that_waited(
    engine: AsyncEngine, second_engine: AsyncEngine
) -> None:
    player = await enter(engine)
    async with transaction(engine, "test.authorize") as authorizing:
        (spun,) = await authorize_spins(authorizing, [player.ask()], mint_age_ms=AGE_MS)
        closing = asyncio.create_task(players.close(second_engine, player))
        await players.until_waiting_for_a_lock(engine, "session-2")
        waited_until = (await players.rows(engine, "select clock_timestamp()"))[0][0]
    closed = await closing
    assert isinstance(spun, SpinAuthorization)
    assert closed.close_time is not None
    # Not the moment the close began: the moment it had the row.
    assert spun.authorize_time < waited_until < closed.close_time


async def test_many_spins_and_a_close_leave_no_spin_after_the_close(
    engine: AsyncEngine, second_engine: AsyncEngine
) -> None:
    seats = [await enter(engine, account_id=account_id) for account_id in range(1, 9)]

    async def play(player: Player, replica: AsyncEngine) -> None:
        try:
            while True:
                await spin(replica, player.ask())
        except errors.SessionClosed:
            pass

    async def close_all() -> None:
        for player in seats:
            await players.close(engine, player)

    await asyncio.gather(*(play(player, second_engine) for player in seats), close_all())
    late = await players.rows(
        engine,
        "select count(*) filter (where a.authorize_time > s.close_time), count(*) > 0 "
        "from spin_authorization a join session s using (session_id)",
    )
    assert late[0][0] == 0


async def test_two_ids_of_one_session_in_one_batch_keep_the_pace(engine: AsyncEngine) -> None:
    player = await enter(engine, cycle_min_ms=5000)
    first, second = await spin_batch(engine, [player.ask(), player.ask()])
    assert isinstance(first, SpinAuthorization)
    assert isinstance(second, errors.SpinTooEarly)


async def test_without_one_item_per_account_two_ids_of_a_batch_break_the_pace(engine: AsyncEngine) -> None:
    player = await enter(engine, cycle_min_ms=5000)
    answers = await spin_batch(engine, [player.ask(), player.ask()], one_per_account=False)
    assert [type(answer) for answer in answers] == [SpinAuthorization, SpinAuthorization]


async def test_one_id_twice_in_a_batch_is_one_authorisation(engine: AsyncEngine) -> None:
    player = await enter(engine, cycle_min_ms=5000)
    ask = player.ask()
    first, second = await spin_batch(engine, [ask, ask])
    assert isinstance(first, SpinAuthorization)
    assert first == second


async def test_one_account_at_two_games_plays_both_in_one_batch(engine: AsyncEngine) -> None:
    sunrise = await enter(engine)
    moonset = await enter(engine, game_id="moonset")
    request_id = uuid.uuid4()
    answers = await spin_batch(
        engine, [sunrise.ask(), moonset.ask(), sunrise.ask(request_id), moonset.ask(request_id)]
    )
    assert [isinstance(answer, DomainError) and answer.reason for answer in answers] == [
        False,
        False,
        False,
        "ID_REUSED",
    ]


async def test_batches_that_share_sessions_in_opposite_orders_do_not_deadlock(
    engine: AsyncEngine, second_engine: AsyncEngine
) -> None:
    seats = [await enter(engine, account_id=account_id) for account_id in range(1, 31)]
    for _ in range(10):
        answers = await asyncio.gather(
            spin_batch(engine, [player.ask() for player in seats]),
            spin_batch(second_engine, [player.ask() for player in reversed(seats)]),
        )
        assert all(isinstance(answer, SpinAuthorization) for batch in answers for answer in batch)


async def rows_read(conn: AsyncConnection) -> dict[str, int]:
    """Rows of the big tables that this connection has read so far, by scans and through indexes."""
    read = await conn.execute(
        text(
            "select sum(seq_tup_read)::int as scanned, sum(idx_tup_fetch)::int as fetched "
            "from pg_stat_xact_user_tables where relname ~ '^(session|spin_authorization.*)$'"
        )
    )
    return dict(read.mappings().one())


async def test_a_batch_of_two_hundred_reads_each_row_by_its_index(engine: AsyncEngine) -> None:
    """Generic plans guess few rows for a filtered CTE: a scan, or worse a scan per item, would go unseen."""
    await players.sql(
        engine,
        "insert into session (session_id, operator_id, request_id, fingerprint, player_id, account_id, kind, "
        "game_id, currency_code, language_code, jurisdiction, cycle_min_ms, code_hash, code_expire_time, "
        "token_hash, create_time, expire_time) "
        "select gen_random_uuid(), 'acme', gen_random_uuid(), '', 'bob', n, 1, 'sunrise', 'USD', "
        "'en', 'none', 0, sha256(('code' || n)::bytea), now(), sha256(('token' || n)::bytea), now(), "
        "now() + interval '1 h' from generate_series(1, 5000) n",
    )
    await players.sql(
        engine,
        "insert into spin_authorization select a, gen_random_uuid(), gen_random_uuid(), 1, clock_timestamp() "
        "from generate_series(1, 20000) a",
    )
    asks = [
        SpinAsk(hashlib.sha256(f"token{n}".encode()).digest(), str(uuid.uuid4()), "USD", 100)
        for n in range(1, 201)
    ]
    for _ in ("new", "known"):
        async with transaction(engine, "test.plan") as conn:
            before = await rows_read(conn)
            answers = await authorize_spins(conn, asks, mint_age_ms=60_000)
            after = await rows_read(conn)
        assert all(isinstance(answer, SpinAuthorization) for answer in answers)
        assert after["scanned"] == before["scanned"]
        # New: to lock and to touch the session. Known: to lock, to meet the authorisation, to read both.
        assert after["fetched"] - before["fetched"] <= 4 * len(asks)
