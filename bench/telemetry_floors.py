"""The parts of a traced call alone, in CPU-us: what a span, a duration and their export cost."""

import time
from collections.abc import Callable
from typing import Any

from grpc import StatusCode
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

from services.tracing.calls import KEYS, Call, Method
from services.tracing.durations import BOUNDS_S
from services.tracing.otlp import encode
from services.tracing.server import server_durations
from services.tracing.spans import Tracer

_TIMES = 20_000
_KEPT = SpanContext(7 << 64 | 1, 2, is_remote=False, trace_flags=TraceFlags(1))


class _Ended:
    """Takes spans and drops them."""

    def __init__(self) -> None:
        self.last: Any = None

    def on_end(self, span: Any) -> None:
        self.last = span

    def shutdown(self) -> None:
        """Nothing to send."""


def floors() -> dict[str, float]:
    """Names and CPU-us."""
    ended, durations = _Ended(), server_durations()
    methods = {ratio: Method(Tracer(ratio, ended), durations, "a.B/C", SpanKind.SERVER) for ratio in (0, 1)}
    values = methods[0].values[StatusCode.OK]
    # Where nothing is exported, the SDK's instrument does nothing either.
    provider = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    meter = provider.get_meter("floors")
    histogram = meter.create_histogram("x", "s", explicit_bucket_boundaries_advisory=BOUNDS_S)
    attributes = dict(zip(KEYS, ("grpc", "a.B/C", "OK"), strict=False))
    kept = trace.set_span_in_context(trace.NonRecordingSpan(_KEPT))
    found = {
        "call dropped": _us(lambda: Call(methods[0]).end(StatusCode.OK)),
        "call kept": _us(lambda: Call(methods[1]).end(StatusCode.OK)),
        "encode span": _us(lambda: encode([ended.last], Resource({})), 2_000),
        "duration": _us(lambda: durations.record(values, 0.02)),
        "duration with exemplar": _us(lambda: durations.record(values, 0.02, _KEPT)),
        "SDK histogram": _us(lambda: histogram.record(0.02, attributes)),
        "SDK histogram with exemplar": _us(lambda: histogram.record(0.02, attributes, kept)),
        "collect durations": _us(durations.collect, 200),
    }
    provider.shutdown()
    return found


def _us(run: Callable[[], object], times: int = _TIMES) -> float:
    for _ in range(times // 10):
        run()
    started_s = time.thread_time()
    for _ in range(times):
        run()
    return (time.thread_time() - started_s) * 1e6 / times
