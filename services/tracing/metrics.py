"""The SDK's metrics over OTLP, and with them the durations that it does not know."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
    ScopeMetrics,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from services.tracing.conventions import PROCESS_CPU_TIME
from services.tracing.durations import Durations
from services.tracing.otlp import SCOPE

_SCOPE = f"{SCOPE}.durations"


class Exporter(OTLPMetricExporter):
    """The SDK's exporter; every export has all durations, too. OTEL_EXPORTER_OTLP_* as there."""

    def __init__(self, durations: Sequence[Durations]) -> None:
        super().__init__()
        self._durations = durations

    def export(
        self, metrics_data: MetricsData, timeout_millis: float | None = 10_000, **options: Any
    ) -> MetricExportResult:
        metrics = [metric for one in self._durations if (metric := one.collect()).data.data_points]
        of_scope = ScopeMetrics(InstrumentationScope(_SCOPE), metrics, schema_url="")
        # The encoder keeps one entry per resource and, in it, per scope: a second would replace the first.
        [by_the_sdk] = metrics_data.resource_metrics
        scopes = [*by_the_sdk.scope_metrics, of_scope]
        both = MetricsData([replace(by_the_sdk, scope_metrics=scopes)])
        return super().export(both, timeout_millis, **options)


def start_metrics(resource: Resource, durations: Sequence[Durations]) -> MeterProvider:
    """Exports every OTEL_METRIC_EXPORT_INTERVAL milliseconds, and at the shutdown."""
    reader = PeriodicExportingMetricReader(Exporter(durations))
    provider = MeterProvider([reader], resource, shutdown_on_exit=False)
    # The reader exports nothing, durations neither, where the SDK has no instrument at all.
    provider.get_meter(SCOPE).create_observable_counter(PROCESS_CPU_TIME, [_cpu_time], unit="s")
    return provider


def _cpu_time(options: CallbackOptions) -> Iterable[Observation]:
    yield Observation(time.process_time())
