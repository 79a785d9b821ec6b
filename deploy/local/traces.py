"""A small OTLP receiver: keeps the last traces in memory and gives them back as JSON. Not a trace store."""

import gzip
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

ROUND_ID = "reelmesh.round.id"
_BODY_BYTES_MAX = 64 * 2**20
_LISTED_MAX = 50
CALLS_MAX = 2_000
# A lone player's spin goes through eight batches; spins in flight together share them. About 100 MB in all.
SHARED_MAX = 8_000


@dataclass(frozen=True, slots=True)
class Link:
    """A link of a span to another, usually in another trace."""

    trace_id: str
    span_id: str


@dataclass(frozen=True, slots=True)
class Span:
    """One finished span. Ids are lower-case hex; parent_span_id is empty for a root."""

    trace_id: str
    span_id: str
    parent_span_id: str
    service: str
    name: str
    kind: str
    start_unix_ns: int
    end_unix_ns: int
    status: str
    attributes: dict[str, Any]
    links: tuple[Link, ...]


class TraceReceiver:
    """POST /v1/traces (OTLP protobuf, gzip allowed) in; GET /traces/<trace_id> and /traces?round_id= out.

    Traces are of two sorts: calls, and what calls share (batches, relays: their root is no server's span).
    """

    def __init__(self, port: int = 0, *, calls_max: int = CALLS_MAX, shared_max: int = SHARED_MAX) -> None:
        """How many traces of each sort are kept."""
        self._calls: OrderedDict[str, list[Span]] = OrderedDict()
        self._shared: OrderedDict[str, list[Span]] = OrderedDict()
        self._calls_max, self._shared_max = calls_max, shared_max
        self._changed = threading.Condition()
        self._http = _Server(("127.0.0.1", port), _handler_type(self))
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(0.05,), name="traces", daemon=True
        )

    @property
    def endpoint(self) -> str:
        """For OTEL_EXPORTER_OTLP_ENDPOINT."""
        return f"http://127.0.0.1:{self._http.server_port}"

    def start(self) -> None:
        """Serves in a thread of its own until stop."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the server; the traces stay readable."""
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def add(self, spans: Sequence[Span]) -> None:
        """Keeps the spans; the oldest traces of a sort leave when there are too many of it."""
        with self._changed:
            for span in spans:
                # A trace counts as a call until its root says otherwise: the root ends last.
                if not span.parent_span_id and span.kind != "SERVER":
                    self._shared.setdefault(span.trace_id, self._calls.pop(span.trace_id, []))
                kept = self._shared if span.trace_id in self._shared else self._calls
                kept.setdefault(span.trace_id, []).append(span)
            for traces, traces_max in ((self._calls, self._calls_max), (self._shared, self._shared_max)):
                while len(traces) > traces_max:
                    traces.popitem(last=False)
            self._changed.notify_all()

    def trace(self, trace_id: str) -> list[Span]:
        """The spans of a trace received so far, by start; empty when unknown."""
        with self._changed:
            spans = self._calls.get(trace_id) or self._shared.get(trace_id, [])
            return sorted(spans, key=lambda span: span.start_unix_ns)

    def spans(self) -> list[Span]:
        """All spans kept."""
        with self._changed:
            return self._all()

    def trace_ids(self, round_id: str | None = None) -> list[str]:
        """Those of calls, newest first; with a round id those, of either sort, of which a span carries it."""
        with self._changed:
            if round_id is None:
                return list(self._calls)[::-1]
            carry = (span.trace_id for span in self._all() if span.attributes.get(ROUND_ID) == round_id)
            return list(dict.fromkeys(carry))[::-1]

    def linked_from(self, trace_id: str) -> list[str]:
        """The traces of which a span links to one of this trace: its batches, its events' relays."""
        with self._changed:
            link = (span.trace_id for span in self._all() if _links_to(span, trace_id))
            return list(dict.fromkeys(link))

    def _all(self) -> list[Span]:
        kept = (*self._shared.values(), *self._calls.values())
        return [span for spans in kept for span in spans]

    def wait_for(self, condition: Callable[[list[Span]], bool], *, timeout_s: float = 10.0) -> list[Span]:
        """All spans, once the condition holds for them; raises TimeoutError naming what was received."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not condition(spans := self._all()):
                if not self._changed.wait(deadline - time.monotonic()):
                    names = sorted({f"{span.service} {span.name}" for span in spans})
                    raise TimeoutError(f"not seen in {timeout_s} s; {len(spans)} spans: {', '.join(names)}")
        return spans

    def answer(self, target: str) -> tuple[int, dict[str, Any]]:
        """Status and JSON body of a GET."""
        url = urlsplit(target)
        parts = url.path.strip("/").split("/")
        if parts == ["traces"]:
            round_ids = parse_qs(url.query).get("round_id", [None])
            return 200, {"traces": [self._summary(one) for one in self.trace_ids(round_ids[0])[:_LISTED_MAX]]}
        if len(parts) == 2 and parts[0] == "traces":
            trace_id = parts[1].lower()
            if spans := self.trace(trace_id):
                linked_from = [self._summary(one) for one in self.linked_from(trace_id)]
                shown = [asdict(span) for span in spans]
                return 200, {"trace_id": trace_id, "spans": shown, "linked_from": linked_from}
        return 404, {"error": "not found", "paths": ["/traces/<trace_id>", "/traces?round_id=<round_id>"]}

    def _summary(self, trace_id: str) -> dict[str, object]:
        spans = self.trace(trace_id)
        if not spans:
            return {"trace_id": trace_id, "span_count": 0}
        end = max(span.end_unix_ns for span in spans)
        return {
            "trace_id": trace_id,
            "name": spans[0].name,
            "services": sorted({span.service for span in spans}),
            "span_count": len(spans),
            "duration_ms": round((end - spans[0].start_unix_ns) / 1e6, 3),
        }


def _links_to(span: Span, trace_id: str) -> bool:
    return any(link.trace_id == trace_id for link in span.links)


def parse(body: bytes) -> list[Span]:
    """The spans of an OTLP export request; raises DecodeError."""
    request = ExportTraceServiceRequest.FromString(body)
    spans = []
    for resource_spans in request.resource_spans:
        service = str(_attributes(resource_spans.resource.attributes).get("service.name", "unknown"))
        for scope_spans in resource_spans.scope_spans:
            spans += [_span(service, span) for span in scope_spans.spans]
    return spans


def _span(service: str, span: trace_pb2.Span) -> Span:
    return Span(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_span_id=span.parent_span_id.hex(),
        service=service,
        name=span.name,
        kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        start_unix_ns=span.start_time_unix_nano,
        end_unix_ns=span.end_time_unix_nano,
        status=trace_pb2.Status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_"),
        attributes=_attributes(span.attributes),
        links=tuple(Link(link.trace_id.hex(), link.span_id.hex()) for link in span.links),
    )


def _attributes(pairs: Sequence[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    if kind == "bytes_value":
        return value.bytes_value.hex()
    return getattr(value, kind) if kind else None


class _Server(ThreadingHTTPServer):
    # Five exporters connect again and again; their threads must not hold up the end of the process.
    daemon_threads = True
    request_queue_size = 64


def _handler_type(receiver: TraceReceiver) -> type[BaseHTTPRequestHandler]:
    """http.server makes one handler object per connection, so the receiver travels in the class."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            """OTLP in. Metrics and logs are taken and dropped, so that exporters of them do not complain."""
            length = int(self.headers.get("Content-Length", 0))
            if length > _BODY_BYTES_MAX:
                self.close_connection = True
                self._reply(413, b"", "text/plain")
                return
            body = self.rfile.read(length)
            try:
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                if self.path == "/v1/traces":
                    receiver.add(parse(body))
            except (DecodeError, OSError, EOFError):
                self._reply(400, b"not an OTLP export request\n", "text/plain")
                return
            self._reply(200, ExportTraceServiceResponse().SerializeToString(), "application/x-protobuf")

        def do_GET(self) -> None:
            """Traces out."""
            status, answer = receiver.answer(self.path)
            self._reply(status, json.dumps(answer, indent=1).encode() + b"\n", "application/json")

        def _reply(self, status: int, body: bytes, content_type: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """The terminal belongs to the runner."""

    return Handler
