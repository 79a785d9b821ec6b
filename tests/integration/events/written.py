"""Events as a source would send them."""

import uuid
from typing import Any

from reelmesh.events.v1 import events_pb2
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common.outbox import event_id
from services.events.log import Batch, clock_us
from services.events.messages import parse_batches

OPERATOR = "acme"
DAY_US = 24 * 3600 * 1_000_000
ROUND_ID = "0192f0c1-2d3e-7abc-8def-0123456789ab"


class Clock:
    """A clock of microseconds that stands still until a test moves it; at first it is right."""

    def __init__(self, *, days: int = 0) -> None:
        self.now_us = clock_us() + days * DAY_US

    def __call__(self) -> int:
        return self.now_us


def event(batch_no: int, index: int = 0, *, source: str = "wallet", **fields: Any) -> events_pb2.Event:
    """The index-th event of a source's batch, the same for every call."""
    written = events_pb2.Event(
        event_id=event_id(source, batch_no, index),
        event_type="wallet.settled",
        operator_id=OPERATOR,
        account_id=7,
        account_version=batch_no,
        player_id="ada",
        round_id=ROUND_ID,
        payload_json=b'{"status":"applied",  "stake_minor":100}',
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
    )
    written.event_time.FromSeconds(1_700_000_000 + batch_no)
    written.MergeFrom(events_pb2.Event(**fields))
    return written


def message(batch_no: int, *, source: str = "wallet", count: int = 1) -> events_pb2.EventBatch:
    """A batch of so many events."""
    events = [event(batch_no, index, source=source) for index in range(count)]
    return events_pb2.EventBatch(batch_no=batch_no, events=events)


def batch(batch_no: int, *, source: str = "wallet", count: int = 1) -> Batch:
    """The same, as the log takes it."""
    return parse_batches([message(batch_no, source=source, count=count)])[0]


async def stored(engine: AsyncEngine, source: str = "wallet") -> list[tuple[int, uuid.UUID]]:
    """Batch and id of every stored event of the source, in the order stored."""
    async with engine.connect() as conn:
        statement = text("select batch_no, event_id from event where source = :source order by position")
        return [(row.batch_no, row.event_id) for row in await conn.execute(statement, {"source": source})]
