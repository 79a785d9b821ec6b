"""Our tracing around the matrix's toy, every span kept."""

from collections.abc import AsyncIterator, Callable

import grpc
import pytest
from opentelemetry.sdk.metrics.export import HistogramDataPoint

from services.tracing.client import TracingChannel, client_durations
from services.tracing.durations import Durations
from services.tracing.server import TracingInterceptor, server_durations
from services.tracing.spans import Span, Tracer
from tests.integration.tracing.matrix import NO_PROXY, Stage
from tests.spans import Kept
from tests.waiting import until


class Traced:
    """The toy behind our interceptor, seen through our channel."""

    def __init__(self, ratio: float = 1) -> None:
        self.kept = Kept()
        self.tracer = Tracer(ratio, self.kept)
        self.served, self.called = server_durations(), client_durations()
        self.stage = Stage([TracingInterceptor(self.tracer, self.served)])
        raw = grpc.aio.insecure_channel(f"127.0.0.1:{self.stage.port}", options=NO_PROXY)
        self.channel = TracingChannel(
            raw, self.tracer, self.called, address="127.0.0.1", port=self.stage.port
        )

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits for what another task is about to do."""
        await until(condition, seconds_max=10)

    async def spans(self, count: int = 2) -> list[Span]:
        """The finished spans, the client's first; no more than `count` of them."""
        await self.until(lambda: len(self.kept.finished) >= count)
        assert len(self.kept.finished) == count
        return sorted(self.kept.finished, key=lambda span: span.kind.name)

    async def close(self) -> None:
        """Ends both."""
        await self.channel.close()
        await self.stage.server.stop(0)


def points(durations: Durations) -> list[HistogramDataPoint]:
    """What would be exported of a histogram now."""
    return list(durations.collect().data.data_points)  # type: ignore[arg-type]


@pytest.fixture
async def traced() -> AsyncIterator[Traced]:
    """The toy, listening."""
    traced = Traced()
    await traced.stage.start()
    yield traced
    await traced.close()
