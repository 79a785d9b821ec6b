"""Webhooks as operators manage them, and as they are sent over a real connection."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest
from reelmesh.events.v1 import events_pb2
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common.errors import DomainError
from services.events.handlers import Handlers
from services.events.log import Log
from services.events.webhooks.delivery import ATTEMPTS_MAX, Deliverer
from services.events.webhooks.sender import Sender, Undelivered
from services.events.webhooks.vault import Vault
from services.events.webhooks.webhooks import WEBHOOKS_MAX
from tests.integration.events.conftest import WEBHOOK_KEY
from tests.integration.events.receivers import SECRET, Receiver, Times, listening
from tests.integration.events.written import batch
from tests.integration.wheel.authority import Authority

CONTEXT: Any = None
OK = b"HTTP/1.1 204 No Content\r\n\r\n"


def creation(request: int = 1, **fields: Any) -> events_pb2.CreateWebhookRequest:
    return events_pb2.CreateWebhookRequest(
        **{
            "operator_id": "acme",
            "request_id": f"00000000-0000-4000-8000-{request:012}",
            "url": "https://casino.example/hooks",
            "event_types": ["wallet.settled"],
            "secret": SECRET,
            **fields,
        }
    )


async def created(handlers: Handlers, request: int = 1, **fields: Any) -> events_pb2.Webhook:
    return (await handlers.CreateWebhook(creation(request, **fields), CONTEXT)).webhook


async def refusal(call: Any) -> DomainError:
    with pytest.raises(DomainError) as refused:
        await call
    return refused.value


async def test_a_registration_is_repeated_and_not_doubled(handlers: Handlers) -> None:
    first = await created(handlers)
    assert first == await created(handlers)
    assert first.state == events_pb2.WEBHOOK_STATE_ACTIVE and first.event_types == ["wallet.settled"]
    others: list[dict[str, Any]] = [
        {"url": "https://casino.example/other"},
        {"event_types": []},
        {"secret": "whsec_" + "A" * 32},
    ]
    for other in others:
        assert (await refusal(created(handlers, **other))).reason == "ID_REUSED"
    # Another operator's id is another one's.
    assert (await created(handlers, operator_id="other")).webhook_id != first.webhook_id
    listed = await handlers.ListWebhooks(events_pb2.ListWebhooksRequest(operator_id="acme"), CONTEXT)
    assert list(listed.webhooks) == [first]
    assert SECRET not in str(listed)


async def test_many_registrations_at_once_make_one_and_stay_within_the_limit(handlers: Handlers) -> None:
    same = await asyncio.gather(*(created(handlers) for _ in range(8)))
    assert len({webhook.webhook_id for webhook in same}) == 1
    answers = await asyncio.gather(
        *(created(handlers, request) for request in range(1, WEBHOOKS_MAX + 5)), return_exceptions=True
    )
    refused = [answer for answer in answers if isinstance(answer, DomainError)]
    assert [error.reason for error in refused] == ["WEBHOOK_LIMIT_REACHED"] * 4
    assert refused[0].metadata == {"webhooks_max": str(WEBHOOKS_MAX)}
    # A repeated registration is not a new one.
    assert await created(handlers) == same[0]


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({"operator_id": ""}, "FIELD_MISSING", "operator_id"),
        ({"request_id": "1"}, "FIELD_INVALID", "request_id"),
        ({"url": ""}, "FIELD_MISSING", "url"),
        ({"url": "ftp://casino.example/"}, "FIELD_INVALID", "url"),
        ({"event_types": ["Settled"]}, "FIELD_INVALID", "event_types"),
        ({"secret": ""}, "FIELD_MISSING", "secret"),
        ({"secret": "a secret of 24 bytes: ok"}, "FIELD_INVALID", "secret"),
    ],
)
async def test_what_is_no_webhook_is_refused(
    handlers: Handlers, fields: dict[str, Any], reason: str, field: str
) -> None:
    error = await refusal(created(handlers, **fields))
    assert (error.reason, error.metadata["field"]) == (reason, field)
    assert "secret of" not in str(error)


async def test_outside_development_a_webhook_leads_to_the_public_internet_over_tls(
    engine: AsyncEngine, handlers: Handlers
) -> None:
    production = Handlers(engine, feed=handlers._feed, webhooks=handlers._webhooks)
    for url in ("http://casino.example/", "https://127.0.0.1/", "https://169.254.169.254/latest"):
        assert (await refusal(created(production, url=url))).reason == "FIELD_INVALID"
    assert (await created(production)).url == "https://casino.example/hooks"


async def test_another_operators_webhook_is_not_found(handlers: Handlers) -> None:
    webhook_id = (await created(handlers)).webhook_id
    for operator_id, other_id in (("other", webhook_id), ("acme", "0192f0c1-0000-7000-8000-00000000000a")):
        which: Any = {"operator_id": operator_id, "webhook_id": other_id}
        for call in (
            handlers.PauseWebhook(events_pb2.PauseWebhookRequest(**which), CONTEXT),
            handlers.ResumeWebhook(events_pb2.ResumeWebhookRequest(**which), CONTEXT),
            handlers.DeleteWebhook(events_pb2.DeleteWebhookRequest(**which), CONTEXT),
            handlers.ListDeadLetters(events_pb2.ListDeadLettersRequest(**which), CONTEXT),
            handlers.RedeliverDeadLetters(events_pb2.RedeliverDeadLettersRequest(**which), CONTEXT),
        ):
            assert (await refusal(call)).reason == "WEBHOOK_NOT_FOUND"


async def test_a_webhook_is_paused_resumed_and_forgotten(engine: AsyncEngine, handlers: Handlers) -> None:
    which = {"operator_id": "acme", "webhook_id": (await created(handlers)).webhook_id}
    for _ in range(2):
        paused = await handlers.PauseWebhook(events_pb2.PauseWebhookRequest(**which), CONTEXT)
        assert paused.webhook.state == events_pb2.WEBHOOK_STATE_PAUSED
    for _ in range(2):
        resumed = await handlers.ResumeWebhook(events_pb2.ResumeWebhookRequest(**which), CONTEXT)
        assert resumed.webhook.state == events_pb2.WEBHOOK_STATE_ACTIVE
    await handlers.DeleteWebhook(events_pb2.DeleteWebhookRequest(**which), CONTEXT)
    async with engine.connect() as conn:
        assert list(await conn.execute(text("select from webhook union all select from dead_letter"))) == []


async def test_dead_letters_are_listed_in_pages_with_their_events(
    engine: AsyncEngine, handlers: Handlers
) -> None:
    webhook_id = (await created(handlers)).webhook_id
    times, receiver = Times(), Receiver()
    deliverer = Deliverer(engine, Vault(WEBHOOK_KEY), receiver.post, clock=times)
    await Log(engine).append("wallet", [batch(number) for number in range(1, 7)])
    receiver.refuses = lambda events: "answered 422" if events[0]["batch_no"] % 2 or len(events) > 1 else ""
    for _ in range(4 * ATTEMPTS_MAX):
        times.move(7200)
        await deliverer.start_due()
        await deliverer.settled()
    found: list[events_pb2.DeadLetter] = []
    token = ""
    while True:
        request = events_pb2.ListDeadLettersRequest(
            operator_id="acme", webhook_id=webhook_id, page_size=2, page_token=token
        )
        page = await handlers.ListDeadLetters(request, CONTEXT)
        found += page.dead_letters
        token = page.next_page_token
        if not token:
            break
    assert [one.event.batch_no for one in found] == [1, 3, 5]
    assert found[0].event.payload_json and found[0].last_error == "answered 422"
    assert (found[0].attempts, found[0].redelivering) == (ATTEMPTS_MAX, False)
    again = events_pb2.RedeliverDeadLettersRequest(operator_id="acme", webhook_id=webhook_id)
    assert (await handlers.RedeliverDeadLetters(again, CONTEXT)).dead_letters == 3
    listed = await handlers.ListWebhooks(events_pb2.ListWebhooksRequest(operator_id="acme"), CONTEXT)
    assert listed.webhooks[0].dead_letters == 3


async def post(url: str, *, development: bool = True, timeout_s: float = 5.0) -> None:
    sender = Sender(development=development, timeout_s=timeout_s)
    try:
        await sender.post(url, headers={"webhook-id": "a"}, body=b"{}")
    finally:
        await sender.close()


async def undelivered(url: str, **options: Any) -> str:
    with pytest.raises(Undelivered) as problem:
        await post(url, **options)
    assert "127.0.0.1" not in str(problem.value)
    return str(problem.value)


async def test_a_delivery_is_one_post_and_taken_when_the_answer_is_2xx() -> None:
    async with listening(OK) as (port, heard):
        sender = Sender(development=True)
        for _ in range(2):
            await sender.post(f"http://127.0.0.1:{port}/hooks?a=1", headers={"webhook-id": "a"}, body=b"{}")
        await sender.close()
    assert len(heard) == 2 and heard[0] == heard[1]
    assert heard[0].startswith(b"POST /hooks?a=1 HTTP/1.1\r\n") and heard[0].endswith(b"\r\n\r\n{}")
    assert b"content-type: application/json" in heard[0] and b"webhook-id: a" in heard[0]


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 404, 410, 429, 500, 503])
async def test_another_answer_is_no_delivery_and_no_redirect_is_followed(status: int) -> None:
    async with listening(OK) as (other, heard_there):
        answer = f"HTTP/1.1 {status} X\r\nlocation: http://127.0.0.1:{other}/\r\ncontent-length: 0\r\n\r\n"
        async with listening(answer.encode()) as (port, heard):
            assert await undelivered(f"http://127.0.0.1:{port}/") == f"answered {status}"
    assert len(heard) == 1 and heard_there == []


async def test_silence_nonsense_and_an_endless_answer_are_ended() -> None:
    async with listening(OK, delay_s=5) as (port, _):
        assert await undelivered(f"http://127.0.0.1:{port}/", timeout_s=0.2) == "no answer within 0.2 s"
    async with listening(b"SSH-2.0-OpenSSH\r\n\r\n") as (port, _):
        assert (await undelivered(f"http://127.0.0.1:{port}/")).startswith("no connection")
    endless = b"HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\n\r\n" + b"x" * 200_000
    async with listening(endless) as (port, _):
        await post(f"http://127.0.0.1:{port}/", timeout_s=2)
    assert (await undelivered("http://127.0.0.1:1/")).startswith("no connection")


async def test_outside_development_no_connection_is_made_to_what_is_inside() -> None:
    """Not only by the address in the URL: by what its name leads to at that moment, too."""
    async with listening(OK) as (port, heard):
        for host in ("127.0.0.1", "localhost", "[::1]"):
            problem = await undelivered(f"http://{host}:{port}/", development=False)
            assert problem == "its host has an address that is not public"
        assert heard == []
        await post(f"http://localhost:{port}/")
    assert "no address" in await undelivered("http://casino.invalid/", development=False)


@pytest.mark.tool("openssl")
async def test_a_server_that_does_not_prove_its_name_is_sent_nothing(tmp_path: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*Authority(tmp_path).issue("server"))
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(100))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert (await undelivered(f"https://127.0.0.1:{port}/")).startswith("no connection")
    assert heard == []
