"""Spans kept in memory."""

from collections.abc import Callable, Iterator

import pytest

from services.common import telemetry
from services.tracing.spans import Span, Tracer
from tests.spans import Kept

Trace = Callable[[float], Callable[[], dict[str, Span]]]


@pytest.fixture
def trace_with(monkeypatch: pytest.MonkeyPatch) -> Iterator[Trace]:
    """`trace_with(ratio)` traces this process; what it returns gives the finished spans by name."""

    def start(ratio: float) -> Callable[[], dict[str, Span]]:
        kept = Kept()
        monkeypatch.setattr(telemetry, "tracer", Tracer(ratio, kept))
        return lambda: {span.name: span for span in kept.finished}

    yield start
