"""From the log of before: its events move to their days, are chained, and sources go on where they were."""

import asyncio
import uuid

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.local.databases import Server
from services.common.db import create_engine
from services.common.migrate import migrate
from services.events import store
from services.events.log import Log
from services.events.records import EventFilter
from services.events.verify import verifier
from tests.integration.events.written import batch

# What the build before wrote: two sources, days between them, and a clock that was put back.
_WRITTEN = """
insert into inbox (source, batch_no) select 'wallet', n from generate_series(1, 4) n;
insert into inbox (source, batch_no) values ('game', 1);
insert into source_position values ('wallet', 4), ('game', 1);
insert into event (event_id, source, batch_no, batch_index, event_type, operator_id, account_id,
  account_version, session_id, round_id, event_time, append_time, payload, traceparent)
select gen_random_uuid(), source, batch_no, batch_index, 'wallet.settled', 'acme', 7, batch_no, null,
  gen_random_uuid(), '2026-01-01 00:00:00.123456Z', append_time, cast(payload as json), ''
from (values ('wallet', 1, 0, now() - interval '3 days', '{"a": "\\u00e9"}'),
  ('wallet', 1, 1, now() - interval '3 days', '{"a":  1}'), ('game', 1, 0, now() - interval '2 days', '{}'),
  ('wallet', 2, 0, now() - interval '1 day', '{"a":"\\"x\\\\y"}'), ('wallet', 3, 0, now(), '{}'),
  ('wallet', 4, 0, now() - interval '1 second', '{}')) v(source, batch_no, batch_index, append_time, payload)
"""


async def test_the_log_of_before_is_chained_day_by_day(server: Server) -> None:
    name = f"events_before_{uuid.uuid4().hex[:12]}"
    server.create_role("events")
    url = server.create_database("events", name)
    try:
        await asyncio.to_thread(migrate, "events", url, revision="0001")
        engine = create_engine(url, pool_size=2, application_name="events")
        try:
            async with engine.begin() as conn:
                for statement in _WRITTEN.split(";\n"):
                    await conn.exec_driver_sql(statement)
            await asyncio.to_thread(migrate, "events", url)
            await check(engine)
        finally:
            await engine.dispose()
    finally:
        server.drop_database(name)


async def check(engine: AsyncEngine) -> None:
    chains = {one.source: one for one in await verifier.verify(engine)}
    assert {source: (one.events, one.fault) for source, one in chains.items()} == {
        "game": (1, None),
        "wallet": (5, None),
    }
    async with engine.connect() as conn:
        found = await store.list_events(
            conn, EventFilter("acme"), position_after=0, position_end=None, limit=10
        )
        days = await conn.execute(text("select count(distinct tableoid) from event"))
        assert days.scalar_one() == 4
        names = await conn.execute(text("select relname from pg_class where relname like '%before%'"))
        assert list(names) == []
    assert [(one.source, one.event.batch_no, one.event.batch_index) for one in found] == [
        ("wallet", 1, 0),
        ("wallet", 1, 1),
        ("game", 1, 0),
        ("wallet", 2, 0),
        ("wallet", 3, 0),
        ("wallet", 4, 0),
    ]
    assert [one.event.payload_json for one in found][:4] == [
        '{"a": "\\u00e9"}',
        '{"a":  1}',
        "{}",
        '{"a":"\\"x\\\\y"}',
    ]
    log = Log(engine)
    assert await log.append("wallet", [batch(4), batch(5)]) == 5
    assert await log.append("game", [batch(2, source="game")]) == 2
    assert [one.fault for one in await verifier.verify(engine)] == [None, None]
