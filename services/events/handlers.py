"""gRPC to the log and back: parse, one transaction, reply."""

from typing import Any

import grpc
from opentelemetry.trace import SpanKind
from reelmesh.events.v1 import events_pb2
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db, telemetry
from services.common import telemetry_names as names
from services.common.fields import require_page, require_text
from services.common.server import current_caller
from services.common.times import timestamp
from services.events import messages, store
from services.events.feed import Feed, fitting, time_of
from services.events.feed_handlers import FeedHandlers
from services.events.log import Log
from services.events.webhooks.handlers import WebhookHandlers
from services.events.webhooks.webhooks import Webhooks

PAGE_SIZE_DEFAULT = 100
PAGE_SIZE_MAX = 500

Context = grpc.aio.ServicerContext[Any, Any]


class Handlers(FeedHandlers, WebhookHandlers):
    """The EventService."""

    def __init__(
        self, engine: AsyncEngine, *, feed: Feed, webhooks: Webhooks, development: bool = False
    ) -> None:
        """`development`: webhooks may lead to this machine, without TLS."""
        self._engine = engine
        self._development = development
        self._log = Log(engine)
        self._feed = feed
        self._webhooks = webhooks

    async def Append(self, request: events_pb2.AppendRequest, context: Context) -> events_pb2.AppendResponse:
        """Stores a source's batches once."""
        source = current_caller().service
        batches = messages.parse_batches(request.batches)
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
            batch_no_last = await self._log.append(source, batches)
        return events_pb2.AppendResponse(batch_no_last=batch_no_last)

    async def ListEvents(
        self, request: events_pb2.ListEventsRequest, context: Context
    ) -> events_pb2.ListEventsResponse:
        """One page of an operator's events."""
        wanted = messages.parse_filter(request)
        position_end = None
        if request.HasField("append_time_end"):
            position_end = messages.parse_time(request.append_time_end, "append_time_end")
        page_size = require_page(request.page_size, default=PAGE_SIZE_DEFAULT, size_max=PAGE_SIZE_MAX)
        query = repr((wanted, position_end, request.source) if request.source else (wanted, position_end))
        # Behind the page before, or from the time on.
        position_after = max(
            messages.parse_time(request.append_time_start, "append_time_start") - 1,
            messages.decode_position(request.page_token, query),
        )
        async with db.transaction(self._engine, "list_events") as conn:
            # One more than the page tells whether there is another.
            found = await store.list_events(
                conn,
                wanted,
                position_after=position_after,
                position_end=position_end,
                limit=page_size + 1,
                source=require_text(request.source, "source") if request.source else "",
            )
            archived = await store.find_position_archived(conn)
        page = fitting(found[:page_size])
        more = len(found) > len(page)
        response = events_pb2.ListEventsResponse(
            events=[messages.message(stored) for stored in page],
            next_page_token=messages.encode_position(query, page[-1].position) if more else "",
        )
        if archived:
            response.append_time_oldest.CopyFrom(timestamp(time_of(archived + 1)))
        return response
