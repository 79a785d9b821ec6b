"""The feed as a stream of messages."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
from reelmesh.events.v1 import events_pb2, events_pb2_grpc

from services.common.errors import FieldInvalid, PageTokenInvalid
from services.events import messages
from services.events.feed import Feed

Context = grpc.aio.ServicerContext[Any, Any]


class FeedHandlers(events_pb2_grpc.EventServiceServicer):
    """Subscribe."""

    _feed: Feed

    async def Subscribe(
        self, request: events_pb2.SubscribeRequest, context: Context
    ) -> AsyncIterator[events_pb2.SubscribeResponse]:
        """Events behind the cursor, or from a time on, without end.

        gRPC takes the next message when the connection has room for it: until then nothing more is read.
        """
        wanted = messages.parse_filter(request)
        query = f"subscribe {wanted!r}"
        try:
            position_after = messages.decode_position(request.cursor, query)
        except PageTokenInvalid:
            raise FieldInvalid(field="cursor", problem="not of this subscription") from None
        if not request.cursor:
            start = messages.parse_time(request.append_time_start, "append_time_start")
            position_after = await self._feed.kept_after(max(0, start - 1))
        async for page in self._feed.read(wanted, position_after=position_after):
            yield events_pb2.SubscribeResponse(
                events=[messages.message(stored) for stored in page.events],
                cursor=messages.encode_position(query, page.position),
            )
