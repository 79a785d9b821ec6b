"""When a socket is read: while there is room for calls, and its client takes the answers."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from services.gateway.edge.exchange import Request
from services.gateway.edge.websocket import WebSocket, WebSockets

HANDSHAKE = {
    b"host": b"x",
    b"connection": b"Upgrade",
    b"upgrade": b"websocket",
    b"sec-websocket-version": b"13",
    b"sec-websocket-key": b"AAAAAAAAAAAAAAAAAAAAAA==",
}


class Wire:
    """A transport that remembers whether it is read."""

    def __init__(self) -> None:
        self.read, self.sent = True, b""

    def pause_reading(self) -> None:
        self.read = False

    def resume_reading(self) -> None:
        self.read = True

    def write(self, data: bytes) -> None:
        self.sent += data

    def is_closing(self) -> bool:
        return False

    def set_write_buffer_limits(self, high: int) -> None:
        pass


class Silence:
    """A conversation that owes what a test says."""

    busy, full = False, False

    def opened(self, handshake: Request) -> None:
        pass


async def upgraded(headers: dict[bytes, bytes]) -> tuple[WebSocket | None, Silence, Wire]:
    """A socket, where the handshake is one."""
    shared: Any = SimpleNamespace(loop=asyncio.get_running_loop(), connections=set(), stopping=False)
    silence, wire = Silence(), Wire()
    sockets = WebSockets(lambda _: cast(Any, silence), origins=cast(Any, None))
    socket = sockets.upgrade(Request("GET", "/v1/ws", headers), shared)
    if socket is not None:
        socket.connection_made(cast(Any, wire))
    return socket, silence, wire


async def test_it_is_read_again_when_answers_are_taken_while_calls_are_under_way() -> None:
    socket, silence, wire = await upgraded(HANDSHAKE)
    assert socket is not None and wire.sent.startswith(b"HTTP/1.1 101")
    silence.busy = True
    socket.pause_writing()
    assert not wire.read
    socket.resume_writing()
    assert wire.read


async def test_it_is_read_again_only_when_there_is_room_and_answers_are_taken() -> None:
    socket, silence, wire = await upgraded(HANDSHAKE)
    assert socket is not None
    silence.full = True
    socket.mind_reading()
    socket.pause_writing()
    silence.full = False
    socket.mind_reading()
    assert not wire.read, "nobody takes the answers"
    silence.full = True
    socket.resume_writing()
    assert not wire.read, "there is no room"
    silence.full = False
    socket.mind_reading()
    assert wire.read


async def test_a_handshake_that_is_none_is_left_to_http() -> None:
    for name, value in [
        (b"sec-websocket-key", b"short"),
        (b"sec-websocket-version", b"12"),
        (b"upgrade", b"h2c"),
        (b"connection", b"keep-alive"),
    ]:
        socket, _, wire = await upgraded({**HANDSHAKE, name: value})
        assert socket is None and wire.sent == b""
