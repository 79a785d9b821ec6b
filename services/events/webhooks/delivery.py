"""Deliveries to webhooks: at least once, in the order of positions, by any number of processes.

A process takes a webhook by a lease, sends it the next events, and records at the end how far that came; only
the holder can, and only from where it began. Whoever dies in between has perhaps delivered: the next holder
sends the same again.
"""

import asyncio
import logging
import random
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db
from services.events import store
from services.events.feed import fitting, time_of
from services.events.records import DeadLetter, StoredEvent, Webhook
from services.events.webhooks import signature, webhooks
from services.events.webhooks import store as webhook_store
from services.events.webhooks.sender import Undelivered
from services.events.webhooks.store import Held
from services.events.webhooks.vault import Vault

log = logging.getLogger(__name__)

EVENTS_MAX = 100
# Tries of one delivery, over one or two hours; each has half as many events as the one before, so that the
# last ones are of one event alone and nothing dies for what is next to it.
ATTEMPTS_MAX = 14
BACKOFF_S, BACKOFF_S_MAX = 1.0, 3600.0
# Longer than a try takes: sender.TIMEOUT_S and the statements around it.
LEASE_S = 60.0
# Webhooks that one process delivers to at once.
LANES_MAX = 20
POLL_INTERVAL_S = 0.25
# How soon a webhook that has nothing to be sent is looked at again.
IDLE_S = 1.0
ERROR_LENGTH_MAX = 200
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "webhooks.reelmesh")

# Posts a body; returns when it was taken. Errors: Undelivered.
Post = Callable[..., Awaitable[None]]


class Deliverer:
    """Delivers for one process."""

    def __init__(
        self,
        engine: AsyncEngine,
        vault: Vault,
        post: Post,
        *,
        clock: Callable[[], datetime] = webhooks.now,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`jitter`: 0 to 1, of the later half of each wait."""
        self._engine, self._vault, self._post = engine, vault, post
        self._clock, self._jitter = clock, jitter
        self._holder = str(uuid.uuid4())
        self._lanes: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Delivers what is due until `stop` is set; then ends the deliveries that are under way."""
        while not stop.is_set():
            try:
                await self.start_due()
            except Exception as error:
                if not db.is_connection_error(error):
                    raise
                log.warning("webhooks wait: database not available (%s)", type(error).__name__)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), POLL_INTERVAL_S)
        for lane in self._lanes:
            lane.cancel()
        await self.settled()

    async def start_due(self) -> int:
        """Begins to deliver to every webhook that is due; how many these are."""
        free = LANES_MAX - len(self._lanes)
        if not free:
            return 0
        async with db.transaction(self._engine, "events.take_webhooks", links=()) as conn:
            due = await webhook_store.take_due(
                conn, holder=self._holder, now=self._clock(), lease_until=self._after(LEASE_S), limit=free
            )
        for webhook in due:
            lane = asyncio.create_task(self._deliver(webhook), name=f"webhook {webhook.webhook_id}")
            self._lanes.add(lane)
            lane.add_done_callback(self._ended)
        return len(due)

    async def settled(self) -> None:
        """Returns when nothing that was begun is under way."""
        while self._lanes:
            await asyncio.wait(self._lanes)

    def _ended(self, lane: asyncio.Task[None]) -> None:
        self._lanes.discard(lane)
        error = None if lane.cancelled() else lane.exception()
        if error is not None:
            # Its lease ends by itself.
            log.error("%s failed", lane.get_name(), exc_info=error)

    async def _deliver(self, webhook: Webhook) -> None:
        await self._redeliver(webhook)
        while True:
            held = Held(webhook.webhook_id, self._holder, webhook.position)
            async with db.transaction(self._engine, "events.read_webhook", links=()) as conn:
                end = await store.find_position_last(conn)
                found = await store.list_events(
                    conn,
                    webhook.wanted,
                    position_after=webhook.position,
                    position_end=end + 1,
                    limit=max(1, EVENTS_MAX >> webhook.attempts),
                )
                if not found:
                    await webhook_store.release(conn, held, position=end, due_time=self._after(IDLE_S))
                    await conn.commit()
                    return
            events = fitting(found)
            try:
                await self._send(webhook, events)
            except Undelivered as problem:
                await self._record_failure(webhook, held, events[0], str(problem)[:ERROR_LENGTH_MAX])
                return
            webhook = webhook._replace(position=events[-1].position, attempts=0)
            async with db.transaction(self._engine, "events.record_webhook", links=()) as conn:
                if not await webhook_store.record_taken(
                    conn, held, position=webhook.position, lease_until=self._after(LEASE_S)
                ):
                    return

    async def _send(self, webhook: Webhook, events: Sequence[StoredEvent]) -> None:
        try:
            secret = self._vault.open(webhook.secret, webhook_id=webhook.webhook_id)
        except ValueError as problem:
            raise Undelivered(str(problem)) from None
        body = body_of(webhook.webhook_id, events)
        # The same events are the same delivery, however often they are sent.
        name = f"{webhook.webhook_id}/{events[0].position}/{events[-1].position}"
        headers = signature.headers_of(
            secret,
            delivery_id=str(uuid.uuid5(_NAMESPACE, name)),
            timestamp_s=int(self._clock().timestamp()),
            body=body,
        )
        await self._post(webhook.url, headers=headers, body=body)

    async def _record_failure(
        self, webhook: Webhook, held: Held, first: StoredEvent, last_error: str
    ) -> None:
        attempts = webhook.attempts + 1
        due_time = self._after(self._backoff_s(attempts))
        async with db.transaction(self._engine, "events.record_webhook", links=()) as conn:
            if attempts < ATTEMPTS_MAX:
                await webhook_store.record_failed(conn, held, last_error=last_error, due_time=due_time)
                paused = None
            else:
                event = first.event
                paused = await webhook_store.record_dead(
                    conn,
                    held,
                    DeadLetter(
                        first.position,
                        event.event_id,
                        event.event_type,
                        attempts,
                        last_error,
                        self._clock(),
                        redelivering=False,
                    ),
                    due_time=self._after(BACKOFF_S),
                )
        log.warning("webhook %s: attempt %d failed: %s", webhook.webhook_id, attempts, last_error)
        if paused:
            log.error("webhook %s is paused: it takes nothing", webhook.webhook_id)

    async def _redeliver(self, webhook: Webhook) -> None:
        """Sends the dead letters of which that was asked, one by one."""
        position = 0
        while True:
            async with db.transaction(self._engine, "events.read_webhook", links=()) as conn:
                letters = await webhook_store.list_dead_letters(
                    conn,
                    webhook_id=webhook.webhook_id,
                    position_after=position,
                    limit=1,
                    redelivering=True,
                )
                events = await store.find_events(conn, positions=[letter.position for letter in letters])
            if not letters:
                return
            position = letters[0].position
            try:
                if not events:
                    raise Undelivered("the event is archived")
                await self._send(webhook, events)
            except Undelivered as problem:
                last_error = str(problem)[:ERROR_LENGTH_MAX]
            else:
                last_error = ""
            async with db.transaction(self._engine, "events.record_webhook", links=()) as conn:
                if last_error:
                    await webhook_store.update_dead_letter(
                        conn, webhook_id=webhook.webhook_id, position=position, last_error=last_error
                    )
                else:
                    await webhook_store.delete_dead_letter(
                        conn, webhook_id=webhook.webhook_id, position=position
                    )

    def _backoff_s(self, attempts: int) -> float:
        wait_s = min(BACKOFF_S * 2.0 ** (attempts - 1), BACKOFF_S_MAX)
        return wait_s / 2 + wait_s / 2 * self._jitter()

    def _after(self, seconds: float) -> datetime:
        return self._clock() + timedelta(seconds=seconds)


def body_of(webhook_id: str, events: Sequence[StoredEvent]) -> bytes:
    """A delivery as JSON: the fields of Event by their names, the payload as the object that it is."""
    return msgspec.json.encode({"webhook_id": webhook_id, "events": [_fields(stored) for stored in events]})


def _fields(stored: StoredEvent) -> dict[str, Any]:
    event = stored.event
    return {
        "event_id": event.event_id,
        "event_type": event.event_type,
        "operator_id": event.operator_id,
        "account_id": event.account_id,
        "account_version": event.account_version,
        "player_id": event.player_id,
        "session_id": event.session_id or "",
        "round_id": event.round_id or "",
        "event_time": _iso(event.event_time_us),
        "append_time": _iso(stored.position),
        "source": stored.source,
        "batch_no": event.batch_no,
        "position": stored.position,
        "payload": msgspec.Raw(event.payload_json.encode()),
    }


def _iso(time_us: int) -> str:
    time = time_of(time_us).astimezone(UTC)
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")
