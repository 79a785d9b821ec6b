"""Traces, metrics and logs of one process. Silent without a collector, and with a dead one."""

import logging
import os
import random
import re
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import Token
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import msgspec
from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import Histogram, NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, StatusCode, TraceFlags
from opentelemetry.util.types import AttributeValue

from services.common import telemetry_names as names
from services.common.errors import DomainError
from services.tracing.otlp import Exporter
from services.tracing.spans import KEEP, Dropped, Tracer, traceparent_of

FLUSH_TIMEOUT_S = 5.0
EXPORTER_LOG_INTERVAL_S = 3600.0
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)

_TRACEPARENT = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


# Until setup() the process makes trace ids but keeps nothing.
tracer = Tracer(0, None)
_call_duration: Histogram | None = None


class Telemetry:
    """What setup() started."""

    def __init__(self, tracer: Tracer, meter_provider: MeterProvider | None) -> None:
        self.tracer = tracer
        self.meter_provider = meter_provider

    def shutdown(self) -> None:
        """Sends what is buffered. Blocks, for FLUSH_TIMEOUT_S at most, also when the collector hangs."""
        thread = threading.Thread(target=self._shutdown, name="telemetry-flush", daemon=True)
        thread.start()
        thread.join(FLUSH_TIMEOUT_S)

    def _shutdown(self) -> None:
        self.tracer.shutdown()
        if self.meter_provider is not None:
            self.meter_provider.shutdown(timeout_millis=FLUSH_TIMEOUT_S * 1000)


def setup(service: str, *, ratio: float, version: str, log_format: str = "json") -> Telemetry:
    """Starts logs, traces and metrics of this process: OTLP over HTTP if OTEL_EXPORTER_OTLP_* names a place.

    `log_format`: json or text. `ratio`: share of new traces kept, 0..1; OTEL_TRACES_SAMPLER_ARG wins.
    """
    global tracer, _call_duration
    _log_to_stdout(service, log_format)
    instance = {"service.instance.id": str(uuid.uuid4()), "service.version": version}
    own = Resource({"service.name": service, "service.namespace": "reelmesh", **instance}, names.SCHEMA_URL)
    resource = own.merge(OTELResourceDetector().detect())
    ratio = float(os.environ.get("OTEL_TRACES_SAMPLER_ARG") or ratio)
    processor = BatchSpanProcessor(Exporter(resource)) if _endpoint("TRACES") else None
    tracer = Tracer(ratio if processor is not None else 0, processor)
    meter_provider = None
    if _endpoint("METRICS"):
        reader = PeriodicExportingMetricReader(OTLPMetricExporter())
        meter_provider = MeterProvider([reader], resource, shutdown_on_exit=False)
    meter = (meter_provider or NoOpMeterProvider()).get_meter("reelmesh")
    _call_duration = meter.create_histogram(
        names.RPC_SERVER_CALL_DURATION, "s", explicit_bucket_boundaries_advisory=BUCKETS_S
    )
    return Telemetry(tracer, meter_provider)


def _endpoint(signal: str) -> bool:
    # An empty variable is an unset one (OpenTelemetry specification).
    variables = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    return any(map(os.environ.get, variables)) and os.environ.get("OTEL_SDK_DISABLED", "").lower() != "true"


def record_call(method: str, status_code: str, duration_s: float) -> None:
    """Counts one answered RPC. `method`: full name, `status_code`: the gRPC code's name."""
    if _call_duration is not None:
        attributes = {
            names.RPC_SYSTEM_NAME: "grpc",
            names.RPC_METHOD: method,
            names.RPC_RESPONSE_STATUS_CODE: status_code,
        }
        _call_duration.record(duration_s, attributes)


class _Block(AbstractContextManager[Span]):
    """Makes a span the current one for a block, and ends it if the block is what it stands for.

    A class, for a generator's context manager costs five times as much, and most spans are not kept.
    """

    __slots__ = ("_ends", "_span", "_token")
    _token: Token[Context]

    def __init__(self, span: Span, *, ends: bool) -> None:
        self._span, self._ends = span, ends

    def __enter__(self) -> Span:
        self._token = contexts.attach(trace.set_span_in_context(self._span))
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        contexts.detach(self._token)
        if self._ends:
            if error is not None:
                fail(self._span, error)
            self._span.end()


def span(
    name: str,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    parent: str = "",
    links: Sequence[Link] | None = None,
    attributes: Mapping[str, AttributeValue] | None = None,
) -> AbstractContextManager[Span]:
    """The block as a span: child of `parent` (a traceparent), else of the current span, else a root.

    Costs next to nothing in a trace that is not kept. An exception's text never gets on the span: it may show
    what R2 hides. `links` that were given but are empty make an unkept root: a batch nobody looks at.
    """
    current = trace.get_current_span()
    context = context_of(parent) if parent else current.get_span_context()
    if not context.is_valid and links is not None and not links:
        ids = random.getrandbits(128) | 1, random.getrandbits(64) | 1
        context, parent = SpanContext(*ids, is_remote=False), ""
    if context.is_valid and not context.trace_flags.sampled:
        known = not parent and type(current) is Dropped and current.get_span_context() is context
        return _Block(current if known else Dropped(context, parent), ends=False)
    started = tracer.start(name, parent=context, kind=kind, attributes=attributes, links=links or ())
    return _Block(started, ends=type(started) is not Dropped)


def fail(span: Span, error: BaseException) -> None:
    """Marks the span with why it ended; a refusal is an answer, so only the unexpected sets ERROR."""
    if isinstance(error, DomainError):
        span.set_attribute(names.ERROR_REASON, error.reason)
    else:
        span.set_attribute(names.ERROR_TYPE, type(error).__qualname__)
        span.set_status(StatusCode.ERROR)


def keep(name: str, *, why: str, **attributes: AttributeValue) -> None:
    """Records a finished span in the current trace, at any ratio. `why`: error, replay, void, review."""
    parent = trace.get_current_span().get_span_context()
    tracer.start(name, parent=parent, attributes={KEEP: why, **attributes}).end()


def context_of(traceparent: str) -> SpanContext:
    """What a W3C traceparent names; the invalid context when it is malformed."""
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None:
        return trace.INVALID_SPAN_CONTEXT
    return SpanContext(int(found[1], 16), int(found[2], 16), True, TraceFlags(int(found[3], 16)))


def link(traceparent: str) -> Link | None:
    """A link to that span; None when it is malformed or was not kept."""
    context = context_of(traceparent)
    return Link(context) if context.is_valid and context.trace_flags.sampled else None


def traceparent() -> str:
    """The current span as a W3C traceparent; empty outside of any."""
    span = trace.get_current_span()
    # Spans are of an abstract class, for which isinstance is a search.
    return span.traceparent if type(span) is Dropped else traceparent_of(span.get_span_context())


def trace_id() -> str:
    """The current trace's id, 32 hex digits; empty outside of any."""
    return traceparent()[3:35]


class LogFormatter(logging.Formatter):
    """One JSON object, or one line of text, per record, with the ids of the current span.

    `extra={"fields": {...}}` adds keys. The rows that PostgreSQL shows in DETAIL and CONTEXT are cut off:
    they may hold an outcome that nobody may read yet (R2).
    """

    def __init__(self, service: str, log_format: str) -> None:
        super().__init__()
        self._service = service
        self._json = log_format == "json"
        self._encode = msgspec.json.Encoder(enc_hook=str).encode

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"time": time, "level": record.levelname, "service": self._service}
        line |= {"logger": record.name, "message": record.getMessage()}
        if trace_id():
            line |= {"trace_id": trace_id(), "span_id": traceparent()[36:52]}
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = re.sub(r"\n(DETAIL|CONTEXT): .*", "", self.formatException(record.exc_info))
        if self._json:
            return self._encode(line).decode()
        return " ".join(str(value) for value in line.values())


class _OncePerHour(logging.Filter):
    """Lets the exporters say once that the collector is away, not for every batch they lose."""

    _next_time_s = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith("opentelemetry"):
            return True
        if record.levelno < logging.WARNING or time.monotonic() < self._next_time_s:
            return False
        self._next_time_s = time.monotonic() + EXPORTER_LOG_INTERVAL_S
        # One line, whatever the transport's exception looks like.
        record.msg, record.args, record.exc_info = (
            "telemetry is not delivered: %s",
            (record.getMessage(),),
            None,
        )
        return True


def _log_to_stdout(service: str, log_format: str) -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(LogFormatter(service, log_format))
    handler.addFilter(_OncePerHour())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
