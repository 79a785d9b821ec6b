"""The relay: carries a service's outbox to the events service, at least once, in gapless batches.

One outbox row is one batch. It gets its `batch_no` in a transaction of its own and keeps it, with the same
content, until the events service has acknowledged it: a crash anywhere in between repeats, never loses.
"""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

import uuid_utils
from opentelemetry.trace import SpanKind
from reelmesh.events.v1 import events_pb2, events_pb2_grpc
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db, failpoints, telemetry
from services.common import telemetry_names as names
from services.common.times import timestamp

log = logging.getLogger(__name__)

BATCHES_MAX = 50
REQUEST_SIZE_BYTES_MAX = 1024 * 1024
# What an event is longer than its payload, at most; nearly. To measure it would be to serialise it twice.
EVENT_HEAD_BYTES = 512
LEASE_S = 5
BACKOFF_S_MAX = 1.0
# The library in C: an id is made for every event.
_EVENT_NAMESPACE = uuid_utils.uuid5(uuid_utils.NAMESPACE_DNS, "events.reelmesh")

# Two relays of one source meet at this row. batch_no_last is the last number given out, batch_no_acked the
# last one acknowledged: what is above it is still to be sent. Nothing is written while everything is.
# kept_since: no row made after it was deleted. That is known only while every holder of the lease kept count,
# so it starts anew after a holder that did not sign as kept_by: a build from before these columns.
_LEASE = text("""
insert into relay as r (source, holder, lease_until, kept_by)
select cast(:source as text), cast(:holder as text), clock_timestamp() + make_interval(secs => :lease_s),
  cast(:holder as text)
where exists (select from outbox where batch_no is null)
  or (select max(batch_no) from outbox)
    > coalesce((select batch_no_acked from relay where source = cast(:source as text)), 0)
on conflict (source) do update set holder = excluded.holder, lease_until = excluded.lease_until,
  kept_by = excluded.kept_by,
  kept_since = case when r.kept_by = r.holder then r.kept_since else clock_timestamp() end
where r.holder = excluded.holder or r.lease_until < clock_timestamp()
returning r.batch_no_last, r.batch_no_acked""")

# Rows become visible out of the order of their ids: whatever is visible and has no number is next, however
# low its id is. (:after is 0 but in the test that shows what a poll by id would lose.)
_NUMBER = text("""
with next as (
  select outbox_id, row_number() over (order by outbox_id) as n
  from (select outbox_id from outbox where batch_no is null and outbox_id > :after
        order by outbox_id limit :batches_max) unsent),
numbered as (
  update outbox o set batch_no = :batch_no_last + n from next where o.outbox_id = next.outbox_id
  returning o.outbox_id, o.kind, o.payload, o.create_time, o.batch_no),
counted as (
  update relay set batch_no_last = :batch_no_last + (select count(*) from next)
  where source = :source and exists (select from next))
select * from (
  (select outbox_id, kind, payload, create_time, batch_no from outbox where batch_no > :batch_no_acked
   order by batch_no limit :batches_max)
  union all select * from numbered) waiting
order by batch_no limit :batches_max""")

# What is deleted is a prefix of the numbers, so that those left have no gap: up to the first row that is
# younger than keep_s, of what is acknowledged. Between two ends, which to the planner are few rows.
_ACKNOWLEDGE = text("""
with gone as (
  delete from outbox where batch_no between (select min(batch_no) from outbox) and least(
    cast(:batch_no_acked as bigint),
    (select min(batch_no) - 1 from outbox where create_time > now() - make_interval(secs => :keep_s)))
  returning create_time)
update relay set batch_no_acked = greatest(batch_no_acked, :batch_no_acked),
  kept_since = greatest(kept_since, (select max(create_time) from gone))
where source = :source""")


class OutboxRow(NamedTuple):
    """What one transaction of the service wrote down about itself."""

    outbox_id: int
    kind: str
    payload: dict[str, Any]
    create_time: datetime


class _Batch(NamedTuple):
    """An outbox row with its number."""

    row: OutboxRow
    batch_no: int


# A batch's number and its events.
_Events = tuple[int, Sequence[events_pb2.Event]]
# The connection is a HotConnection; who does not read the database need not know it.
ToEvents = Callable[[Any, Sequence[OutboxRow]], Awaitable[Sequence[Sequence[events_pb2.Event]]]]


def event_id(source: str, outbox_id: int, index: int) -> str:
    """The id of the index-th event of an outbox row: the same for every delivery."""
    return str(uuid_utils.uuid5(_EVENT_NAMESPACE, f"{source}/{outbox_id}/{index}"))


class Relay:
    """Forwards the outbox of one source while it holds the source's lease. Any number of them may run."""

    def __init__(
        self,
        *,
        source: str,
        engine: AsyncEngine,
        events: "events_pb2_grpc.EventServiceAsyncStub",
        to_events: ToEvents,
        interval_ms: int = 250,
        keep_s: int = 0,
        poll_by_seq: bool = False,
    ) -> None:
        """`to_events` makes one event or more of every row, the same each time; it may read the database.

        event_id is set here, event_time where it is absent. An acknowledged row stays for `keep_s`, for those
        who compare, and until the next acknowledgement. `poll_by_seq`: for the test that shows its loss.
        """
        self._source = source
        self._engine = engine
        self._events = events
        self._to_events = to_events
        self._interval_s = interval_ms / 1000
        self._keep_s = keep_s
        self._poll_by_seq = poll_by_seq
        self._outbox_id_last = 0
        self._batches_max = BATCHES_MAX
        self._holder = str(uuid.uuid4())

    async def run(self, stop: asyncio.Event) -> None:
        """Forwards until `stop` is set; waits longer, up to 1 s, while the database or events is away."""
        wait_s, trouble = self._interval_s, ""
        while not stop.is_set():
            try:
                full = await self.forward() >= self._batches_max
                self._batches_max = BATCHES_MAX
                # A pass costs the same for one row and for fifty: unless more wait, let them gather.
                wait_s, trouble = 0 if full else self._interval_s, ""
            except Exception as error:
                wait_s = min(max(2 * wait_s, self._interval_s), BACKOFF_S_MAX)
                # To ask whether events is back, one will do: making fifty, each time, would slow the service.
                self._batches_max = 1
                reason = str(db.translate(error))
                if reason != trouble:  # once, not for every attempt
                    log.warning("relay %s pauses: %s", self._source, reason, exc_info=error)
                trouble = reason
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), wait_s)

    async def forward(self) -> int:
        """One pass: numbers what is new, sends what is numbered, marks and deletes what is acknowledged.

        Returns how many rows it forwarded. Errors: as the database and Append raise; nothing is lost by them.
        """
        rows = await self._number()
        if not rows:
            return 0
        await failpoints.reach("mid_relay", self._source)
        for part in _parts(await self._batches(rows)):
            await self._append(part)
        return len(rows)

    async def _number(self) -> list[_Batch]:
        lease = {"source": self._source, "holder": self._holder, "lease_s": LEASE_S}
        async with db.hot_transaction(self._engine, "relay_number", links=()) as connection:
            held = await connection.execute(_LEASE, lease)
            if not held:
                return []
            after = self._outbox_id_last if self._poll_by_seq else 0
            number = {"source": self._source, "batch_no_last": held[0][0], "batch_no_acked": held[0][1]}
            rows = await connection.execute(
                _NUMBER, {**number, "after": after, "batches_max": self._batches_max}
            )
        self._outbox_id_last = max([self._outbox_id_last, *(row[0] for row in rows)])
        return [_Batch(OutboxRow(*row[:4]), row[4]) for row in rows]

    async def _batches(self, numbered: Sequence[_Batch]) -> list[_Events]:
        async with db.hot_statements(self._engine, "relay_read", links=()) as connection:
            events = await self._to_events(connection, [batch.row for batch in numbered])
        batches: list[_Events] = []
        for (row, batch_no), of_row in zip(numbered, events, strict=True):
            if not of_row:
                raise ValueError(f"outbox row {row.outbox_id} ({row.kind}) made no event")
            create_time = timestamp(row.create_time)
            for index, event in enumerate(of_row):
                event.event_id = event_id(self._source, row.outbox_id, index)
                if not event.HasField("event_time"):
                    event.event_time.CopyFrom(create_time)
            batches.append((batch_no, of_row))
        return batches

    async def _append(self, batches: Sequence[_Events]) -> None:
        traceparents = [event.traceparent for _, events in batches for event in events]
        kept = (traceparent for traceparent in traceparents if not traceparent.endswith("-00"))
        links = [link for link in map(telemetry.link, kept) if link is not None]
        attributes: dict[str, str | int] = {
            names.MESSAGING_SYSTEM: "reelmesh_outbox",
            names.MESSAGING_OPERATION_TYPE: "send",
            names.MESSAGING_DESTINATION: self._source,
            names.MESSAGING_BATCH_COUNT: len(traceparents),
        }
        with telemetry.span(names.SPAN_RELAY, kind=SpanKind.PRODUCER, links=links, attributes=attributes):
            request = events_pb2.AppendRequest()
            for batch_no, events in batches:
                # Into the request itself: a message that is put into another is copied.
                request.batches.add(batch_no=batch_no).events.extend(events)
            stored = await self._events.Append(request)
            # The lease may be another's by now. What is acknowledged is so for everyone.
            acked = {"source": self._source, "batch_no_acked": min(stored.batch_no_last, batches[-1][0])}
            async with db.hot_statements(self._engine, "relay_delete") as connection:
                await connection.execute(_ACKNOWLEDGE, {**acked, "keep_s": self._keep_s})


def _parts(batches: Sequence[_Events]) -> Iterator[list[_Events]]:
    """The batches in messages of a size that may be sent, at least one batch in each."""
    part: list[_Events] = []
    size_bytes = 0
    for batch in batches:
        batch_bytes = sum(len(event.payload_json) + EVENT_HEAD_BYTES for event in batch[1])
        if part and size_bytes + batch_bytes > REQUEST_SIZE_BYTES_MAX:
            yield part
            part, size_bytes = [], 0
        part.append(batch)
        size_bytes += batch_bytes
    if part:
        yield part
