"""The connections beside the pool: who gets which, and that none outlives its engine."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.local.databases import Server
from services.common import db

BACKEND = text("select pg_backend_pid()")
INSERT = text("insert into number values (:n)")
NUMBERS = text("select n from number order by n")


@pytest.fixture(autouse=True)
async def table(engine: AsyncEngine) -> None:
    async with engine.begin() as conn:
        await conn.execute(text("create table number (n int primary key check (n > 0))"))


async def backend(engine: AsyncEngine) -> int:
    """The server process that a statement gets."""
    async with db.hot_statements(engine, "backend") as conn:
        return int((await conn.execute(BACKEND))[0][0])


async def living(server: Server, *backends: int) -> int:
    """How many of the server processes there are, once those that end have ended."""
    with server.connect() as conn:
        for _ in range(200):
            query = "select pid from pg_stat_activity where pid = any(%s)"
            left = len(conn.execute(query, [list(backends)]).fetchall())
            if left == 0:
                break
            await asyncio.sleep(0.01)
        return left


async def test_one_after_the_other_they_share_a_connection_and_at_once_they_do_not(
    engine: AsyncEngine,
) -> None:
    first = await backend(engine)
    assert await backend(engine) == first
    async with db.hot_statements(engine, "held") as conn:
        held = (await conn.execute(BACKEND))[0][0]
        assert await backend(engine) != held


async def test_a_statement_stands_alone_and_a_transaction_does_not(engine: AsyncEngine) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        async with db.hot_statements(engine, "alone") as conn:
            await conn.execute(INSERT, {"n": 1})
            await conn.execute(INSERT, {"n": -1})
    with pytest.raises(psycopg.errors.CheckViolation):
        async with db.hot_transaction(engine, "together") as conn:
            await conn.execute(INSERT, {"n": 2})
            await conn.execute(INSERT, {"n": -1})
    with pytest.raises(KeyError):
        async with db.hot_transaction(engine, "given up") as conn:
            await conn.execute(INSERT, {"n": 3})
            raise KeyError
    async with db.hot_transaction(engine, "whole") as conn:
        await conn.execute(INSERT, {"n": 4})
    async with db.hot_statements(engine, "read") as conn:
        assert await conn.execute(NUMBERS) == [(1,), (4,)]


async def test_a_failed_statement_gives_its_connection_back(engine: AsyncEngine) -> None:
    first = await backend(engine)
    with pytest.raises(psycopg.errors.CheckViolation):
        async with db.hot_statements(engine, "alone") as conn:
            await conn.execute(INSERT, {"n": -1})
    assert await backend(engine) == first


async def test_one_that_the_server_ended_while_idle_is_not_handed_out(
    engine: AsyncEngine, server: Server
) -> None:
    first = await backend(engine)
    with server.connect() as conn:
        conn.execute("select pg_terminate_backend(%s)", [first])
    assert await living(server, first) == 0
    assert await backend(engine) != first


async def test_one_that_the_server_ended_in_use_is_not_kept(engine: AsyncEngine, server: Server) -> None:
    with pytest.raises(psycopg.OperationalError):
        async with db.hot_statements(engine, "held") as conn:
            first = (await conn.execute(BACKEND))[0][0]
            with server.connect() as other:
                other.execute("select pg_terminate_backend(%s)", [first])
            await conn.execute(text("select pg_sleep(10)"))
    assert await backend(engine) != first


async def test_a_cancelled_transaction_keeps_no_lock(engine: AsyncEngine) -> None:
    locked = asyncio.Event()

    async def hold() -> None:
        async with db.hot_transaction(engine, "held") as conn:
            await conn.execute(text("lock table number in access exclusive mode"))
            locked.set()
            await conn.execute(text("select pg_sleep(60)"))

    await cancelled(hold(), when=locked)
    async with db.hot_statements(engine, "insert") as conn:
        await conn.execute(INSERT, {"n": 1})


async def test_a_cancelled_statement_is_nobody_else_s_answer(engine: AsyncEngine) -> None:
    begun = asyncio.Event()

    async def hold() -> None:
        async with db.hot_statements(engine, "held") as conn:
            begun.set()
            await conn.execute(text("select 4711 from pg_sleep(60)"))

    await cancelled(hold(), when=begun)
    async with db.hot_statements(engine, "next") as conn:
        assert await conn.execute(text("select 1")) == [(1,)]


async def cancelled(work: Coroutine[Any, Any, None], *, when: asyncio.Event) -> None:
    """Begins the work and gives it up."""
    task = asyncio.create_task(work)
    await when.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_none_outlives_its_engine_be_it_idle_or_in_use(engine: AsyncEngine, server: Server) -> None:
    idle = await backend(engine)
    async with db.hot_statements(engine, "first") as conn:
        # The idle one is taken, so another is made; it goes back and lies idle.
        assert (await conn.execute(BACKEND))[0][0] == idle
        second = await backend(engine)
        await engine.dispose()
        assert await living(server, second) == 0
        assert await conn.execute(BACKEND) == [(idle,)]
    assert await living(server, idle) == 0
    # An engine may be used again after its end.
    assert await backend(engine) not in (idle, second)
