"""Bytes -> requests, by httptools (llhttp): bounded, and strict where two readers could differ."""

import logging
from dataclasses import dataclass
from typing import NoReturn, Protocol

import httptools

from services.common.errors import BodyTooLarge, DomainError, Internal
from services.gateway.edge.exchange import NotHttp, Request
from services.gateway.errors import HeadTooLarge, UrlTooLong

log = logging.getLogger(__name__)

# Of a body whose chunks are of one byte each, six are read for every one.
_FRAMING_MAX = 8
_FORWARDED_FOR = b"x-forwarded-for"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one client may take. Sizes are of what was read, not of what a header claims."""

    body_size_bytes_max: int
    # Target, names and values. Browsers and proxies stay well below.
    head_size_bytes_max: int = 16 * 1024
    # Requests of a connection that wait for the one before them; beyond it nothing is read.
    pipelined_max: int = 16
    # From the first byte of a request to the end of its head, and from there to its last.
    head_timeout_s: float = 5.0
    request_timeout_s: float = 10.0
    # Handshake of TLS.
    handshake_timeout_s: float = 5.0
    # Connections of one address; one more is closed at once. A proxy in front is one address.
    connections_max: int = 10_000
    # Without a request, or with answers that nobody takes.
    idle_timeout_s: float = 75.0
    sweep_interval_s: float = 1.0


class Listener(Protocol):
    """Who is told what was read."""

    def begun(self) -> None:
        """The first byte of a request."""

    def headed(self) -> None:
        """The end of its head."""

    def expected(self) -> None:
        """Its client sends the body only when it is asked for it."""

    def asked(self, request: Request, *, last: bool) -> None:
        """Its last byte, or why it is refused. `last`: nothing behind it is read."""

    def takes_over(self, request: Request, behind: bytes) -> bool:
        """Whether somebody else reads on, `behind` first: its client wants another protocol."""
        ...


class Reader:
    """Reads one client's requests."""

    def __init__(self, limits: Limits, listener: Listener) -> None:
        self._limits, self._listener = limits, listener
        self._parser = httptools.HttpRequestParser(self)
        self.reading = self.ended = False
        """Within a request; nothing further is looked at."""
        # From the end of its head on.
        self._request: Request | None = None
        self._refusal: DomainError | None = None
        self._target, self._headers, self._parts = b"", dict[bytes, bytes](), list[bytes]()
        # What is counted of the head, then of the body; and all that was read of the request.
        self._size_bytes = self._read_bytes = 0
        self._keep_alive = True

    def feed(self, data: bytes) -> None:
        """Reads on. llhttp cannot stop within `data`: all requests in it are told."""
        try:
            self._parser.feed_data(data)
            if self.reading:
                self._count_read(len(data))
        except httptools.HttpParserUpgrade as upgrade:
            behind = data[upgrade.args[0] :]
        except (httptools.HttpParserError, DomainError) as error:
            self._refuse(error)
            return
        else:
            return
        request = Request(self._parser.get_method().decode(), self._target.decode("latin-1"), self._headers)
        if self._listener.takes_over(request, behind):
            self.end()
            return
        self._read_without_upgrade()
        self.feed(behind)

    def end(self) -> None:
        """Nothing more is told."""
        self.reading, self.ended = False, True

    def close(self) -> None:
        """It and llhttp know each other; apart they are no work for the collector."""
        self.end()
        del self._parser

    # Called by llhttp

    def on_message_begin(self) -> None:
        self.reading = True
        self._target, self._headers, self._parts = b"", {}, []
        self._size_bytes = self._read_bytes = 0
        self._listener.begun()

    def on_url(self, part: bytes) -> None:
        self._target += part
        self._count_head(len(part), UrlTooLong)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value), HeadTooLarge)
        # A trailer is not looked at: nobody asks for one.
        if self._request is None:
            name = name.lower()
            if name not in self._headers:
                self._headers[name] = value
            elif name == _FORWARDED_FOR:
                # A proxy may add a line of its own below what its client wrote.
                self._headers[name] += b"," + value

    def on_headers_complete(self) -> None:
        parser, headers = self._parser, self._headers
        if parser.should_upgrade():
            if parser.get_method() == b"CONNECT":
                self._raise(NotHttp(problem="CONNECT is for proxies"))
            return
        self._keep_alive = parser.should_keep_alive()
        if self._keep_alive and b"connection" in headers:
            # HTTP/1.0 asks for it there and waits to be told that it was heard: it is not.
            self._keep_alive = parser.get_http_version() == "1.1"
        self._request = Request(parser.get_method().decode(), self._target.decode("latin-1"), headers)
        self._size_bytes = 0
        self._listener.headed()
        if b"expect" in headers and headers[b"expect"].lower() == b"100-continue":
            self._listener.expected()

    def on_body(self, part: bytes) -> None:
        self._size_bytes += len(part)
        if self._size_bytes > self._limits.body_size_bytes_max:
            self._raise(BodyTooLarge(size_bytes_max=self._limits.body_size_bytes_max))
        self._parts.append(part)

    def on_message_complete(self) -> None:
        request, self._request = self._request, None
        # None: an Upgrade, about to be read again without it.
        if request is not None and not self.ended:
            request.body = b"".join(self._parts)
            self._tell(request, last=not self._keep_alive)

    def _tell(self, request: Request, *, last: bool) -> None:
        self.reading, self.ended = False, last
        self._listener.asked(request, last=last)

    def _refuse(self, error: Exception) -> None:
        """Tells the request as far as it was read, with the reason."""
        if self.ended:
            return  # behind the last request
        refusal = self._refusal
        if refusal is None and isinstance(error, httptools.HttpParserCallbackError):
            log.error("a request could not be read", exc_info=error)
            refusal = Internal()
        method = self._parser.get_method().decode() if self._target else ""
        request = self._request or Request(method, self._target.decode("latin-1"), self._headers)
        request.refusal = refusal or NotHttp(problem=str(error))
        self._tell(request, last=True)

    def _raise(self, refusal: DomainError) -> NoReturn:
        """Stops llhttp, which tells only that something was raised."""
        self._refusal = refusal
        raise refusal

    def _count_head(self, size_bytes: int, refusal: type[DomainError]) -> None:
        self._size_bytes += size_bytes
        if self._size_bytes > self._limits.head_size_bytes_max:
            self._raise(refusal(size_bytes_max=self._limits.head_size_bytes_max))

    def _count_read(self, size_bytes: int) -> None:
        """Bounds what llhttp keeps to itself: a header without end, chunk extensions, trailers."""
        self._read_bytes += size_bytes
        most_bytes = 2 * self._limits.head_size_bytes_max
        refusal: type[DomainError] = HeadTooLarge
        if self._request is not None:
            refusal = BodyTooLarge
            most_bytes += _FRAMING_MAX * self._limits.body_size_bytes_max
        if self._read_bytes > most_bytes:
            self._raise(refusal(size_bytes_max=self._limits.head_size_bytes_max))

    def _read_without_upgrade(self) -> None:
        """Reads the head again without its Upgrade: llhttp takes what follows one for another protocol."""
        version = self._parser.get_http_version().encode()
        head = b"%b %b HTTP/%b\r\n" % (self._parser.get_method(), self._target, version)
        for name, value in self._headers.items():
            if name != b"upgrade":
                head += b"%b: %b\r\n" % (name, value)
        self._parser = httptools.HttpRequestParser(self)
        self.feed(head + b"\r\n")
