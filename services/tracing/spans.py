"""Spans as OpenTelemetry's API knows them, without what its SDK costs for each (ADR 11).

A finished span looks to the SDK's processors as its own do: queue, retries and transport are theirs. Events
and exceptions are not recorded: their texts may show what nobody may see yet (R2).
"""

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from opentelemetry import trace
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import AttributeValue

# The attribute that has a span kept whatever the sampler said of its trace; its value says why.
KEEP: Final = "reelmesh.keep"

_SAMPLED, _DROPPED = TraceFlags(TraceFlags.SAMPLED), TraceFlags(TraceFlags.DEFAULT)


class Processor(Protocol):
    """Takes finished spans; the SDK's processors do."""

    def on_end(self, span: Any) -> None: ...
    def shutdown(self) -> None: ...


class Dropped(NonRecordingSpan):
    """A span that is not kept. Its traceparent goes with every hop, so it is written once."""

    def __init__(self, context: SpanContext, traceparent: str = "") -> None:
        super().__init__(context)
        self.traceparent = traceparent or traceparent_of(context)


class Span(trace.Span):
    """A span that is kept; its fields are those of the SDK's ReadableSpan."""

    def __init__(
        self,
        processor: Processor,
        name: str,
        *,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        attributes: Mapping[str, AttributeValue] | None,
        links: Sequence[Link],
    ) -> None:
        self._processor = processor
        self.name, self.context, self.parent, self.kind = name, context, parent, kind
        self.attributes: dict[str, AttributeValue] = dict(attributes) if attributes else {}
        self.links = list(links)
        self.status = Status(StatusCode.UNSET)
        self.start_time = time.time_ns()
        self.end_time: int | None = None

    def get_span_context(self) -> SpanContext:
        return self.context

    def is_recording(self) -> bool:
        return self.end_time is None

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        self.attributes[key] = value

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        self.attributes.update(attributes)

    def add_link(self, context: SpanContext, attributes: Any = None) -> None:
        self.links.append(Link(context))

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        self.status = status if isinstance(status, Status) else Status(status)

    def update_name(self, name: str) -> None:
        self.name = name

    def add_event(self, name: str, attributes: Any = None, timestamp: int | None = None) -> None:
        """Not recorded."""

    def record_exception(
        self,
        exception: BaseException,
        attributes: Any = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Not recorded."""

    def end(self, end_time: int | None = None) -> None:
        if self.end_time is None:
            self.end_time = end_time or time.time_ns()
            self._processor.on_end(self)


class Tracer:
    """Starts spans. Without a processor nothing is kept, but ids and a caller's decision are handed on."""

    def __init__(self, ratio: float, processor: Processor | None) -> None:
        """`ratio`: share of new traces that are kept, 0..1."""
        self._bound = round(ratio * 2**64)
        self._processor = processor

    def start(
        self,
        name: str,
        *,
        parent: SpanContext = trace.INVALID_SPAN_CONTEXT,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, AttributeValue] | None = None,
        links: Sequence[Link] = (),
    ) -> Span | Dropped:
        """A span that follows its parent; a root with links follows its links, another the ratio.

        So the batch that served a kept item is kept. A span with the KEEP attribute always is.
        """
        trace_id = parent.trace_id if parent.is_valid else random.getrandbits(128) or 1
        if attributes is not None and KEEP in attributes:
            sampled = True
        elif parent.is_valid:
            sampled = parent.trace_flags.sampled
        elif links:
            sampled = any(link.context.trace_flags.sampled for link in links)
        else:
            sampled = (trace_id & (2**64 - 1)) < self._bound
        flags = _SAMPLED if sampled else _DROPPED
        context = SpanContext(trace_id, random.getrandbits(64) or 1, is_remote=False, trace_flags=flags)
        if not sampled or self._processor is None:
            return Dropped(context)
        return Span(
            self._processor,
            name,
            context=context,
            parent=parent if parent.is_valid else None,
            kind=kind,
            attributes=attributes,
            links=links,
        )

    def shutdown(self) -> None:
        """Sends what is buffered; blocks."""
        if self._processor is not None:
            self._processor.shutdown()


def traceparent_of(context: SpanContext) -> str:
    """W3C's traceparent; empty for an invalid context."""
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
