"""Webhooks as their operators manage them."""

import hmac
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.common import db
from services.common.errors import IdReused
from services.common.fields import uuid7
from services.events.errors import WebhookLimitReached, WebhookNotFound
from services.events.records import DeadLetter, Webhook
from services.events.webhooks import store
from services.events.webhooks.vault import Vault

WEBHOOKS_MAX = 20


def now() -> datetime:
    """In UTC."""
    return datetime.now(UTC)


class Webhooks:
    """Registers, shows, pauses, resumes and forgets."""

    def __init__(self, engine: AsyncEngine, vault: Vault, *, clock: Callable[[], datetime] = now) -> None:
        self._engine, self._vault, self._clock = engine, vault, clock

    async def create(
        self, *, operator_id: str, request_id: str, url: str, event_types: tuple[str, ...], secret: bytes
    ) -> Webhook:
        """A new webhook, or the one that this request has made. Errors: ID_REUSED, WEBHOOK_LIMIT_REACHED."""
        webhook_id = str(uuid7())
        values = {
            "webhook_id": webhook_id,
            "operator_id": operator_id,
            "request_id": request_id,
            "url": url,
            "event_types": list(event_types),
            "secret": self._vault.seal(secret, webhook_id=webhook_id),
            "create_time": self._clock(),
        }
        async with db.transaction(self._engine, "events.create_webhook") as conn:
            await store.lock_operator(conn, operator_id=operator_id)
            count = len(await store.list_webhooks(conn, operator_id=operator_id))
            new = await store.insert_webhook(conn, values)
            if new and count >= WEBHOOKS_MAX:
                raise WebhookLimitReached(webhooks_max=WEBHOOKS_MAX)
            webhook = await store.find_by_request(conn, operator_id=operator_id, request_id=request_id)
        known = self._vault.open(webhook.secret, webhook_id=webhook.webhook_id)
        same = (webhook.url, webhook.event_types) == (url, event_types)
        if not (same and hmac.compare_digest(known, secret)):
            raise IdReused(request_id=request_id)
        return webhook

    async def list(self, *, operator_id: str) -> list[Webhook]:
        """All of them, oldest first."""
        async with db.transaction(self._engine, "events.list_webhooks") as conn:
            return await store.list_webhooks(conn, operator_id=operator_id)

    async def rotate(self, *, operator_id: str, webhook_id: str, secret: bytes) -> Webhook:
        """Signs with another secret from now on. Errors: WEBHOOK_NOT_FOUND."""
        async with db.transaction(self._engine, "events.rotate_webhook_secret") as conn:
            await _require(conn, operator_id, webhook_id)
            sealed = self._vault.seal(secret, webhook_id=webhook_id)
            await store.update_secret(conn, webhook_id=webhook_id, secret=sealed)
            return await _require(conn, operator_id, webhook_id)

    async def set_paused(self, *, operator_id: str, webhook_id: str, paused: bool) -> Webhook:
        """Stops it, or lets it go on. Errors: WEBHOOK_NOT_FOUND."""
        async with db.transaction(self._engine, "events.pause_webhook") as conn:
            await _require(conn, operator_id, webhook_id)
            await store.update_paused(conn, webhook_id=webhook_id, paused=paused)
            return await _require(conn, operator_id, webhook_id)

    async def delete(self, *, operator_id: str, webhook_id: str) -> None:
        """Forgets it. Errors: WEBHOOK_NOT_FOUND."""
        async with db.transaction(self._engine, "events.delete_webhook") as conn:
            await _require(conn, operator_id, webhook_id)
            await store.delete_webhook(conn, webhook_id=webhook_id)

    async def list_dead_letters(
        self, *, operator_id: str, webhook_id: str, position_after: int, limit: int
    ) -> Sequence[DeadLetter]:
        """The first ones behind a position. Errors: WEBHOOK_NOT_FOUND."""
        async with db.transaction(self._engine, "events.list_dead_letters") as conn:
            await _require(conn, operator_id, webhook_id)
            return await store.list_dead_letters(
                conn, webhook_id=webhook_id, position_after=position_after, limit=limit
            )

    async def redeliver(self, *, operator_id: str, webhook_id: str, event_ids: Sequence[str]) -> int:
        """Has dead letters sent once more, all of them by default. Errors: WEBHOOK_NOT_FOUND."""
        async with db.transaction(self._engine, "events.redeliver") as conn:
            await _require(conn, operator_id, webhook_id)
            return await store.redeliver(conn, webhook_id=webhook_id, event_ids=event_ids)


async def _require(conn: AsyncConnection, operator_id: str, webhook_id: str) -> Webhook:
    webhook = await store.find_webhook(conn, operator_id=operator_id, webhook_id=webhook_id)
    if webhook is None:
        raise WebhookNotFound()
    return webhook
