"""WebSocket (RFC 6455) on the port of the REST API: the frames by the websockets library."""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol, cast

from websockets.exceptions import InvalidState
from websockets.frames import Frame, Opcode
from websockets.http11 import Request as Handshake
from websockets.protocol import State
from websockets.server import ServerProtocol

from services.gateway.edge.exchange import Request
from services.gateway.edge.http import Shared, Successor
from services.gateway.protection.origins import Origins

PATH = "/v1/ws"
MESSAGE_SIZE_BYTES_MAX = 64 * 1024
# What a client has not taken yet; beyond it the socket is closed.
OUTGOING_SIZE_BYTES_MAX = 1024 * 1024
# Beyond it nothing more is read from a client until it has taken its answers.
_OUTGOING_SIZE_BYTES_PAUSE = 64 * 1024
# Without a byte from the client it is asked whether it is there, and has so long to say so.
PING_AFTER_S = 50.0
PONG_WITHIN_S = 20.0
# A client that we close has so long to close too.
_CLOSE_WITHIN_S = 5.0

# Close codes: of RFC 6455, and our own from 4000 on (docs/api.md).
GOING_AWAY, UNSUPPORTED_DATA = 1001, 1003
UNAUTHENTICATED, SLOW_READER = 4001, 4002

# It says what it does at levels that nobody turns on, at a price.
_silent = logging.getLogger("websockets.silent")
_silent.disabled = True


class Conversation(Protocol):
    """What is said over a socket."""

    def opened(self, handshake: Request) -> None:
        """The socket is there, from the address of the socket's other end."""

    def told(self, message: bytes) -> None:
        """A text message of the client."""

    def closed(self) -> None:
        """The socket is gone; what was asked goes on."""

    @property
    def busy(self) -> bool:
        """Whether answers are owed."""

    @property
    def full(self) -> bool:
        """Whether as many are owed as may be."""


class WebSocket(Successor):
    """One client. It is read only while it takes what it is sent."""

    __slots__ = (
        "_blocked",
        "_closing",
        "_conversation",
        "_draining",
        "_handshake",
        "_parts",
        "_paused",
        "_pinged",
        "_protocol",
        "_shared",
        "_transport",
        "deadline_s",
        "writable",
    )
    _transport: asyncio.Transport
    _conversation: Conversation

    def __init__(self, shared: Shared, protocol: ServerProtocol, handshake: Request) -> None:
        self._shared, self._protocol = shared, protocol
        self._handshake: Request | None = handshake
        # Of a message in several frames those that have come.
        self._parts: list[bytes] = []
        self.address = ""
        self._paused = self._blocked = self._pinged = self._closing = self._draining = False
        self.writable: asyncio.Event | None = None
        """Set while the client takes what it is sent; made when somebody waits for that."""
        self.deadline_s = shared.loop.time() + PING_AFTER_S

    def converse(self, conversation: Conversation) -> None:
        """Who gets the messages. Before connection_made."""
        self._conversation = conversation

    # Called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_OUTGOING_SIZE_BYTES_PAUSE)
        self._shared.connections.add(self)
        self._flush()
        handshake, self._handshake = self._handshake, None
        assert handshake is not None
        self._conversation.opened(handshake)

    def data_received(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        if not self._closing:
            self._pinged = False
            self.deadline_s = self._shared.loop.time() + PING_AFTER_S
        for event in self._protocol.events_received():
            if isinstance(event, Frame) and not self._closing:
                self._frame(event)
        self._flush()

    def eof_received(self) -> bool:
        self._protocol.receive_eof()
        self._flush()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._closing = True
        self._shared.leave(self.address)
        self._conversation.closed()
        if self.writable is not None:
            self.writable.set()
        self._shared.forget(self)

    def pause_writing(self) -> None:
        if self.writable is not None:
            self.writable.clear()
        self._blocked = True
        self.mind_reading()

    def resume_writing(self) -> None:
        if self.writable is not None:
            self.writable.set()
        self._blocked = False
        self.mind_reading()

    # Called by the server

    def drain(self) -> None:
        """Closes when what was asked is answered."""
        self._draining = True
        self.answered()

    def expire(self) -> None:
        """Asks whether the client is there; closes when it does not say so."""
        if self._closing or self._pinged:
            self.abort()
            return
        self._pinged = True
        self.deadline_s = self._shared.loop.time() + PONG_WITHIN_S
        self._protocol.send_ping(b"")
        self._flush()

    def abort(self) -> None:
        """Closes at once."""
        self._transport.abort()

    # Called by the conversation

    @property
    def is_open(self) -> bool:
        """Whether anything can be sent."""
        return not self._closing

    def send(self, message: bytes) -> None:
        """A text message, unless the client is gone; one that takes nothing is closed."""
        if self._closing:
            return
        self._protocol.send_text(message)
        self._flush()
        if self._transport.get_write_buffer_size() > OUTGOING_SIZE_BYTES_MAX:
            self.close(SLOW_READER, "answers are not taken")

    def close(self, code: int, reason: str) -> None:
        """Closes with a code of docs/api.md."""
        if self._closing:
            return
        self._closing = True
        self.deadline_s = self._shared.loop.time() + _CLOSE_WITHIN_S
        try:
            self._protocol.send_close(code, reason)
        except InvalidState:
            return  # the client was first
        self._flush()

    def mind_reading(self) -> None:
        """Reads only while there is room for calls, and answers are taken."""
        hold = self._blocked or self._conversation.full
        if hold is self._paused or self._transport.is_closing():
            return
        self._paused = hold
        if hold:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    async def taken(self) -> None:
        """Returns when the client has taken most of what it was sent."""
        if self.writable is None:
            self.writable = asyncio.Event()
            if self._transport.get_write_buffer_size() <= _OUTGOING_SIZE_BYTES_PAUSE:
                self.writable.set()
        await self.writable.wait()

    def answered(self) -> None:
        """An answer was given: perhaps the last before the end."""
        if self._draining and not self._conversation.busy:
            self.close(GOING_AWAY, "the gateway restarts; connect again")

    def _frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.BINARY:
            self.close(UNSUPPORTED_DATA, "JSON-RPC is text")
        elif frame.opcode in (Opcode.TEXT, Opcode.CONT):
            if frame.fin and not self._parts:
                self._conversation.told(bytes(frame.data))
                return
            # The sizes together are bounded; pieces without any would not be.
            if frame.data:
                self._parts.append(bytes(frame.data))
            if frame.fin:
                message, self._parts = b"".join(self._parts), []
                self._conversation.told(message)

    def _flush(self) -> None:
        """What the protocol wants sent; an empty piece is the end."""
        for piece in self._protocol.data_to_send():
            if piece:
                self._transport.write(piece)
            elif not self._transport.is_closing():
                self._transport.close()
        if self._protocol.state is not State.OPEN:
            self._closing = True
            self.deadline_s = min(self.deadline_s, self._shared.loop.time() + _CLOSE_WITHIN_S)


Converse = Callable[[WebSocket], Conversation]


class WebSockets:
    """Takes connections over that ask for a WebSocket."""

    def __init__(self, converse: Converse, *, origins: Origins) -> None:
        """`converse`: makes a socket's conversation."""
        self._converse, self._origins = converse, origins

    def upgrade(self, request: Request, shared: Shared) -> WebSocket | None:
        """The socket; None where the request asks for none, or not as it should, or for another's page."""
        if request.method != "GET" or request.target != PATH or shared.stopping:
            return None
        if b"origin" in request.headers and not self._origins.listed(
            request.header(b"origin"), request.header(b"host")
        ):
            return None
        protocol = ServerProtocol(max_size=MESSAGE_SIZE_BYTES_MAX, logger=_silent)
        head = b"".join(b"%b: %b\r\n" % item for item in request.headers.items())
        protocol.receive_data(b"GET %b HTTP/1.1\r\n%b\r\n" % (PATH.encode(), head))
        [*events] = protocol.events_received()
        if len(events) != 1 or not isinstance(events[0], Handshake):
            return None
        response = protocol.accept(events[0])
        if response.status_code != 101:
            return None
        protocol.send_response(response)
        socket = WebSocket(shared, protocol, request)
        socket.converse(self._converse(socket))
        return socket
