"""Histograms of durations with exemplars: buckets of our own, for an SDK's record costs 17 us.

They are read when the exporter wants them, and leave the process with the SDK's metrics.
"""

import time
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import AggregationTemporality, Histogram, HistogramDataPoint, Metric
from opentelemetry.trace import SpanContext

# Of OpenTelemetry's conventions for RPC and HTTP.
BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)

# One value per key of the histogram, in their order; None: this attribute is absent.
Values = tuple[str | int | None, ...]


class _Series:
    """The buckets of one set of values, and the last kept call that fell into each since the last export."""

    __slots__ = ("counts", "exemplars", "max_s", "min_s", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s, self.min_s, self.max_s = 0.0, float("inf"), 0.0
        self.exemplars: dict[int, Exemplar] = {}


class Durations:
    """A histogram of seconds by a few attributes, whose values the code bounds, never a caller."""

    def __init__(self, name: str, keys: Sequence[str], description: str = "") -> None:
        """`keys`: the attributes; each set of their values is a series and stays for ever."""
        self.name, self._keys, self._description = name, tuple(keys), description
        self._start_unix_ns = time.time_ns()
        self._series: dict[Values, _Series] = {}

    def record(self, values: Values, duration_s: float, context: SpanContext | None = None) -> None:
        """Counts one. `context`: the span that took so long; it becomes an exemplar if it is kept."""
        series = self._series.get(values)
        if series is None:
            series = self._series[values] = _Series()
        bucket = bisect_left(BOUNDS_S, duration_s)
        series.counts[bucket] += 1
        series.sum_s += duration_s
        if duration_s < series.min_s:
            series.min_s = duration_s
        if duration_s > series.max_s:
            series.max_s = duration_s
        if context is not None and context.trace_flags.sampled:
            series.exemplars[bucket] = Exemplar(
                {}, duration_s, time.time_ns(), context.span_id, context.trace_id
            )

    def collect(self) -> Metric:
        """All series since the start, cumulative. May be called in another thread than record()."""
        now_unix_ns = time.time_ns()
        points = [self._point(values, one, now_unix_ns) for values, one in list(self._series.items())]
        data = Histogram(points, AggregationTemporality.CUMULATIVE)
        return Metric(self.name, self._description, "s", data)

    def _point(self, values: Values, series: _Series, now_unix_ns: int) -> HistogramDataPoint:
        counts = list(series.counts)
        exemplars, series.exemplars = series.exemplars, {}
        attributes = {key: value for key, value in zip(self._keys, values, strict=True) if value is not None}
        return HistogramDataPoint(
            attributes=attributes,
            start_time_unix_nano=self._start_unix_ns,
            time_unix_nano=now_unix_ns,
            count=sum(counts),
            sum=series.sum_s,
            bucket_counts=counts,
            explicit_bounds=BOUNDS_S,
            min=series.min_s,
            max=series.max_s,
            exemplars=list(exemplars.values()),
        )
