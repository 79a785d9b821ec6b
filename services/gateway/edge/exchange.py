"""What is asked and what is answered, apart from how it goes over the wire."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import msgspec
from opentelemetry import trace

from services.common import telemetry
from services.common import telemetry_names as names
from services.common.errors import BodyMalformed, DomainError

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_encode = msgspec.json.Encoder().encode


def security_lines(policy: str, *, cache: str = "no-store") -> str:
    """Taken as what it says it is, telling no other site. `policy`: what it may load."""
    return (
        f"x-content-type-options: nosniff\r\ncontent-security-policy: {policy}\r\n"
        f"referrer-policy: no-referrer\r\ncache-control: {cache}\r\n"
    )


# Of every answer that is no page: nothing, and in no frame.
_SECURITY = security_lines("default-src 'none'; frame-ancestors 'none'")


class NotHttp(BodyMalformed):
    """The request is not HTTP/1.1 as this server takes it."""

    reason = "BODY_MALFORMED"


class Request(msgspec.Struct):
    """A request that was read to its end; one that was refused before has what was read till then."""

    method: str
    """Empty when none was read."""
    target: str
    """As it was sent."""
    headers: dict[bytes, bytes]
    """Names in lower case; of a header sent twice, the first; of X-Forwarded-For all."""
    body: bytes = b""
    refusal: Exception | None = None
    """What the operation is to raise instead of being done."""
    path: str = ""
    """The target's path, decoded, and its parameters: set by whoever looks for the route."""
    parameters: dict[str, str] = {}
    query: str = ""
    address: str = ""
    """Of the connection's other end."""
    scheme: str = "http"
    """"https" where TLS ends here."""

    def header(self, name: bytes) -> str:
        """A header's value, empty when there is none. `name`: lower case."""
        return self.headers.get(name, b"").decode("latin-1")


class Response(msgspec.Struct):
    """An answer. `after_reply` is awaited once it was written; the client does not wait for it."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: dict[str, str] = {}
    after_reply: Callable[[], Awaitable[None]] | None = None
    security: str = _SECURITY
    """Header lines, of security_lines. A page has a policy of its own."""
    rate: str = ""
    """Header lines of what is left of the caller's limit: made at once, for every answer has them."""

    def encode(self, *, date: str, close: bool, head_only: bool) -> bytes:
        """The reply, whole: one write. `date`: the header's line; `head_only`: an answer to HEAD."""
        head = (
            f"{_STATUS_LINES[self.status]}{date}{self.security}content-type: {self.content_type}\r\n"
            f"content-length: {len(self.body)}\r\n{self.rate}"
        )
        for name, value in self.headers.items():
            head += f"{name}: {value}\r\n"
        head += "connection: close\r\n\r\n" if close else "\r\n"
        return head.encode("latin-1") + (b"" if head_only else self.body)


class Template:
    """An answer that is given too often to be made each time: it changes with the date and the trace id."""

    def __init__(self, response: Response, trace_id: str) -> None:
        """`response`: one such answer, `trace_id`: the trace that it names."""
        self._response, self._trace_id = response, trace_id.encode()
        self._date = ""
        self._parts: dict[bool, list[bytes]] = {}

    def encode(self, trace_id: bytes, *, date: str, close: bool) -> bytes:
        """The reply as its response would be encoded, naming another trace."""
        if date != self._date:
            self._date, self._parts = date, {}
        if close not in self._parts:
            reply = self._response.encode(date=date, close=close, head_only=False)
            self._parts[close] = reply.split(self._trace_id)
        return trace_id.join(self._parts[close])


class Refusal(msgspec.Struct):
    """An answer by template."""

    template: Template
    trace_id: bytes

    def encode(self, *, date: str, close: bool, head_only: bool) -> bytes:
        """As a response. `head_only`: never, no template is for HEAD."""
        return self.template.encode(self.trace_id, date=date, close=close)


def problem_json(error: DomainError) -> dict[str, Any]:
    """RFC 9457: the same reason, class and trace id as over gRPC."""
    trace.get_current_span().set_attribute(names.ERROR_REASON, error.reason)
    return {
        "type": f"https://reelmesh.dev/errors/{error.reason}",
        "title": error.reason.replace("_", " ").capitalize(),
        "status": error.http_status,
        "detail": error.message,
        "reason": error.reason,
        "class": error.error_class,
        "metadata": error.metadata,
        "trace_id": telemetry.trace_id(),
    }


def problem(error: DomainError) -> Response:
    """The same as a response."""
    response = Response(error.http_status, _encode(problem_json(error)), "application/problem+json")
    if "retry_after_ms" in error.metadata:
        response.headers["retry-after"] = str(-(-int(error.metadata["retry_after_ms"]) // 1000))
    return response
