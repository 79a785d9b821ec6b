"""Spans kept in memory."""

from collections.abc import Callable, Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.common import telemetry

Trace = Callable[[float], Callable[[], dict[str, ReadableSpan]]]


@pytest.fixture
def trace_with(monkeypatch: pytest.MonkeyPatch) -> Iterator[Trace]:
    """`trace_with(ratio)` traces this process; what it returns gives the finished spans by name."""

    def start(ratio: float) -> Callable[[], dict[str, ReadableSpan]]:
        exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=telemetry.LinkSampler(ratio), shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        monkeypatch.setattr(telemetry, "tracer", provider.get_tracer("test"))
        return lambda: {span.name: span for span in exporter.get_finished_spans()}

    yield start
