"""docs/kubernetes/backup.md: a source or the log comes back from a backup that is older than the other."""

import re
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.integration.common.outboxes import Events, outbox, relay, stored, write_rows

PAGE = Path(__file__).parents[3] / "docs" / "kubernetes" / "backup.md"
KEEP_S = 3600


async def execute(engine: AsyncEngine, script: str) -> None:
    """As psql runs it: statement by statement, committed at the end."""
    async with engine.begin() as conn:
        for statement in script.split(";"):
            if statement.strip() and statement.strip() not in ("begin", "commit"):
                await conn.execute(text(statement))


async def count_on(engine: AsyncEngine, head: int) -> None:
    """What the page does to a source."""
    [script] = re.findall(r"```sql\n(-- the restored.*?)```", PAGE.read_text(), re.DOTALL)
    assert script.count("4711") == 3
    await execute(engine, re.sub(r"--.*", "", script).replace("4711", str(head)))


async def head_of(events_engine: AsyncEngine) -> int:
    """What the page has asked of the log."""
    [question] = re.findall(r'-c "(select source, batch_no from source_head[^"]*)"', PAGE.read_text())
    async with events_engine.connect() as conn:
        [row] = (await conn.execute(text(question))).all()
    return int(row.batch_no)


async def event_ids(events_engine: AsyncEngine) -> list[str]:
    async with events_engine.connect() as conn:
        return list(await conn.scalars(text("select cast(event_id as text) from event order by position")))


@pytest.mark.parametrize("numbers_moved", [True, False])
async def test_a_source_that_is_older_than_the_log(
    engine: AsyncEngine, events_engine: AsyncEngine, numbers_moved: bool
) -> None:
    """Without the page's step the log takes new events for those it has, and they are lost without a word."""
    events = Events(events_engine)
    await write_rows(engine, 1, 2)
    one = relay(engine, events, keep_s=KEEP_S)
    assert await one.forward()
    await write_rows(engine, 3, 4)
    assert await one.forward() == 2
    # The source of before 3 and 4: its rows, its numbers, its sequence.
    await execute(
        engine,
        """delete from outbox where batch_no > 2;
           update relay set batch_no_last = 2, batch_no_acked = 2, lease_until = '-infinity';
           select setval('outbox_outbox_id_seq', 2)""",
    )
    if numbers_moved:
        await count_on(engine, await head_of(events_engine))
    await write_rows(engine, 5, 6)
    assert await relay(engine, events, keep_s=KEEP_S).forward() == 2
    kept = [batch_no for _, batch_no in await outbox(engine)]
    # The wallet's auditor halts the ledger for a gap in them.
    assert kept == ([5, 6] if numbers_moved else [1, 2, 3, 4])
    found = [number for _, number in await stored(events_engine)]
    assert found == ([1, 2, 3, 4, 5, 6] if numbers_moved else [1, 2, 3, 4])
    ids = await event_ids(events_engine)
    assert len(set(ids)) == len(ids)


async def test_a_log_that_is_older_than_its_source(engine: AsyncEngine, events_engine: AsyncEngine) -> None:
    """What the outbox still keeps is sent once more; a log that lost it all would refuse whatever comes."""
    await write_rows(engine, 1, 2, 3)
    assert await relay(engine, Events(events_engine), keep_s=KEEP_S).forward() == 3
    await execute(
        events_engine,
        """delete from event where batch_no > 1;
           update source_head s set batch_no = 1, position = e.position, hash = e.hash from event e;
           update log_head set position = (select max(position) from event)""",
    )
    await write_rows(engine, 4)
    await execute(engine, "update relay set lease_until = '-infinity'")
    with pytest.raises(Exception, match=r"(?i)batch"):
        await relay(engine, Events(events_engine), keep_s=KEEP_S).forward()
    await count_on(engine, await head_of(events_engine))
    await execute(engine, "update relay set lease_until = '-infinity'")
    assert await relay(engine, Events(events_engine), keep_s=KEEP_S).forward() == 3
    assert await stored(events_engine) == [(1, 1), (2, 2), (3, 3), (4, 4)]
    assert [batch_no for _, batch_no in await outbox(engine)] == [2, 3, 4]
