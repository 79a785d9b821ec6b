"""What a database says now and then, shown as gauges: one read per interval, none per call.

Every process reads its own database, so a rule takes the highest of the replicas' answers.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.common import db

log = logging.getLogger(__name__)


def export_interval_s() -> float:
    """How often metrics leave the process, by the SDK's variable and default; what is in between nobody sees.

    What is no interval is the default, as the SDK has it.
    """
    try:
        interval_ms = float(os.environ.get("OTEL_METRIC_EXPORT_INTERVAL", ""))
    except ValueError:
        interval_ms = 0
    return interval_ms / 1000 if interval_ms > 0 else 60.0


INTERVAL_S = export_interval_s()


class Reading(NamedTuple):
    """One value of one metric."""

    name: str
    value: float
    attributes: Mapping[str, str] = {}


class Watch:
    """Keeps the last readings of one kind; `run` until told to stop."""

    def __init__(
        self,
        engine: AsyncEngine,
        read: Callable[[AsyncConnection], Awaitable[Sequence[Reading]]],
        *,
        gauges: Mapping[str, str],
        counters: Mapping[str, str] | None = None,
        interval_s: float = INTERVAL_S,
    ) -> None:
        """`gauges`, `counters`: the metrics that `read` may return, with their units."""
        self._engine, self._read, self._interval_s = engine, read, interval_s
        self._gauges, self._counters = gauges, counters or {}
        self._readings: Sequence[Reading] = ()

    async def run(self, stop: asyncio.Event) -> None:
        """Reads per interval. What cannot be read is not shown: an old value would look like a good one.

        Nor is a table that is not there looked for more often: it will not come within a second.
        """
        while not stop.is_set():
            try:
                await self.read()
            except Exception as error:
                self._readings = ()
                if db.is_connection_error(error):
                    log.warning("watch waits: database not available")
                else:
                    log.exception("watch failed")
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._interval_s)

    async def read(self) -> Sequence[Reading]:
        """Reads once. Errors: as the database raises."""
        async with self._engine.connect() as conn:
            self._readings = await self._read(conn)
        return self._readings

    def observe_with(self, meter: Meter) -> None:
        """Registers the metrics, which the exporter reads when it wants to."""
        for name, unit in self._gauges.items():
            meter.create_observable_gauge(name, [self._callback(name)], unit=unit)
        for name, unit in self._counters.items():
            meter.create_observable_counter(name, [self._callback(name)], unit=unit)

    def _callback(self, name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(options: CallbackOptions) -> Iterable[Observation]:
            return [Observation(one.value, one.attributes) for one in self._readings if one.name == name]

        return observe
