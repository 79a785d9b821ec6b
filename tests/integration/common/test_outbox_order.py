"""Per-account order over the outbox: three transactions that a poll by transaction id gets wrong."""

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tests.integration.common.outboxes import Events, outbox, relay, stored, write

# The first idea: all that no running transaction can still come before, in the order of their ids.
_BY_XID = text("""
select number from (
  select cast(payload -> 'numbers' ->> 0 as integer) as number, cast(cast(xmin as text) as bigint) as xid,
    outbox_id from outbox) written
where xid < cast(cast(pg_snapshot_xmin(pg_current_snapshot()) as text) as bigint)
order by xid, outbox_id""")


async def move(conn: AsyncConnection) -> int:
    """One movement of the account, as a source makes it: under its lock, its version in the outbox row."""
    query = "update balance set version = version + 1 returning version"
    version = int((await conn.execute(text(query))).scalar_one())
    await write(conn, version)
    return version


async def by_xid(engine: AsyncEngine) -> list[int]:
    async with engine.connect() as conn:
        return [number for (number,) in await conn.execute(_BY_XID)]


@pytest.fixture
async def account(engine: AsyncEngine) -> None:
    async with engine.begin() as conn:
        await conn.execute(text("create table balance (version integer not null)"))
        await conn.execute(text("insert into balance values (0)"))


async def test_version_1_comes_before_version_2_whichever_transaction_began_first(
    engine: AsyncEngine, events_engine: AsyncEngine, account: None
) -> None:
    events = Events(events_engine)
    one = relay(engine, events)
    begin = text("select pg_current_xact_id()")
    async with engine.connect() as long, engine.connect() as late, engine.connect() as early:
        # By their ids: one that goes on for long, the one that moves second, the one that moves first.
        for conn in (long, late, early):
            await conn.execute(begin)
        assert await move(early) == 1
        await early.commit()
        assert await move(late) == 2
        await late.commit()
        assert await by_xid(engine) == [], "it waits for the long one"
        # The relay does not, and what it numbers is in the order in which the account's lock was held.
        assert await one.forward()
        assert await stored(events_engine) == [(1, 1), (2, 2)]
        await move(long)
        await long.commit()
    assert await one.forward()
    assert await stored(events_engine) == [(1, 1), (2, 2), (3, 3)]
    assert await outbox(engine) == []


async def test_a_poll_by_transaction_id_delivers_version_2_before_version_1(
    engine: AsyncEngine, account: None
) -> None:
    begin = text("select pg_current_xact_id()")
    async with engine.connect() as long, engine.connect() as late, engine.connect() as early:
        for conn in (long, late, early):
            await conn.execute(begin)
        await move(early)
        await early.commit()
        await move(late)
        await late.commit()
        await long.commit()
    assert await by_xid(engine) == [2, 1]
