"""A source that writes outbox rows, and an events service without its RPC: the real log and database."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any, cast

from reelmesh.events.v1 import events_pb2, events_pb2_grpc
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.common.outbox import OutboxRow, Relay
from services.events.log import Log
from services.events.messages import parse_batches

SOURCE = "session"


class Events:
    """Append as the service does it; remembers the requests. `gate` holds the answer's way in."""

    def __init__(self, engine: AsyncEngine, *, arbiter: bool = True) -> None:
        self.log = Log(engine, fenced=arbiter)
        self.requests: list[list[tuple[int, int]]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.arrived = asyncio.Event()
        self.down: Exception | None = None

    async def Append(self, request: events_pb2.AppendRequest) -> events_pb2.AppendResponse:
        if self.down is not None:
            raise self.down
        self.arrived.set()
        await self.gate.wait()
        self.requests.append([(batch.batch_no, len(batch.events)) for batch in request.batches])
        last = await self.log.append(SOURCE, parse_batches(request.batches))
        return events_pb2.AppendResponse(batch_no_last=last)


def relay(engine: AsyncEngine, events: Events, **options: Any) -> Relay:
    """A relay of the source."""
    stub = cast("events_pb2_grpc.EventServiceAsyncStub", events)
    return Relay(source=SOURCE, engine=engine, events=stub, **{"to_events": to_events, **options})


async def to_events(
    _conn: AsyncConnection, rows: Sequence[OutboxRow]
) -> Sequence[Sequence[events_pb2.Event]]:
    """One event for each number in the row."""
    return [
        [
            events_pb2.Event(
                event_type="session.created",
                operator_id="acme",
                payload_json=json.dumps({"number": number, "pad": row.payload.get("pad", "")}).encode(),
                traceparent=row.payload.get("traceparent", ""),
            )
            for number in row.payload["numbers"]
        ]
        for row in rows
    ]


async def write(conn: AsyncConnection, *numbers: int, **payload: str) -> None:
    """One outbox row, in the caller's transaction."""
    await conn.execute(
        text("insert into outbox (kind, payload) values ('test', cast(:payload as json))"),
        {"payload": json.dumps({"numbers": numbers, **payload})},
    )


async def write_rows(engine: AsyncEngine, *numbers: int) -> None:
    """One row, and one transaction, for each number."""
    for number in numbers:
        async with engine.begin() as conn:
            await write(conn, number)


async def outbox(engine: AsyncEngine) -> list[tuple[int, int | None]]:
    """Id and batch of the rows that are left."""
    async with engine.connect() as conn:
        rows = await conn.execute(text("select outbox_id, batch_no from outbox order by outbox_id"))
        return [(row.outbox_id, row.batch_no) for row in rows]


async def stored(events_engine: AsyncEngine) -> list[tuple[int, int]]:
    """Batch and number of every event, in the order stored."""
    statement = text("select batch_no, payload ->> 'number' as number from event order by position")
    async with events_engine.connect() as conn:
        return [(row.batch_no, int(row.number)) for row in await conn.execute(statement)]


async def expire_lease(engine: AsyncEngine) -> None:
    """As if the holder had slept through its lease."""
    async with engine.begin() as conn:
        await conn.execute(text("update relay set lease_until = '-infinity'"))


async def until_empty(engine: AsyncEngine) -> None:
    """Returns when everything was acknowledged."""
    async with asyncio.timeout(20):
        while await outbox(engine):  # noqa: ASYNC110 - the row goes in another process
            await asyncio.sleep(0.02)
