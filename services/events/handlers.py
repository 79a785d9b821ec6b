"""gRPC to the log and back: parse, one transaction, reply."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import grpc
import msgspec
from google.protobuf.timestamp_pb2 import Timestamp
from opentelemetry.trace import SpanKind
from reelmesh.events.v1 import events_pb2, events_pb2_grpc
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db, telemetry
from services.common import telemetry_names as names
from services.common.errors import FieldInvalid, FieldMissing, PageTokenInvalid
from services.common.fields import (
    decode_page_token,
    encode_page_token,
    require_page,
    require_text,
    require_uuid,
    require_uuid_text,
)
from services.common.server import current_caller
from services.events import log, store

BATCHES_MAX = 100
PAGE_SIZE_DEFAULT = 100
PAGE_SIZE_MAX = 500
_EVENT_TYPE = re.compile(r"[a-z]+\.[a-z_]+")
# Years 1 to 9999, the range of a Timestamp.
_SECONDS_MIN, _SECONDS_MAX = -62_135_596_800, 253_402_300_799
_JSON_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])

Context = grpc.aio.ServicerContext[Any, Any]


class Handlers(events_pb2_grpc.EventServiceServicer):
    """The EventService."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def Append(self, request: events_pb2.AppendRequest, context: Context) -> events_pb2.AppendResponse:
        """Stores a source's batches once."""
        source = current_caller().service
        batches = parse_batches(request.batches)
        traceparents = [event.traceparent for batch in batches for event in batch.events]
        kept = (traceparent for traceparent in traceparents if not traceparent.endswith("-00"))
        links = [link for link in map(telemetry.link, kept) if link is not None]
        attributes: dict[str, str | int] = {
            names.MESSAGING_SYSTEM: "reelmesh_outbox",
            names.MESSAGING_OPERATION_TYPE: "process",
            names.MESSAGING_DESTINATION: source,
            names.MESSAGING_BATCH_COUNT: len(traceparents),
        }
        with telemetry.span(names.SPAN_PROCESS, kind=SpanKind.CONSUMER, links=links, attributes=attributes):
            async with db.hot_transaction(self._engine, "append") as conn:
                batch_no_last = await log.append(conn, source, batches)
        return events_pb2.AppendResponse(batch_no_last=batch_no_last)

    async def ListEvents(
        self, request: events_pb2.ListEventsRequest, context: Context
    ) -> events_pb2.ListEventsResponse:
        """One page of an operator's events."""
        wanted = parse_filter(request)
        page_size = require_page(request.page_size, default=PAGE_SIZE_DEFAULT, size_max=PAGE_SIZE_MAX)
        query = "|".join(map(str, wanted))
        position_after = _position(decode_page_token(request.page_token, query))
        async with db.transaction(self._engine, "list_events") as conn:
            # One more than the page tells whether there is another.
            found = await store.list_events(conn, wanted, position_after=position_after, limit=page_size + 1)
        page = found[:page_size]
        more = len(found) > page_size
        return events_pb2.ListEventsResponse(
            events=[_message(stored) for stored in page],
            next_page_token=encode_page_token(query, page[-1].position) if more else "",
        )


def parse_batches(batches: Sequence[events_pb2.EventBatch]) -> list[log.Batch]:
    """The batches of an AppendRequest. Errors: FIELD_MISSING, FIELD_INVALID."""
    if not batches:
        raise FieldMissing(field="batches")
    if len(batches) > BATCHES_MAX:
        raise FieldInvalid(field="batches", problem=f"more than {BATCHES_MAX}")
    numbers = [batch.batch_no for batch in batches]
    if numbers[0] < 1 or any(later <= earlier for earlier, later in pairwise(numbers)):
        raise FieldInvalid(field="batches", problem="batch_no does not ascend from 1")
    for batch in batches:
        if not batch.events:
            raise FieldMissing(field="batches.events")
    return [log.Batch(batch.batch_no, [_event(event, batch) for event in batch.events]) for batch in batches]


def _event(event: events_pb2.Event, batch: events_pb2.EventBatch) -> store.Event:
    if not _EVENT_TYPE.fullmatch(require_text(event.event_type, "event_type")):
        raise FieldInvalid(field="event_type", problem="not <noun>.<past participle>")
    if min(event.account_id, event.account_version) < 0:
        raise FieldInvalid(field="account_id", problem="negative")
    if not event.HasField("event_time"):
        raise FieldMissing(field="event_time")
    seconds, nanos = event.event_time.seconds, event.event_time.nanos
    if not (_SECONDS_MIN <= seconds <= _SECONDS_MAX and 0 <= nanos < 1_000_000_000):
        raise FieldInvalid(field="event_time", problem="out of range")
    # Text and object of the payload are the decoder's to judge.
    try:
        _JSON_OBJECT.decode(event.payload_json)
        payload_json = event.payload_json.decode()
    except (ValueError, msgspec.MsgspecError):
        raise FieldInvalid(field="payload_json", problem="not a JSON object") from None
    return store.Event(
        event_id=require_uuid_text(event.event_id, "event_id"),
        batch_no=batch.batch_no,
        event_type=event.event_type,
        operator_id=require_text(event.operator_id, "operator_id"),
        account_id=event.account_id,
        account_version=event.account_version,
        session_id=require_uuid_text(event.session_id, "session_id") if event.session_id else None,
        round_id=require_uuid_text(event.round_id, "round_id") if event.round_id else None,
        event_time_us=seconds * 1_000_000 + nanos // 1000,
        payload_json=payload_json,
        traceparent=require_text(event.traceparent, "traceparent") if event.traceparent else "",
    )


def parse_filter(request: events_pb2.ListEventsRequest) -> store.EventFilter:
    """Whose events, and which. Errors: FIELD_MISSING, FIELD_INVALID."""
    if request.account_id < 0:
        raise FieldInvalid(field="account_id", problem="negative")
    return store.EventFilter(
        operator_id=require_text(request.operator_id, "operator_id"),
        account_id=request.account_id,
        session_id=require_uuid(request.session_id, "session_id") if request.session_id else None,
        round_id=require_uuid(request.round_id, "round_id") if request.round_id else None,
        event_type=require_text(request.event_type, "event_type") if request.event_type else "",
    )


def _position(parts: tuple[str, ...]) -> int:
    if not parts:
        return 0
    if len(parts) != 1 or not re.fullmatch(r"\d{1,18}", parts[0]):
        raise PageTokenInvalid()
    return int(parts[0])


def _message(stored: store.StoredEvent) -> events_pb2.Event:
    event = stored.event
    seconds, rest_us = divmod(event.event_time_us, 1_000_000)
    return events_pb2.Event(
        event_id=event.event_id,
        event_type=event.event_type,
        operator_id=event.operator_id,
        account_id=event.account_id,
        account_version=event.account_version,
        session_id=event.session_id or "",
        round_id=event.round_id or "",
        event_time=Timestamp(seconds=seconds, nanos=rest_us * 1000),
        payload_json=event.payload_json.encode(),
        traceparent=event.traceparent,
        source=stored.source,
        batch_no=event.batch_no,
        position=stored.position,
    )
