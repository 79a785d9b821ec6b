"""What a WebSocket's client may not do for long: say nothing, take nothing, send too much."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import pytest

from services.gateway.door import is_api_key
from services.gateway.edge import jsonrpc, websocket
from services.gateway.edge.websocket import WebSocket, WebSockets
from services.gateway.protection.rates import Addresses, Limit, Rates
from tests.integration.gateway.harness import HOST, PATIENCE_S, Served, Wire, serving
from tests.integration.gateway.test_http_refusals import door_to, no_rounds
from tests.waiting import until

PING, PONG, CLOSE = 0x89, 0x8A, 0x88
# Larger than what the two ends' systems keep for each other, all together.
ECHO_SIZE_BYTES = 60_000
ECHOES = 400


@dataclass(frozen=True, slots=True)
class Sockets:
    """A gateway whose operations nobody asks for."""

    served: Served
    met: list[WebSocket]
    """The gateway's ends, oldest first."""

    async def opened(self, *lines: bytes, receive_size_bytes: int = 0) -> Wire:
        """A client behind its handshake. `receive_size_bytes`: what its system keeps; 0: as always."""
        ours = socket.socket()
        if receive_size_bytes:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_size_bytes)
        ours.setblocking(False)
        await asyncio.get_running_loop().sock_connect(ours, (HOST, self.served.port))
        wire = Wire(*await asyncio.open_connection(sock=ours))
        self.served.wires.append(wire)
        head = b"".join(
            line + b"\r\n"
            for line in (
                b"GET /v1/ws HTTP/1.1",
                b"host: x",
                b"upgrade: websocket",
                b"connection: upgrade",
                b"sec-websocket-version: 13",
                b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==",
                *lines,
            )
        )
        wire.send(head + b"\r\n")
        assert (await wire.head())[0] == 101
        return wire


@asynccontextmanager
async def sockets(
    *, per_s: float = 0, burst: int = 0, clock: Callable[[], float] = time.monotonic
) -> AsyncIterator[Sockets]:
    """The rate is an address's, which the client names."""
    unused, met = cast(Any, None), list[WebSocket]()
    limits = {
        name: Limit(name, per_s=per_s, burst=burst, clock=clock) for name in ("key", "session", "address")
    }
    shared = jsonrpc.Shared(
        door_to(no_rounds()),
        unused,
        rates=Rates(**limits, is_key=is_api_key),
        addresses=Addresses("127.0.0.0/8"),
        origins=unused,
    )

    def converse(end: WebSocket) -> jsonrpc.Conversation:
        met.append(end)
        return shared.converse(end)

    upgrade = WebSockets(converse, origins=unused).upgrade
    # What is held back is not waited for.
    async with serving(upgrade=upgrade, drain_grace_ms=0) as served:
        yield Sockets(served, met)


def frame(opcode: int, data: bytes = b"") -> bytes:
    """As a client sends it, under a mask of zeros."""
    size = len(data)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes([opcode]) + length + bytes(4) + data


def ping(call_id: Any) -> bytes:
    """A call that is answered at once, under its id."""
    return frame(0x81, json.dumps({"jsonrpc": "2.0", "id": call_id, "method": "ping"}).encode())


async def received(wire: Wire) -> tuple[int, bytes]:
    """The next frame."""
    async with asyncio.timeout(PATIENCE_S):
        first, size = await wire.reader.readexactly(2)
        if size == 126:
            size = int.from_bytes(await wire.reader.readexactly(2), "big")
        return first, await wire.reader.readexactly(size)


async def answered(wire: Wire) -> Any:
    """The id of the next answer, which is none of a refusal."""
    opcode, data = await received(wire)
    assert opcode == 0x81
    answer = json.loads(data)
    assert "result" in answer, answer
    return answer["id"]


def closed_with(data: bytes) -> tuple[int, str]:
    """Code and reason."""
    return int.from_bytes(data[:2], "big"), data[2:].decode()


async def test_what_crosses_the_close_of_a_drain_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, tell = list[bytes](), jsonrpc.Conversation.told

    def told(self: jsonrpc.Conversation, message: bytes) -> None:
        begun.append(message)
        tell(self, message)

    monkeypatch.setattr(jsonrpc.Conversation, "told", told)
    async with sockets() as meeting:
        wire = await meeting.opened()
        wire.send(ping(1))
        assert await answered(wire) == 1
        meeting.met[0].drain()
        wire.send(ping(2) + frame(CLOSE, (1000).to_bytes(2, "big")))
        opcode, data = await received(wire)
        assert (opcode, closed_with(data)[0]) == (CLOSE, websocket.GOING_AWAY)
        assert await wire.rest() == b""
        assert len(begun) == 1, "a client may send again, elsewhere, whatever 1001 left without an answer"


async def test_who_does_not_say_who_it_is_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonrpc, "AUTHENTICATE_WITHIN_S", 0.01)
    async with sockets() as gateway:
        wire = await gateway.opened()
        opcode, data = await received(wire)
        assert (opcode, closed_with(data)) == (CLOSE, (4001, "nobody was authenticated in time"))


async def test_who_does_not_answer_a_ping_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "PING_AFTER_S", 0.01)
    monkeypatch.setattr(websocket, "PONG_WITHIN_S", 0.01)
    async with sockets() as gateway:
        wire = await gateway.opened()
        assert await received(wire) == (PING, b"")
        # Reset or end: nothing is said to who is not there.
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await received(wire)


async def test_who_answers_pings_may_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "PING_AFTER_S", 0.01)
    async with sockets() as gateway:
        wire = await gateway.opened()
        # Only who has answered one is asked again.
        for _ in range(3):
            assert await received(wire) == (PING, b"")
            wire.send(frame(PONG))
        wire.send(ping(1))
        while (found := await received(wire))[0] == PING:
            wire.send(frame(PONG))
        assert json.loads(found[1])["id"] == 1


async def test_who_takes_no_answers_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "OUTGOING_SIZE_BYTES_MAX", ECHO_SIZE_BYTES // 2)
    async with sockets() as gateway:
        wire = await gateway.opened(receive_size_bytes=4_096)
        for _ in range(ECHOES):
            wire.send(ping("x" * ECHO_SIZE_BYTES))
        await until(lambda: not gateway.met[0].is_open, seconds_max=PATIENCE_S)
        # Another is served, and this one reads what is left, and why it was closed.
        other = await gateway.opened()
        other.send(ping(1))
        assert await answered(other) == 1
        opcode, data = await received(wire)
        while opcode == 0x81:
            opcode, data = await received(wire)
        assert (opcode, closed_with(data)) == (CLOSE, (4002, "answers are not taken"))


async def test_who_sends_too_many_is_answered_all_but_later() -> None:
    async with sockets(per_s=200, burst=1) as gateway:
        wire = await gateway.opened()
        for number in range(20):
            wire.send(ping(number))
        assert {await answered(wire) for _ in range(20)} == set(range(20))


async def test_who_sends_far_too_many_has_the_rate_and_is_not_read_and_others_are_served() -> None:
    now_s = [0.0]
    async with sockets(per_s=100, burst=2, clock=lambda: now_s[0]) as gateway:
        wire, other = [await gateway.opened(b"x-forwarded-for: 203.0.113.%d" % number) for number in (1, 2)]
        for number in range(2 + jsonrpc.CALLS_MAX):
            wire.send(ping(number))
        assert [await answered(wire) for _ in range(2)] == [0, 1]
        await until(lambda: gateway.met[0]._paused, seconds_max=PATIENCE_S)
        # Whoever comes over the same proxy from elsewhere is answered meanwhile.
        other.send(ping("other"))
        assert await answered(other) == "other"
        # What is held back is answered as the bucket refills, and no more of it.
        for _ in range(3):
            now_s[0] += 0.01
            assert await answered(wire) in range(2, 2 + jsonrpc.CALLS_MAX)
            await asyncio.sleep(0.02)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await wire.reader.readexactly(1)
