"""`make webhooks`: an operator's webhooks: listed, registered, paused; their dead letters sent once more."""

import asyncio
import base64
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reelmesh.events.v1 import events_pb2, events_pb2_grpc
from rich.console import Console

from deploy.local import reach
from deploy.local.errors import LocalError, NobodyAnswers
from services.common.errors import DomainError
from services.common.fields import uuid7

_USAGE = "make webhooks WEBHOOK=<id> ACTION=pause|resume|dead|redeliver|delete"
_CREATE = "make webhooks ACTION=create URL=<address> TYPES=<type,type> SECRET=<whsec_...>"
_ACTIONS = {
    "pause": ("PauseWebhook", events_pb2.PauseWebhookRequest),
    "resume": ("ResumeWebhook", events_pb2.ResumeWebhookRequest),
    "dead": ("ListDeadLetters", events_pb2.ListDeadLettersRequest),
    "redeliver": ("RedeliverDeadLetters", events_pb2.RedeliverDeadLettersRequest),
    "delete": ("DeleteWebhook", events_pb2.DeleteWebhookRequest),
}


def webhooks(
    console: Console,
    *,
    target: str,
    keys_path: Path,
    operator_id: str,
    webhook_id: str,
    action: str,
    url: str,
    event_types: str,
    environ: Mapping[str, str],
) -> None:
    """Without an action the list. The secret is the environment's SECRET, or made here. Raises LocalError."""
    if action == "create":
        if not url:
            raise LocalError(f"a registration needs an address: {_CREATE}")
    elif bool(action) != bool(webhook_id) or (action and action not in _ACTIONS):
        raise LocalError(f"an action needs its webhook: {_USAGE}")
    if not keys_path.exists():
        raise NobodyAnswers("no mesh found: start it with `make run` first")
    types = [event_type for event_type in event_types.split(",") if event_type]
    secret = environ.get("SECRET") or f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"

    async def run() -> None:
        channel = reach.channel(keys_path.parent, target, service="events")
        stub: Any = channel.stub(events_pb2_grpc.EventServiceStub)
        try:
            if action == "create":
                created = await stub.CreateWebhook(
                    events_pb2.CreateWebhookRequest(
                        operator_id=operator_id,
                        request_id=str(uuid7()),
                        url=url,
                        event_types=types,
                        secret=secret,
                    )
                )
                _print(console, [created.webhook])
                if not environ.get("SECRET"):
                    console.print(f"its secret, shown only here: {secret}", soft_wrap=True, markup=False)
            elif action:
                await _act(console, stub, action, operator_id=operator_id, webhook_id=webhook_id)
            else:
                request = events_pb2.ListWebhooksRequest(operator_id=operator_id)
                found = (await stub.ListWebhooks(request)).webhooks
                _print(console, found)
                usage = f"\n{len(found)} webhooks of {operator_id}: {_USAGE}\n{_CREATE}"
                console.print(usage, soft_wrap=True, markup=False)
        finally:
            await channel.close()

    try:
        asyncio.run(run())
    except DomainError as error:
        if error.reason in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
            raise NobodyAnswers("events does not answer: is `make run` running?") from None
        raise LocalError(str(error)) from None


async def _act(console: Console, stub: Any, action: str, **which: str) -> None:
    method, request_type = _ACTIONS[action]
    answer = await getattr(stub, method)(request_type(**which))
    if action in ("pause", "resume"):
        _print(console, [answer.webhook])
    elif action == "delete":
        console.print(f"{which['webhook_id']}: forgotten", markup=False)
    elif action == "redeliver":
        console.print(f"{answer.dead_letters} dead letters will be sent once more", markup=False)
    else:
        for letter in answer.dead_letters:
            event = letter.event
            line = f"{event.event_id}  {event.event_type}, position {event.position}: {letter.last_error}"
            console.print(line, soft_wrap=True, markup=False)
        more = ", and more" if answer.next_page_token else ""
        console.print(f"{len(answer.dead_letters)} dead letters{more}", markup=False)


def _print(console: Console, found: Any) -> None:
    # Lines, not a table: what is to be copied must not be cut to the width of a terminal.
    for webhook in found:
        state = "active" if webhook.state == events_pb2.WEBHOOK_STATE_ACTIVE else "paused"
        types = ", ".join(webhook.event_types) or "all types"
        tried = f", {webhook.attempts} tries failed: {webhook.last_error}" if webhook.last_error else ""
        lines = (
            f"{webhook.webhook_id}  {webhook.url}",
            f"  {state}, {types}; {webhook.dead_letters} dead letters",
            f"  up to position {webhook.position}{tried}",
        )
        for line in lines:
            console.print(line, soft_wrap=True, markup=False)
