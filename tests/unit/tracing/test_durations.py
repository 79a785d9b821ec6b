"""Durations are what the SDK would make of the same records."""

import random

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    HistogramDataPoint,
    InMemoryMetricReader,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, TraceFlags

from services.tracing.durations import BOUNDS_S, Durations

KEPT, DROPPED = (
    SpanContext(7 << 64 | 1, 2, is_remote=False, trace_flags=TraceFlags(1)),
    SpanContext(7 << 64 | 1, 3, is_remote=False, trace_flags=TraceFlags(0)),
)
SEED = 6


def points(durations: Durations) -> list[HistogramDataPoint]:
    return list(durations.collect().data.data_points)  # type: ignore[arg-type]


def by_the_sdk(values: list[float]) -> HistogramDataPoint:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    histogram = provider.get_meter("x").create_histogram(
        "x", "s", explicit_bucket_boundaries_advisory=BOUNDS_S
    )
    for value in values:
        histogram.record(value)
    data = reader.get_metrics_data()
    assert data is not None
    [point] = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    assert isinstance(point, HistogramDataPoint)
    provider.shutdown()
    return point


def test_the_buckets_are_those_of_the_sdk_bounds_included() -> None:
    values = [*BOUNDS_S, 0.0, 11.0, *(random.Random(SEED).expovariate(2) for _ in range(500))]
    durations = Durations("x", ["method"])
    for value in values:
        durations.record(("m",), value)
    [ours], sdk = points(durations), by_the_sdk(values)
    assert list(ours.bucket_counts) == list(sdk.bucket_counts)
    assert (ours.count, ours.min, ours.max) == (sdk.count, sdk.min, sdk.max)
    assert abs(ours.sum - sdk.sum) < 1e-9
    assert tuple(ours.explicit_bounds) == tuple(sdk.explicit_bounds)


def test_each_set_of_values_is_a_series_and_an_absent_one_no_attribute() -> None:
    durations = Durations("x", ["method", "error.type"])
    for values in (("a", None), ("b", None), ("a", "INTERNAL"), ("a", None)):
        durations.record(values, 0.1)
    counts = {tuple(dict(point.attributes or {}).items()): point.count for point in points(durations)}
    assert counts == {
        (("method", "a"),): 2,
        (("method", "b"),): 1,
        (("method", "a"), ("error.type", "INTERNAL")): 1,
    }


def test_the_last_kept_call_of_each_bucket_is_its_exemplar_until_it_was_told() -> None:
    durations = Durations("x", ["method"])
    other = SpanContext(9, 4, is_remote=False, trace_flags=TraceFlags(1))
    for seconds, context in ((0.001, KEPT), (0.002, other), (0.3, KEPT), (0.3, DROPPED), (20.0, None)):
        durations.record(("m",), seconds, context)
    [point] = points(durations)
    told = {(exemplar.value, exemplar.trace_id, exemplar.span_id) for exemplar in point.exemplars}
    assert told == {(0.002, 9, 4), (0.3, KEPT.trace_id, 2)}
    [again] = points(durations)
    assert not again.exemplars and again.count == 5, "cumulative, but no exemplar twice"


def test_they_go_over_the_wire_with_trace_ids() -> None:
    durations = Durations("x", ["method"])
    durations.record(("m",), 0.3, KEPT)
    of_scope = ScopeMetrics(InstrumentationScope("x"), [durations.collect()], "")
    request = encode_metrics(MetricsData([ResourceMetrics(Resource({}), [of_scope], "")]))
    [metric] = request.resource_metrics[0].scope_metrics[0].metrics
    assert (metric.name, metric.unit, metric.histogram.aggregation_temporality) == ("x", "s", 2)
    [point] = metric.histogram.data_points
    [exemplar] = point.exemplars
    assert exemplar.trace_id == KEPT.trace_id.to_bytes(16, "big") and exemplar.as_double == 0.3
