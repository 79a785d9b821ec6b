"""Deliveries to webhooks: in order, at least once, by several processes, over failures and poison."""

import asyncio
import logging
from typing import Any

import pytest
from reelmesh.events.v1 import events_pb2
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.events.log import Log
from services.events.messages import parse_batches
from services.events.records import Webhook
from services.events.webhooks import delivery, signature, watches
from services.events.webhooks.delivery import ATTEMPTS_MAX, LEASE_S, Deliverer
from services.events.webhooks.vault import Vault
from services.events.webhooks.webhooks import Webhooks
from tests.integration.events.receivers import SECRET, Receiver, Times
from tests.integration.events.served import WEBHOOK_KEY
from tests.integration.events.written import batch, event

VAULT = Vault(WEBHOOK_KEY)
LONG_S = 2 * delivery.BACKOFF_S_MAX


class Stage:
    """A log, webhooks, a receiver, and a clock that only the test moves."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine, self.times, self.receiver = engine, Times(), Receiver()
        self.log = Log(engine)
        self.webhooks = Webhooks(engine, VAULT, clock=self.times)
        self.deliverer = self.replica()
        self._batch_no = 0

    def replica(self, *, vault: Vault = VAULT) -> Deliverer:
        """Another process that delivers to the same receiver."""
        return Deliverer(self.engine, vault, self.receiver.post, clock=self.times, jitter=lambda: 1.0)

    async def register(self, *, request: int = 1, event_types: tuple[str, ...] = ()) -> Webhook:
        return await self.webhooks.create(
            operator_id="acme",
            request_id=f"00000000-0000-4000-8000-{request:012}",
            url="https://casino.example/hooks",
            event_types=event_types,
            secret=signature.parse_secret(SECRET),
        )

    async def write(self, count: int = 1, **fields: Any) -> None:
        """So many batches of one event."""
        for _ in range(count):
            self._batch_no += 1
            written = [event(self._batch_no, **fields)]
            await self.log.append(
                "wallet", parse_batches([events_pb2.EventBatch(batch_no=self._batch_no, events=written)])
            )

    async def deliver(self, deliverer: Deliverer | None = None) -> int:
        """What is due now, to its end."""
        one = deliverer or self.deliverer
        count = await one.start_due()
        await one.settled()
        return count

    async def later(self, seconds: float = LONG_S, *, times: int = 1) -> None:
        """Time passes, and what is due is delivered; so many times."""
        for _ in range(times):
            self.times.move(seconds)
            await self.deliver()

    async def webhook(self) -> Webhook:
        [webhook] = await self.webhooks.list(operator_id="acme")
        return webhook

    async def dead(self) -> list[tuple[int, int, bool]]:
        """Dead letters: batch, attempts and whether they are to be sent again."""
        async with self.engine.connect() as conn:
            query = """select e.batch_no, attempts, redelivering
                from dead_letter join event e using (position) order by position"""
            return [tuple(row) for row in await conn.execute(text(query))]


@pytest.fixture
def stage(engine: AsyncEngine) -> Stage:
    return Stage(engine)


async def test_what_is_stored_from_now_on_is_delivered_in_order_and_once(stage: Stage) -> None:
    await stage.write(3)
    await stage.register(event_types=("round.settled", "wallet.settled"))
    await stage.write(120)
    await stage.write(1, operator_id="other")
    await stage.write(1, event_type="transfer.applied")
    await stage.write(1)
    assert await stage.deliver() == 1
    assert stage.receiver.batch_nos == [*range(4, 124), 126]
    assert [len(events) for events in stage.receiver.deliveries] == [100, 21]
    [first, *_] = stage.receiver.deliveries[0]
    assert first["payload"] == {"status": "applied", "stake_minor": 100}
    assert {"event_id", "event_time", "player_id", "append_time", "account_version"} <= first.keys()
    assert await stage.deliver() == 0
    await stage.later(delivery.IDLE_S)
    await stage.write()
    await stage.later(delivery.IDLE_S)
    assert stage.receiver.batch_nos[-1] == 127 and len(stage.receiver.positions) == 122


async def test_a_webhook_with_nothing_for_it_is_not_read_for_again_and_again(stage: Stage) -> None:
    await stage.register(event_types=("round.void",))
    await stage.write(5)
    await stage.deliver()
    async with stage.engine.connect() as conn:
        [[position]] = await conn.execute(text("select position from log_head"))
    assert (await stage.webhook()).position == position
    assert stage.receiver.tries == []


async def test_what_fails_is_tried_again_later_and_later_and_smaller(stage: Stage) -> None:
    await stage.register()
    await stage.write(100)
    stage.receiver.refuses = lambda events: "answered 503"
    for attempt, size in enumerate((100, 50, 25, 12, 6, 3, 1, 1), 1):
        await stage.deliver()
        webhook = await stage.webhook()
        assert (webhook.attempts, webhook.last_error) == (attempt, "answered 503")
        assert stage.receiver.tries[-1] == list(range(1, size + 1))
        wait_s = min(2.0 ** (attempt - 1), delivery.BACKOFF_S_MAX)
        assert webhook.due_time is not None
        assert (webhook.due_time - stage.times.now).total_seconds() == pytest.approx(wait_s)
        stage.times.move(wait_s - 0.001)
        assert await stage.deliver() == 0, "not yet"
        stage.times.move(0.001)
    stage.receiver.refuses = lambda events: ""
    await stage.deliver()
    assert stage.receiver.batch_nos == list(range(1, 101))
    assert (await stage.webhook()).attempts == 0
    # The same events are the same delivery.
    assert len(set(stage.receiver.delivery_ids[6:9])) == 1 != len(set(stage.receiver.delivery_ids))


async def test_poison_dies_alone_and_everything_around_it_is_delivered(stage: Stage) -> None:
    await stage.register()
    await stage.write(60)
    poison = {17, 40}
    stage.receiver.refuses = lambda events: (
        "answered 400" if poison & {event["batch_no"] for event in events} else ""
    )
    await stage.later(times=80)
    assert stage.receiver.batch_nos == [number for number in range(1, 61) if number not in poison]
    assert await stage.dead() == [(17, ATTEMPTS_MAX, False), (40, ATTEMPTS_MAX, False)]
    assert not (await stage.webhook()).paused


async def test_who_takes_nothing_is_paused_and_loses_nothing(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    await stage.register()
    await stage.write(30)
    stage.receiver.refuses = lambda events: "no connection (ConnectError)"
    await stage.later(times=2 * ATTEMPTS_MAX + 3)
    webhook = await stage.webhook()
    assert webhook.paused and webhook.last_error == "no connection (ConnectError)"
    assert "is paused" in caplog.text and "casino.example" not in caplog.text
    assert [number for number, *_ in await stage.dead()] == [1, 2]
    # Two dead letters, one paused webhook.
    assert [one.value for one in await watches.webhooks(stage.engine).read()] == [2, 1]

    stage.receiver.refuses = lambda events: ""
    await stage.later()
    assert stage.receiver.positions == []
    await stage.webhooks.set_paused(operator_id="acme", webhook_id=webhook.webhook_id, paused=False)
    await stage.deliver()
    assert stage.receiver.batch_nos == list(range(3, 31))


async def test_dead_letters_are_delivered_again_when_that_is_asked(stage: Stage) -> None:
    webhook = await stage.register()
    await stage.write(5)
    poison = {2, 4}
    stage.receiver.refuses = lambda events: (
        "answered 400" if poison & {event["batch_no"] for event in events} else ""
    )
    await stage.later(times=80)
    assert [number for number, *_ in await stage.dead()] == [2, 4]
    which = {"operator_id": "acme", "webhook_id": webhook.webhook_id}
    poison.discard(4)
    assert await stage.webhooks.redeliver(**which, event_ids=[]) == 2
    await stage.later()
    assert stage.receiver.batch_nos == [1, 3, 5, 4]
    assert await stage.dead() == [(2, ATTEMPTS_MAX + 1, False)]
    poison.clear()
    assert await stage.webhooks.redeliver(**which, event_ids=[event(4).event_id]) == 0
    assert await stage.webhooks.redeliver(**which, event_ids=[event(2).event_id]) == 1
    await stage.later()
    assert stage.receiver.batch_nos == [1, 3, 5, 4, 2] and await stage.dead() == []


async def test_several_replicas_deliver_everything_once(stage: Stage) -> None:
    for request in range(1, 9):
        await stage.register(request=request)
    await stage.write(30)
    replicas = [stage.replica() for _ in range(3)]
    assert sum(await asyncio.gather(*(one.start_due() for one in replicas))) == 8
    await asyncio.gather(*(one.settled() for one in replicas))
    assert sorted(stage.receiver.batch_nos) == sorted(list(range(1, 31)) * 8)


async def test_a_process_that_slept_through_its_lease_moves_nothing_back(stage: Stage) -> None:
    """It has perhaps delivered: the other one sends the same. What it records then, nobody listens to."""
    await stage.register()
    await stage.write(3)
    slow = stage.receiver.gate = asyncio.Event()
    assert await stage.deliverer.start_due() == 1
    await stage.receiver.arrived.wait()
    stage.receiver.gate = asyncio.Event()
    stage.receiver.gate.set()
    other = stage.replica()
    assert await stage.deliver(other) == 0, "it is held"
    stage.times.move(LEASE_S + 1)
    assert await stage.deliver(other) == 1
    await stage.write(2)
    stage.times.move(LEASE_S)
    assert await stage.deliver(other) == 1
    assert stage.receiver.batch_nos == [1, 2, 3, 4, 5]
    position = (await stage.webhook()).position
    slow.set()
    await stage.deliverer.settled()
    assert (await stage.webhook()).position == position
    await stage.later()
    assert stage.receiver.batch_nos == [1, 2, 3, 4, 5, 1, 2, 3]
    assert stage.receiver.delivery_ids[0] == stage.receiver.delivery_ids[1], "the receiver can tell"


async def test_a_process_that_dies_in_a_delivery_is_followed_by_another(stage: Stage) -> None:
    await stage.register()
    await stage.write(2)
    stage.receiver.gate.clear()
    stop = asyncio.Event()
    running = asyncio.create_task(stage.deliverer.run(stop))
    await stage.receiver.arrived.wait()
    stop.set()
    await running
    stage.receiver.gate.set()
    other = stage.replica()
    assert await stage.deliver(other) == 0
    stage.times.move(LEASE_S + 1)
    assert await stage.deliver(other) == 1
    assert stage.receiver.batch_nos == [1, 2]


async def test_a_pause_lets_the_delivery_under_way_end_and_no_other_begin(stage: Stage) -> None:
    webhook = await stage.register()
    await stage.write(150)
    stage.receiver.gate.clear()
    await stage.deliverer.start_due()
    await stage.receiver.arrived.wait()
    which = {"operator_id": "acme", "webhook_id": webhook.webhook_id}
    assert (await stage.webhooks.set_paused(**which, paused=True)).paused
    stage.receiver.gate.set()
    await stage.deliverer.settled()
    await stage.later()
    assert stage.receiver.batch_nos == list(range(1, 101))
    await stage.webhooks.set_paused(**which, paused=False)
    await stage.deliver()
    assert stage.receiver.batch_nos == list(range(1, 151))


async def test_the_secret_is_nowhere_to_be_read(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await stage.register()
    await stage.write()
    stage.receiver.refuses = lambda events: "answered 500"
    await stage.deliver()
    async with stage.engine.connect() as conn:
        [row] = await conn.execute(text("select w::text, encode(secret, 'escape') from webhook w"))
    secret = signature.parse_secret(SECRET)
    for shown in (str(row), caplog.text):
        assert SECRET not in shown and secret.decode() not in shown and secret.hex() not in shown


async def test_under_another_key_nothing_is_signed_nor_sent(stage: Stage) -> None:
    await stage.register()
    await stage.write()
    await stage.deliver(stage.replica(vault=Vault("the key of yesterday")))
    assert stage.receiver.tries == []
    assert "does not open" in (await stage.webhook()).last_error
    await stage.later()
    assert stage.receiver.batch_nos == [1]


async def test_an_event_that_was_archived_cannot_be_delivered_again(stage: Stage) -> None:
    webhook = await stage.register()
    await stage.write()
    stage.receiver.refuses = lambda events: "answered 400"
    await stage.later(times=ATTEMPTS_MAX)
    assert len(await stage.dead()) == 1
    async with stage.engine.begin() as conn:
        await conn.execute(text("delete from event"))
    stage.receiver.refuses = lambda events: ""
    await stage.webhooks.redeliver(operator_id="acme", webhook_id=webhook.webhook_id, event_ids=[])
    await stage.write()
    await stage.later()
    [letter] = await stage.webhooks.list_dead_letters(
        operator_id="acme", webhook_id=webhook.webhook_id, position_after=0, limit=9
    )
    assert (letter.last_error, letter.redelivering) == ("the event is archived", False)
    assert stage.receiver.batch_nos == [2] and batch(1).events[0].event_id == letter.event_id
