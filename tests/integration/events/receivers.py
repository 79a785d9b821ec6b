"""Those who are sent deliveries: one in memory, that a test tells what to answer, and one behind a port."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from services.events.webhooks.sender import Undelivered

SECRET = "whsec_" + base64.b64encode(b"a secret of 24 bytes: ok").decode()


class Times:
    """A clock that a test moves; it begins at the real time."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Receiver:
    """Takes deliveries, checks their signatures, and refuses what `refuses` says."""

    def __init__(self, *, secret: str = SECRET) -> None:
        self._key = base64.b64decode(secret.removeprefix("whsec_"))
        self.refuses: Callable[[list[dict[str, Any]]], str] = lambda events: ""
        self.deliveries: list[list[dict[str, Any]]] = []
        self.delivery_ids: list[str] = []
        self.tries: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.arrived = asyncio.Event()

    @property
    def positions(self) -> list[int]:
        """Of everything taken, in the order in which it came."""
        return [event["position"] for events in self.deliveries for event in events]

    @property
    def batch_nos(self) -> list[int]:
        """The same as batches."""
        return [event["batch_no"] for events in self.deliveries for event in events]

    async def post(self, url: str, *, headers: dict[str, str], body: bytes) -> None:
        """As Sender.post."""
        self.verify(headers, body)
        events = json.loads(body)["events"]
        self.tries.append([event["batch_no"] for event in events])
        self.delivery_ids.append(headers["webhook-id"])
        self.arrived.set()
        await self.gate.wait()
        problem = self.refuses(events)
        if problem:
            raise Undelivered(problem)
        self.deliveries.append(events)

    def verify(self, headers: dict[str, str], body: bytes) -> None:
        """As docs/events.md tells receivers to."""
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.new(self._key, signed, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"


@asynccontextmanager
async def listening(answer: bytes, *, delay_s: float = 0) -> AsyncIterator[tuple[int, list[bytes]]]:
    """An HTTP server that says the same to everyone; its port, and what it was sent."""
    heard: list[bytes] = []
    stop = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                heard.append(head + await reader.readexactly(length))
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), delay_s)
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], heard
    finally:
        stop.set()
        server.close()
