"""Rows that stay in the outbox after they were acknowledged: how long, what is known of them, old relays."""

from datetime import UTC, datetime, timedelta
from typing import Any

from reelmesh.events.v1 import events_pb2
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common.outbox import OutboxRow, event_id
from services.common.times import timestamp
from tests.integration.common.outboxes import (
    SOURCE,
    Events,
    expire_lease,
    outbox,
    relay,
    stored,
    to_events,
    write_rows,
)

KEEP_S = 60
LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)


async def execute(engine: AsyncEngine, statement: str, **values: Any) -> Any:
    """One committed statement; its rows."""
    async with engine.begin() as conn:
        result = await conn.execute(text(statement), values)
        return result.all() if result.returns_rows else None


async def age(engine: AsyncEngine, *numbers: int) -> None:
    """As if these rows had been written before they had to be kept."""
    await execute(
        engine,
        f"""update outbox set create_time = create_time - interval '{KEEP_S + 1} s'
            where cast(payload -> 'numbers' ->> 0 as integer) = any(:numbers)""",
        numbers=list(numbers),
    )


async def kept_since(engine: AsyncEngine) -> datetime:
    """What is known of the deleted rows."""
    [[since]] = await execute(engine, "select greatest(kept_since, '0001-01-01 00:00Z') from relay")
    time: datetime = since.astimezone(UTC)
    return time


async def test_rows_stay_after_they_were_acknowledged_and_are_not_sent_again(
    engine: AsyncEngine, events_engine: AsyncEngine
) -> None:
    events = Events(events_engine)
    one = relay(engine, events, keep_s=KEEP_S)
    await write_rows(engine, 1, 2)
    assert await one.forward() == 2
    before = await execute(engine, "select xmin, ctid from relay")
    assert await one.forward() == 0
    assert await execute(engine, "select xmin, ctid from relay") == before, "an idle relay writes nothing"
    await write_rows(engine, 3)
    assert await one.forward() == 1
    assert events.requests == [[(1, 1), (2, 1)], [(3, 1)]]
    assert [batch_no for _, batch_no in await outbox(engine)] == [1, 2, 3]
    assert await kept_since(engine) == LONG_AGO, "nothing was deleted yet"


async def test_what_is_old_goes_with_the_next_acknowledgement(
    engine: AsyncEngine, events_engine: AsyncEngine
) -> None:
    one = relay(engine, Events(events_engine), keep_s=KEEP_S)
    await write_rows(engine, 1, 2)
    await one.forward()
    await age(engine, 1)
    [[deleted_time]] = await execute(engine, "select min(create_time) from outbox")
    await write_rows(engine, 3)
    await one.forward()
    assert [batch_no for _, batch_no in await outbox(engine)] == [2, 3]
    assert await kept_since(engine) == deleted_time


async def test_rows_go_in_the_order_of_their_numbers_so_that_no_gap_is_left(
    engine: AsyncEngine, events_engine: AsyncEngine
) -> None:
    """A row that became visible late is old when it gets a high number."""
    one = relay(engine, Events(events_engine), keep_s=KEEP_S)
    await write_rows(engine, 1, 2, 3)
    await age(engine, 1, 3)
    await one.forward()
    assert [batch_no for _, batch_no in await outbox(engine)] == [2, 3]


async def test_nothing_that_waits_is_deleted_however_old_it_is(
    engine: AsyncEngine, events_engine: AsyncEngine
) -> None:
    events = Events(events_engine)
    one = relay(engine, events, keep_s=KEEP_S)
    await write_rows(engine, 1)
    await one.forward()
    await write_rows(engine, 2)
    await age(engine, 1, 2)
    events.down = RuntimeError("away")
    try:
        await one.forward()
    except RuntimeError:
        events.down = None
    assert [batch_no for _, batch_no in await outbox(engine)] == [1, 2]
    assert await one.forward() == 1
    assert await outbox(engine) == []
    assert [number for _, number in await stored(events_engine)] == [1, 2]


async def test_relays_with_and_without_the_new_columns_take_turns(
    engine: AsyncEngine, events_engine: AsyncEngine
) -> None:
    """A rolling upgrade: nothing is lost or stored twice, and nobody believes that all is kept."""
    events = Events(events_engine)
    first, second = relay(engine, events, keep_s=KEEP_S), relay(engine, events, keep_s=KEEP_S)
    await write_rows(engine, 1, 2)
    assert await first.forward() == 2
    await expire_lease(engine)
    await write_rows(engine, 3)
    await forward_as_before(engine, events)
    assert await outbox(engine) == [], "it sends again what was kept, and deletes it"
    assert await execute(engine, "select kept_by = holder from relay") == [(False,)]

    await write_rows(engine, 4)
    await expire_lease(engine)
    assert await second.forward() == 1
    assert await execute(engine, "select kept_by = holder from relay") == [(True,)]
    since = await kept_since(engine)
    assert since > LONG_AGO, "who follows a holder that kept no count knows of nothing before"

    await expire_lease(engine)
    await write_rows(engine, 5)
    assert await first.forward() == 1
    assert await kept_since(engine) == since, "who follows one that did believes it"
    assert [number for _, number in await stored(events_engine)] == [1, 2, 3, 4, 5]
    assert [batch_no for batch_no, _ in await stored(events_engine)] == [1, 2, 3, 4, 5]
    assert since < datetime.now(UTC) + timedelta(hours=1)


async def forward_as_before(engine: AsyncEngine, events: Events) -> None:
    """A pass of a relay from before the columns, with its statements."""
    [[last]] = await execute(
        engine,
        """insert into relay as r (source, holder, lease_until)
        select :source, 'old', clock_timestamp() + interval '5 s' where exists (select from outbox)
        on conflict (source) do update set holder = excluded.holder, lease_until = excluded.lease_until
        where r.holder = excluded.holder or r.lease_until < clock_timestamp() returning r.batch_no_last""",
        source=SOURCE,
    )
    await execute(
        engine,
        """with next as (
          select outbox_id, row_number() over (order by outbox_id) as n from outbox where batch_no is null),
        numbered as (
          update outbox o set batch_no = :last + n from next where o.outbox_id = next.outbox_id)
        update relay set batch_no_last = :last + (select count(*) from next) where source = :source""",
        last=last,
        source=SOURCE,
    )
    rows = await execute(
        engine,
        "select outbox_id, kind, payload, create_time, batch_no from outbox "
        "where batch_no is not null order by batch_no",
    )
    request = events_pb2.AppendRequest()
    async with engine.connect() as conn:
        for row, made in zip(rows, await to_events(conn, [OutboxRow(*r[:4]) for r in rows]), strict=True):
            for index, event in enumerate(made):
                event.event_id = event_id(SOURCE, row.outbox_id, index)
                event.event_time.CopyFrom(timestamp(row.create_time))
            request.batches.add(batch_no=row.batch_no).events.extend(made)
    last = (await events.Append(request)).batch_no_last
    await execute(engine, "delete from outbox where batch_no <= :last", last=last)
