"""Traces, metrics and logs of one process. Silent without a collector, and with a dead one."""

import os
import sys
import threading
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanKind, StatusCode
from opentelemetry.util.types import AttributeValue

from services.common import telemetry_names as names
from services.common.errors import DomainError
from services.tracing.blocks import block
from services.tracing.client import client_durations
from services.tracing.durations import Durations
from services.tracing.logs import Format, log_to
from services.tracing.metrics import start_metrics
from services.tracing.otlp import Exporter
from services.tracing.server import server_durations
from services.tracing.spans import Tracer
from services.tracing.spans import context_of as context_of
from services.tracing.spans import traceparent as traceparent

FLUSH_TIMEOUT_S = 5.0

# Until setup() the process makes trace ids but keeps nothing.
tracer = Tracer(0, None)
# What calls and requests took since the process started; exported where there is somebody to take it.
server_calls, client_calls = server_durations(), client_durations()
_REQUEST_KEYS = (
    names.HTTP_REQUEST_METHOD,
    names.HTTP_ROUTE,
    names.HTTP_RESPONSE_STATUS_CODE,
    names.ERROR_TYPE,
)
http_requests = Durations(names.HTTP_SERVER_REQUEST_DURATION, (*_REQUEST_KEYS, names.URL_SCHEME))


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


def setup(service: str, *, ratio: float, version: str, log_format: Format = "auto") -> Telemetry:
    """Starts logs, traces and metrics of this process: OTLP over HTTP if OTEL_EXPORTER_OTLP_* names a place.

    `log_format`: "auto" is text on a terminal, else JSON. `ratio`: share of new traces kept, 0..1;
    OTEL_TRACES_SAMPLER_ARG wins.
    """
    global tracer
    log_to(sys.stdout, service, log_format)
    instance = {names.SERVICE_INSTANCE_ID: str(uuid.uuid4()), names.SERVICE_VERSION: version}
    own = Resource(
        {names.SERVICE_NAME: service, names.SERVICE_NAMESPACE: "reelmesh", **instance}, names.SCHEMA_URL
    )
    resource = own.merge(OTELResourceDetector().detect())
    ratio = float(os.environ.get("OTEL_TRACES_SAMPLER_ARG") or ratio)
    processor = BatchSpanProcessor(Exporter(resource)) if _endpoint("TRACES") else None
    tracer = Tracer(ratio if processor is not None else 0, processor)
    durations = (server_calls, client_calls, http_requests)
    return Telemetry(tracer, start_metrics(resource, durations) if _endpoint("METRICS") else None)


def _endpoint(signal: str) -> bool:
    # An empty variable is an unset one (OpenTelemetry specification).
    variables = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    return any(map(os.environ.get, variables)) and os.environ.get("OTEL_SDK_DISABLED", "").lower() != "true"


def span(
    name: str,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    parent: str = "",
    links: Sequence[Link] | None = None,
    attributes: Mapping[str, AttributeValue] | None = None,
) -> AbstractContextManager[Span]:
    """The block as a span of this process: as services.tracing.blocks.block()."""
    return block(tracer, name, fail, kind=kind, parent=parent, links=links, attributes=attributes)


def fail(span: Span, error: BaseException) -> None:
    """Marks the span with why it ended; a refusal is an answer, so only the unexpected sets ERROR.

    An exception's text never gets on the span: it may show what R2 hides.
    """
    if isinstance(error, DomainError):
        span.set_attribute(names.ERROR_REASON, error.reason)
    else:
        span.set_attribute(names.ERROR_TYPE, type(error).__qualname__)
        span.set_status(StatusCode.ERROR)


def keep(name: str, *, why: str, links: Sequence[Link] = (), **attributes: AttributeValue) -> None:
    """Records a finished span in the current trace, at any ratio. `why`: error, replay, void, review."""
    parent = trace.get_current_span().get_span_context()
    kept = {names.KEEP: why, **attributes}
    tracer.start(name, parent=parent, attributes=kept, links=links, keep=True).end()


def link(traceparent: str) -> Link | None:
    """A link to that span; None when it is malformed or was not kept."""
    context = context_of(traceparent)
    return Link(context) if context.is_valid and context.trace_flags.sampled else None


def trace_id() -> str:
    """The current trace's id, 32 hex digits; empty outside of any."""
    return traceparent()[3:35]
