"""A client that sends more than it waits for, or takes less than it asks for, weighs on nobody."""

import asyncio
from typing import Any

import pytest

from services.gateway.edge.http import Connection
from tests.integration.gateway.harness import LARGE_SIZE_BYTES, happened, serving

GET = b"GET /a HTTP/1.1\r\n\r\n"
HOLD = b"GET /hold HTTP/1.1\r\n\r\n"
LARGE = b"GET /large HTTP/1.1\r\n\r\n"
PIPELINED_MAX = 4
# What is looked at in one go.
SLICE = 4_096 // len(GET) + 1
# More than sockets hold.
MANY = 64


class Watched:
    """The server's side of the test's only connection, and when it stopped reading or writing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.connections: list[Connection] = []
        self.paused, self.blocked = asyncio.Event(), asyncio.Event()
        self._watch(monkeypatch, "connection_made", lambda connection: self.connections.append(connection))
        self._watch(monkeypatch, "_pause", lambda _: self.paused.set())
        self._watch(monkeypatch, "pause_writing", lambda _: self.blocked.set())

    def _watch(self, monkeypatch: pytest.MonkeyPatch, name: str, seen: Any) -> None:
        method = getattr(Connection, name)

        def watched(connection: Connection, *arguments: Any) -> None:
            method(connection, *arguments)
            seen(connection)

        monkeypatch.setattr(Connection, name, watched)


@pytest.fixture
async def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


async def test_so_many_requests_wait_and_no_more_are_read(watched: Watched) -> None:
    async with serving(pipelined_max=PIPELINED_MAX) as served:
        wire = await served.wire()
        wire.send(HOLD + GET * 400_000)
        await happened(watched.paused)
        [connection] = watched.connections
        assert PIPELINED_MAX <= len(connection._waiting) <= PIPELINED_MAX + SLICE
        assert not connection._transport.is_reading()
        other = await served.wire()
        other.send(GET)
        assert (await other.answer()).body == b"GET /a "
        served.app.release.set()
        assert (await wire.answer()).body == b"GET /hold "
        for _ in range(1_000):
            assert (await wire.answer()).body == b"GET /a "


async def test_a_body_of_the_smallest_chunks_is_read() -> None:
    async with serving(body_size_bytes_max=LARGE_SIZE_BYTES) as served:
        wire = await served.wire()
        head = b"POST /b HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
        wire.send(head + b"1\r\nx\r\n" * LARGE_SIZE_BYTES + b"0\r\n\r\n")
        assert (await wire.answer()).body == b"POST /b " + b"x" * LARGE_SIZE_BYTES


async def test_who_takes_no_answers_is_given_no_more(watched: Watched) -> None:
    async with serving() as served:
        wire = await served.wire()
        wire.send(LARGE * MANY + GET)
        await happened(watched.blocked)
        other = await served.wire()
        other.send(GET)
        assert (await other.answer()).body == b"GET /a "
        assert len(served.app.ended) < MANY
        for _ in range(MANY):
            assert len((await wire.answer()).body) == LARGE_SIZE_BYTES
        assert (await wire.answer()).body == b"GET /a "
        wire.send(GET)
        assert (await wire.answer()).body == b"GET /a "
