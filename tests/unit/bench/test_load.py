"""The load client against a server that misbehaves: what it counts is what the server settled."""

import asyncio
import random
import re
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from bench.load import Load, Plan, Result

_ID = re.compile(rb'"request_id":"([0-9a-f-]{36})"')


class Server:
    """Settles every id once. With `trouble` it first answers 503, hangs up, or splits its answer."""

    def __init__(self, *, trouble: bool = False, delay_s: float = 0.0) -> None:
        self.settled: Counter[bytes] = Counter()
        self.tokens: set[bytes] = set()
        self.refuse = False
        self._trouble, self._delay_s = trouble, delay_s
        self._random = random.Random(7)
        self._connections: set[asyncio.StreamWriter] = set()

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        self._server.close()
        for writer in self._connections:
            writer.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                self.tokens.add(head.split(b"Bearer ")[1].split(b"\r\n")[0])
                found = _ID.search(body)
                assert found is not None
                await asyncio.sleep(self._delay_s)
                await self._answer(writer, found[1])
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, request_id: bytes) -> None:
        chance = self._random.random() if self._trouble else 1.0
        if self.refuse:
            writer.write(_http(409, b'{"reason":"INSUFFICIENT_FUNDS","class":"FINAL"}'))
        elif chance < 0.1:
            writer.write(_http(503, b'{"reason":"OVERLOADED","class":"NOT_YET"}'))
        elif chance < 0.15:
            # Settled, and the player does not hear of it.
            self.settled[request_id] = 1
            writer.close()
        else:
            self.settled[request_id] = 1
            answer = _http(200, b'{"round":{"request_id":"' + request_id + b'","state":"SETTLED"}}')
            for part in (answer[:9], answer[9:70], answer[70:]) if self._trouble else (answer,):
                writer.write(part)
                await writer.drain()


def _http(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body


async def play(port: int, players: int = 8, **changes: object) -> Result:
    facts = {"ramp_s": 0.0, "window_s": 0.2, **changes}
    load = Load(Plan(port=port, tokens=[f"token-{n}" for n in range(players)], **facts))  # type: ignore[arg-type]
    await load.connect()
    return await load.run()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    yield server
    await server.stop()


async def test_what_is_acknowledged_is_what_was_settled(server: Server) -> None:
    result = await play(await server.start())
    assert result.acknowledged == len(server.settled) > 8
    assert result.unknown == result.repeated == 0
    assert len(server.tokens) == 8


async def test_trouble_is_repeated_under_the_same_id_until_it_is_answered() -> None:
    server = Server(trouble=True)
    try:
        result = await play(await server.start(), window_s=0.3)
    finally:
        await server.stop()
    assert result.repeated > 0
    assert result.unknown == 0
    assert result.acknowledged == len(server.settled)


async def test_a_final_refusal_is_counted_apart(server: Server) -> None:
    server.refuse = True
    result = await play(await server.start(), players=1, window_s=0.1)
    assert result.acknowledged == 0
    assert result.refused["INSUFFICIENT_FUNDS"] > 0


async def test_patience_ends_and_the_unanswered_are_told() -> None:
    server = Server(delay_s=30)
    try:
        result = await play(await server.start(), window_s=0.1, patience_s=0.1)
    finally:
        await server.stop()
    assert result.unknown == 8
    assert result.acknowledged == 0


async def test_open_loop_latency_counts_from_the_intended_time() -> None:
    """One player at 10 ms a spin cannot do 300 a second: the wait for him is latency, as it is for people."""
    server = Server(delay_s=0.01)
    try:
        result = await play(await server.start(), players=1, mode="open", rate_per_s=300.0, window_s=0.3)
    finally:
        await server.stop()
    assert result.acknowledged == len(server.settled)
    assert result.max_ms > 200
    assert result.unknown == 0


async def test_open_loop_keeps_its_rate_when_there_are_players(server: Server) -> None:
    result = await play(await server.start(), players=32, mode="open", rate_per_s=400.0, window_s=0.5)
    assert 120 < result.acknowledged < 290
    assert result.acknowledged == len(server.settled)


async def test_a_flood_gives_up_what_is_refused_and_repeats_what_may_have_taken_effect() -> None:
    server = Server(trouble=True)
    try:
        result = await play(await server.start(), players=64, mode="flood", rate_per_s=800.0, window_s=0.5)
    finally:
        await server.stop()
    assert result.refused["OVERLOADED"] > 0 and result.refused_p99_ms > 0
    assert result.repeated > 0, "a connection was lost, and so may its answer be"
    assert result.acknowledged == len(server.settled)
