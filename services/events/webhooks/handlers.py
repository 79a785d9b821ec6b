"""Webhooks and their dead letters, as their operators manage them."""

from typing import Any

import grpc
from reelmesh.events.v1 import events_pb2, events_pb2_grpc
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db
from services.common.errors import FieldInvalid, FieldMissing
from services.common.fields import require_page, require_text, require_uuid_text
from services.events import messages, store
from services.events.webhooks import addresses, signature
from services.events.webhooks.webhooks import Webhooks

PAGE_SIZE_DEFAULT = 100
PAGE_SIZE_MAX = 200
EVENT_IDS_MAX = 200

Context = grpc.aio.ServicerContext[Any, Any]


class WebhookHandlers(events_pb2_grpc.EventServiceServicer):
    """What operators do with their webhooks."""

    _engine: AsyncEngine
    _webhooks: Webhooks
    _development: bool

    async def CreateWebhook(
        self, request: events_pb2.CreateWebhookRequest, context: Context
    ) -> events_pb2.CreateWebhookResponse:
        """Registers an address."""
        webhook = await self._webhooks.create(
            operator_id=require_text(request.operator_id, "operator_id"),
            request_id=require_uuid_text(request.request_id, "request_id"),
            url=self._require_url(request.url),
            event_types=messages.require_event_types(request.event_types),
            secret=_require_secret(request.secret),
        )
        return events_pb2.CreateWebhookResponse(webhook=messages.webhook(webhook))

    async def ListWebhooks(
        self, request: events_pb2.ListWebhooksRequest, context: Context
    ) -> events_pb2.ListWebhooksResponse:
        """An operator's webhooks."""
        operator_id = require_text(request.operator_id, "operator_id")
        found = await self._webhooks.list(operator_id=operator_id)
        return events_pb2.ListWebhooksResponse(webhooks=map(messages.webhook, found))

    async def RotateWebhookSecret(
        self, request: events_pb2.RotateWebhookSecretRequest, context: Context
    ) -> events_pb2.RotateWebhookSecretResponse:
        """Another secret."""
        webhook = await self._webhooks.rotate(**_which(request), secret=_require_secret(request.secret))
        return events_pb2.RotateWebhookSecretResponse(webhook=messages.webhook(webhook))

    async def PauseWebhook(
        self, request: events_pb2.PauseWebhookRequest, context: Context
    ) -> events_pb2.PauseWebhookResponse:
        """Stops deliveries."""
        webhook = await self._webhooks.set_paused(**_which(request), paused=True)
        return events_pb2.PauseWebhookResponse(webhook=messages.webhook(webhook))

    async def ResumeWebhook(
        self, request: events_pb2.ResumeWebhookRequest, context: Context
    ) -> events_pb2.ResumeWebhookResponse:
        """Goes on with them."""
        webhook = await self._webhooks.set_paused(**_which(request), paused=False)
        return events_pb2.ResumeWebhookResponse(webhook=messages.webhook(webhook))

    async def DeleteWebhook(
        self, request: events_pb2.DeleteWebhookRequest, context: Context
    ) -> events_pb2.DeleteWebhookResponse:
        """Forgets a webhook."""
        await self._webhooks.delete(**_which(request))
        return events_pb2.DeleteWebhookResponse()

    async def ListDeadLetters(
        self, request: events_pb2.ListDeadLettersRequest, context: Context
    ) -> events_pb2.ListDeadLettersResponse:
        """A page of what a webhook would not take."""
        which = _which(request)
        page_size = require_page(request.page_size, default=PAGE_SIZE_DEFAULT, size_max=PAGE_SIZE_MAX)
        query = f"dead letters {which}"
        found = await self._webhooks.list_dead_letters(
            **which,
            position_after=messages.decode_position(request.page_token, query),
            limit=page_size + 1,
        )
        async with db.transaction(self._engine, "events.find_events") as conn:
            events = await store.find_events(conn, positions=[letter.position for letter in found])
        by_position = {stored.position: stored for stored in events}
        page = found[:page_size]
        return events_pb2.ListDeadLettersResponse(
            dead_letters=[messages.dead_letter(one, by_position.get(one.position)) for one in page],
            next_page_token=messages.encode_position(query, page[-1].position)
            if len(found) > page_size
            else "",
        )

    async def RedeliverDeadLetters(
        self, request: events_pb2.RedeliverDeadLettersRequest, context: Context
    ) -> events_pb2.RedeliverDeadLettersResponse:
        """Has them sent once more."""
        if len(request.event_ids) > EVENT_IDS_MAX:
            raise FieldInvalid(field="event_ids", problem=f"more than {EVENT_IDS_MAX}")
        event_ids = [require_uuid_text(event_id, "event_ids") for event_id in request.event_ids]
        count = await self._webhooks.redeliver(**_which(request), event_ids=event_ids)
        return events_pb2.RedeliverDeadLettersResponse(dead_letters=count)

    def _require_url(self, url: str) -> str:
        if not url:
            raise FieldMissing(field="url")
        try:
            addresses.check_url(url, development=self._development)
        except ValueError as problem:
            raise FieldInvalid(field="url", problem=problem) from None
        return url


def _which(request: Any) -> dict[str, str]:
    return {
        "operator_id": require_text(request.operator_id, "operator_id"),
        "webhook_id": require_uuid_text(request.webhook_id, "webhook_id"),
    }


def _require_secret(text: str) -> bytes:
    if not text:
        raise FieldMissing(field="secret")
    try:
        return signature.parse_secret(text)
    except ValueError as problem:
        raise FieldInvalid(field="secret", problem=problem) from None
