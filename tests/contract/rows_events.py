"""Rows of the table: the feed and webhooks."""

import base64
import uuid

from reelmesh.events.v1 import events_pb2

from services.events.webhooks.webhooks import WEBHOOKS_MAX
from tests.contract.rows_fields import Row
from tests.mesh.asking import Request
from tests.mesh.stage import Stage, new_id

SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()


async def cursor_of_an_archived_day(stage: Stage) -> Request:
    """As if all that there is had been archived since the cursor was given out."""
    await stage.session(stage.guest())
    wanted = events_pb2.SubscribeRequest(operator_id="dev")
    wanted.cursor = (await stage.answer(stage.internal("events", "Subscribe", wanted))).cursor
    await stage.sql(
        "events",
        """insert into archived_head select min(day), 'test', 4000000000000000, 1, 0, 1, '' from event_day""",
    )
    stage.repair(lambda: stage.sql("events", "delete from archived_head where source = 'test'"))
    return stage.internal("events", "Subscribe", wanted)


async def webhook_of_nobody(stage: Stage) -> Request:
    request = events_pb2.PauseWebhookRequest(operator_id="dev", webhook_id=new_id())
    return stage.internal("events", "PauseWebhook", request)


async def one_webhook_more(stage: Stage) -> Request:
    operator_id = f"o-{uuid.uuid4().hex}"

    def create() -> Request:
        request = events_pb2.CreateWebhookRequest(
            operator_id=operator_id, request_id=new_id(), url="https://casino.example/", secret=SECRET
        )
        return stage.internal("events", "CreateWebhook", request)

    for _ in range(WEBHOOKS_MAX):
        await stage.answer(create())
    return create()


ROWS = [
    Row("CURSOR_EXPIRED", "a cursor of an archived day", cursor_of_an_archived_day),
    Row("WEBHOOK_NOT_FOUND", "a webhook of nobody", webhook_of_nobody),
    Row("WEBHOOK_LIMIT_REACHED", "one webhook more than there may be", one_webhook_more),
]
