"""Our spans on the wire, held against the SDK's own encoder."""

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode, TraceFlags
from opentelemetry.util.types import AttributeValue

from services.common import telemetry
from services.tracing.otlp import SCOPE, encode
from services.tracing.spans import Dropped, Span, Tracer
from tests.spans import Kept

RESOURCE = Resource({"service.name": "wallet", "service.version": "1"}, "https://example.org/schema")
REMOTE = SpanContext(7 << 64 | 1, 2, is_remote=True, trace_flags=TraceFlags(1))
LOCAL = SpanContext(7 << 64 | 1, 3, is_remote=False, trace_flags=TraceFlags(1))


def by_the_sdk(span: Span) -> ExportTraceServiceRequest:
    """The same span as the SDK writes it."""
    same = ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=RESOURCE,
        attributes=span.attributes,
        links=span.links,
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=InstrumentationScope(SCOPE),
    )
    return encode_spans([same])


@pytest.mark.parametrize("kind", list(SpanKind))
@pytest.mark.parametrize(
    "parent", [trace.INVALID_SPAN_CONTEXT, REMOTE, LOCAL], ids=["root", "remote", "local"]
)
@pytest.mark.parametrize("status", list(StatusCode))
def test_a_span_is_written_as_the_sdk_writes_it(
    kind: SpanKind, parent: SpanContext, status: StatusCode
) -> None:
    kept = Kept()
    attributes: dict[str, AttributeValue] = {"text": "a", "int": 1, "bool": True, "real": 1.0}
    span = Tracer(1, kept).start(
        "spin", parent=parent, kind=kind, attributes=attributes, links=[Link(REMOTE)]
    )
    span.add_link(LOCAL)
    span.set_attribute("text", "b")
    span.set_status(status)
    span.end()
    [finished] = kept.finished
    assert ExportTraceServiceRequest.FromString(encode([finished], RESOURCE)) == by_the_sdk(finished)


def test_equal_values_of_different_types_are_not_mixed_up() -> None:
    kept = Kept()
    for value in (1, True, 1.0, 0, False):
        Tracer(1, kept).start("x", attributes={"same key": value}).end()
    written = ExportTraceServiceRequest.FromString(encode(kept.finished, RESOURCE))
    values = [span.attributes[0].value for span in written.resource_spans[0].scope_spans[0].spans]
    assert [value.WhichOneof("value") for value in values] == [
        "int_value",
        "bool_value",
        "double_value",
        "int_value",
        "bool_value",
    ]


def test_a_span_ends_once_and_records_no_exception() -> None:
    kept = Kept()
    span = Tracer(1, kept).start("x")
    span.record_exception(ValueError("4711"))
    span.add_event("4711")
    assert span.is_recording()
    span.end()
    span.end()
    assert len(kept.finished) == 1 and not span.is_recording()
    assert b"4711" not in encode(kept.finished, RESOURCE)


def test_without_a_processor_a_callers_decision_is_handed_on() -> None:
    span = Tracer(1, None).start("x", parent=REMOTE)
    assert type(span) is Dropped
    assert span.traceparent.startswith(f"00-{REMOTE.trace_id:032x}-") and span.traceparent.endswith("-01")


def test_what_is_marked_is_kept_in_a_dropped_trace() -> None:
    kept, dropped = Kept(), SpanContext(5, 6, is_remote=True)
    tracer = Tracer(1, kept)
    tracer.start("dropped", parent=dropped).end()
    tracer.start("kept", parent=dropped, keep=True).end()
    assert [span.name for span in kept.finished] == ["kept"]


def test_a_block_in_a_dropped_trace_makes_no_new_span(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "tracer", Tracer(0, Kept()))
    with telemetry.span("root") as root, telemetry.span("inner") as inner:
        assert inner is root and type(root) is Dropped
