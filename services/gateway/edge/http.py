"""HTTP/1.1: the requests of a connection are answered in order, each by one write."""

import asyncio
import logging
import math
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, cast

from services.common.errors import Internal
from services.gateway.edge.exchange import Refusal, Request, Response, problem
from services.gateway.edge.reading import Limits, Reader

log = logging.getLogger(__name__)

App: TypeAlias = Callable[[Request], Awaitable[Response]]
# What is refused at once; None: ask the app.
Refuse: TypeAlias = Callable[[Request], Refusal | None]
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Member(Protocol):
    """A connection, whatever is spoken over it."""

    deadline_s: float
    """When expire() is due, by the loop's clock."""

    def drain(self) -> None:
        """Answers what was asked, then closes."""

    def expire(self) -> None:
        """The time is over."""

    def abort(self) -> None:
        """Closes at once."""


class Successor(asyncio.Protocol):
    """Speaks another protocol on a connection, from the end of its handshake on."""

    __slots__ = ("address",)
    address: str
    """Of the connection's other end."""


# Who takes a connection over whose client asks for another protocol; None: nobody.
Upgrade: TypeAlias = "Callable[[Request, Shared], Successor | None]"
# The reader does not stop within what it is given, so it is given no more than this at a time.
_SLICE_SIZE_BYTES = 4_096


@dataclass(slots=True)
class Shared:
    """What the connections of a server have in common."""

    app: App
    refuse: Refuse
    limits: Limits
    loop: asyncio.AbstractEventLoop
    # Set before stopping is: who is kept alive until the end may just then ask for the next thing.
    leaving: asyncio.Event
    # The header, a line of its own.
    date: str = ""
    stopping: bool = False
    # Open, or closed by the client while something is under way.
    connections: set[Member] = field(default_factory=set)
    upgrade: Upgrade = lambda *_: None
    on_empty: Callable[[], None] = lambda: None
    # How many are open, by address.
    counts: Counter[str] = field(default_factory=Counter)

    def leave(self, address: str) -> None:
        """One connection of the address is less."""
        self.counts[address] -= 1
        if not self.counts[address]:
            del self.counts[address]

    def forget(self, connection: Member) -> None:
        """Nothing of the connection is left."""
        self.connections.discard(connection)
        if not self.connections:
            self.on_empty()


class Connection(asyncio.Protocol):
    """One client. What it asked for goes on when it disconnects: a spin belongs to the gateway (R6)."""

    _transport: asyncio.Transport
    _address: str
    _scheme: str

    def __init__(self, shared: Shared) -> None:
        self._shared, self._limits, self._loop = shared, shared.limits, shared.loop
        self._reader = Reader(shared.limits, self)
        # The request being answered, those behind it, and what was not looked at yet.
        self._task: asyncio.Task[None] | None = None
        self._waiting: deque[Request] = deque()
        self._unread = b""
        self._continue_owed = False
        # The first request of what was just received.
        self._first = False
        # We do not read; the client takes no answers; it sends nothing more.
        self._paused = self._blocked = self._eof = False
        self._successor: Successor | None = None
        self._set_deadline(self._limits.idle_timeout_s)

    # Called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is one, but does not say so.
        self._transport = cast(asyncio.Transport, transport)
        self._shared.connections.add(self)
        peer = transport.get_extra_info("peername")
        self._address = peer[0] if peer else ""
        self._scheme = "https" if transport.get_extra_info("sslcontext") else "http"
        self._shared.counts[self._address] += 1
        if self._shared.stopping or self._shared.counts[self._address] > self._limits.connections_max:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        if self._paused:
            self._unread += data
        else:
            self._first = True
            self._read(data)
            self._first = False

    def eof_received(self) -> bool:
        """Whether to stay: who ends only the own side still gets the answers."""
        self._eof = True
        return self._task is not None or bool(self._waiting)

    def connection_lost(self, error: Exception | None) -> None:
        self._reader.close()
        self.deadline_s = math.inf
        self._shared.leave(self._address)
        # What waits never begins; what has begun goes on, and a drain waits for it.
        if self._task is None:
            self._shared.forget(self)

    def pause_writing(self) -> None:
        self._blocked = True
        self._pause()
        self._set_deadline(self._limits.idle_timeout_s)

    def resume_writing(self) -> None:
        self._blocked = False
        if not self._transport.is_closing():
            self._proceed()

    # Called by the server

    def drain(self) -> None:
        """Answers what is read and what is half read; closes at once where there is neither."""
        if self._paused or not self._reader.reading:
            self._unread = b""
            self._reader.end()
            if self._task is None and not self._waiting:
                self._transport.close()

    def expire(self) -> None:
        """The time is over; what was asked before is still answered."""
        if self._task is None:
            self.abort()
        else:
            self._reader.end()
            self.deadline_s = math.inf

    def abort(self) -> None:
        """Closes at once."""
        self._transport.abort()

    # Called by the reader

    def begun(self) -> None:
        self._set_deadline(self._limits.head_timeout_s)

    def headed(self) -> None:
        self._set_deadline(self._limits.request_timeout_s)

    def expected(self) -> None:
        self._continue_owed = True
        self._continue()

    def asked(self, request: Request, *, last: bool) -> None:
        self._continue_owed = False
        self.deadline_s = math.inf
        request.address, request.scheme = self._address, self._scheme
        if self._shared.stopping:
            self._reader.end()
        if self._task is not None:
            self._waiting.append(request)
        elif (refusal := self._refuse(request)) is not None:
            self._reply(request, refusal)
        else:
            self._start(request)

    def takes_over(self, request: Request, behind: bytes) -> bool:
        # What was asked before is still to be answered, in HTTP.
        if self._task is not None or self._waiting:
            return False
        found = self._shared.upgrade(request, self._shared)
        if found is None:
            return False
        self._successor = found
        # It goes on counting for its address.
        found.address = self._address
        self._shared.connections.discard(self)
        self._transport.set_protocol(found)
        found.connection_made(self._transport)
        if behind:
            found.data_received(behind)
        # Not now: the reader is reading.
        self._loop.call_soon(self._reader.close)
        return True

    # A request's way through

    def _read(self, data: bytes) -> None:
        for first in range(0, len(data), _SLICE_SIZE_BYTES):
            if self._reader.ended:
                return
            if len(self._waiting) >= self._limits.pipelined_max:
                self._unread = data[first:]
                self._pause()
                return
            self._reader.feed(data[first : first + _SLICE_SIZE_BYTES])
            if self._successor is not None:
                if rest := data[first + _SLICE_SIZE_BYTES :]:
                    self._successor.data_received(rest)
                return

    def _refuse(self, request: Request) -> Refusal | None:
        """The answer to what needs no task: to one request at a time, for the same reason as below."""
        first, self._first = self._first, False
        return self._shared.refuse(request) if first else None

    def _start(self, request: Request) -> None:
        # A task each, so that one client's many requests leave the loop to others.
        self._task = self._loop.create_task(self._answer(request))

    async def _answer(self, request: Request) -> None:
        failure: BaseException | None = None
        try:
            response = await self._shared.app(request)
        except BaseException as error:
            log.error("a request failed", exc_info=error)
            failure, response = error, problem(Internal())
        self._reply(request, response)
        if failure is not None and not isinstance(failure, Exception):
            raise failure
        if response.after_reply is not None:
            # The loop writes at the end of its turn.
            await asyncio.sleep(0)
            await response.after_reply()

    def _reply(self, request: Request, response: Response | Refusal) -> None:
        self._task = None
        if self._transport.is_closing():
            self._shared.forget(self)
            return
        shared = self._shared
        last = self._reader.ended or self._eof or shared.stopping or shared.leaving.is_set()
        close = last and not self._waiting and not self._unread
        self._transport.write(
            response.encode(date=self._shared.date, close=close, head_only=request.method == "HEAD")
        )
        if not close:
            self._proceed()
        elif self._shared.stopping or self._eof:
            self._transport.close()
        else:
            # Closed with something unread the connection is reset, and the answer may be lost with it.
            self._reader.end()
            if self._transport.can_write_eof():
                self._transport.write_eof()
                self._set_deadline(self._limits.request_timeout_s)
            else:
                # TLS has no half-closed connections; it says goodbye by itself.
                self._transport.close()

    def _proceed(self) -> None:
        """What comes next, after a reply or when the client takes answers again."""
        if self._task is not None or self._blocked:
            return
        if self._waiting:
            self._start(self._waiting.popleft())
        if self._paused:
            self._resume()
        if self._task is None:
            self._continue()
            if not self._reader.reading:
                self._set_deadline(self._limits.idle_timeout_s)

    def _continue(self) -> None:
        """Asks for a body, once everything before it is answered."""
        if self._continue_owed and self._task is None and not self._waiting:
            self._continue_owed = False
            self._transport.write(_CONTINUE)

    def _pause(self) -> None:
        # A request half read is not late while we are the ones who do not read.
        self.deadline_s = math.inf
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        unread, self._unread = self._unread, b""
        if self._reader.reading:
            self._set_deadline(self._limits.request_timeout_s)
        self._read(unread)
        if not self._unread:
            self._paused = False
            self._transport.resume_reading()

    def _set_deadline(self, seconds: float) -> None:
        self.deadline_s = self._loop.time() + seconds
