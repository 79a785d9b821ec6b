"""The gateway's HTTP server around a tiny app, and clients that write bytes."""

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from services.common.errors import DomainError
from services.gateway.edge.exchange import Request, Response, problem
from services.gateway.edge.http import Refuse, Upgrade
from services.gateway.edge.reading import Limits
from services.gateway.edge.server import HttpServer

HOST = "127.0.0.1"
PATIENCE_S = 10.0
BODY_SIZE_BYTES_MAX = 1_000
LARGE_SIZE_BYTES = 2**20


async def happened(event: asyncio.Event) -> None:
    """Returns when it was set."""
    async with asyncio.timeout(PATIENCE_S):
        await event.wait()


class App:
    """Says what it was asked: "POST /path body". /hold waits for `release`, /large says more, some fail."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.ended: list[str] = []
        self.begun, self.release, self.held = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.after_reply: Callable[[], Any] | None = None

    async def __call__(self, request: Request) -> Response:
        self.asked.append(request)
        if isinstance(request.refusal, DomainError):
            return problem(request.refusal)
        if request.target == "/hold":
            self.begun.set()
            await self.release.wait()
            self.held.set()
        elif request.target == "/fail":
            raise RuntimeError("cannot connect to hunter2@db")
        elif request.target == "/cancel":
            raise asyncio.CancelledError
        self.ended.append(request.target)
        if request.target == "/large":
            return Response(200, b"x" * LARGE_SIZE_BYTES)
        said = f"{request.method} {request.target} ".encode() + request.body
        return Response(200, said, after_reply=self.after_reply)


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply as the client reads it."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def reason(self) -> str:
        """A refusal's."""
        reason: str = json.loads(self.body)["reason"]
        return reason


class Wire:
    """One client's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        """Without waiting for anything."""
        self.writer.write(data)

    async def send_apart(self, data: bytes) -> None:
        """One byte after the other, each on its own way, as long as they are taken."""
        for at in range(len(data)):
            self.writer.write(data[at : at + 1])
            await asyncio.sleep(0)

    async def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the next reply."""
        async with asyncio.timeout(PATIENCE_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")[:-2]
        assert status.startswith("HTTP/1.1 ")
        return int(status.split()[1]), dict(line.split(": ", 1) for line in lines)

    async def answer(self) -> Answer:
        """The next reply."""
        status, headers = await self.head()
        async with asyncio.timeout(PATIENCE_S):
            body = await self.reader.readexactly(int(headers["content-length"]))
        return Answer(status, headers, body)

    async def rest(self) -> bytes:
        """What comes until the server ends the connection."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.read()

    def end(self) -> None:
        """Ends the own side."""
        self.writer.write_eof()

    def cut(self) -> None:
        """Is gone, with a reset."""
        connection: socket.socket = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@dataclass(slots=True)
class Served:
    """A running server."""

    app: App
    port: int
    leaving: asyncio.Event
    stop: asyncio.Event
    running: asyncio.Task[None]
    wires: list[Wire] = field(default_factory=list)

    async def wire(self) -> Wire:
        """A new connection."""
        self.wires.append(Wire(*await asyncio.open_connection(HOST, self.port)))
        return self.wires[-1]

    async def stopped(self) -> None:
        """Returns when it has stopped."""
        async with asyncio.timeout(PATIENCE_S):
            await self.running


def http_server(
    app: App,
    *,
    port: int = 0,
    drain_grace_ms: int = 10_000,
    linger_ms: int = 0,
    refuse: Refuse = lambda _: None,
    upgrade: Upgrade = lambda *_: None,
    tls: ssl.SSLContext | None = None,
    leaving: asyncio.Event | None = None,
    **limits: Any,
) -> HttpServer:
    """A server that does not listen yet; 0 is a free port."""
    own = {"body_size_bytes_max": BODY_SIZE_BYTES_MAX, "sweep_interval_s": 0.01}
    if "request_timeout_s" in limits:
        own["head_timeout_s"] = limits["request_timeout_s"]
    return HttpServer(
        app,
        host=HOST,
        port=port,
        drain_grace_ms=drain_grace_ms,
        linger_ms=linger_ms,
        limits=Limits(**own | limits),
        refuse=refuse,
        upgrade=upgrade,
        tls=tls,
        leaving=leaving,
    )


@asynccontextmanager
async def serving(app: App | None = None, **options: Any) -> AsyncIterator[Served]:
    """A server with these limits; bodies of 1,000 bytes and no time-out that a test would reach."""
    app = app or App()
    leaving, stop = asyncio.Event(), asyncio.Event()
    server = http_server(app, leaving=leaving, **options)
    port = await server.listen()
    served = Served(app, port, leaving, stop, asyncio.create_task(server.run_until(stop)))
    try:
        yield served
    finally:
        stop.set()
        app.release.set()
        await served.stopped()
        for wire in served.wires:
            wire.writer.transport.abort()
