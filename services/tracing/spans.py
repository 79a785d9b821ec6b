"""Spans as OpenTelemetry's API knows them, without what its SDK costs for each (ADR 11).

A finished span looks to the SDK's processors as its own do: queue, retries and transport are theirs. Events
and exceptions are not recorded: their texts may show what nobody may see yet (R2).
"""

import random
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from opentelemetry import trace
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import AttributeValue

_TRACEPARENT = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
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

    @property
    def traceparent(self) -> str:
        """As W3C writes it."""
        return traceparent_of(self.context)

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
        keep: bool = False,
    ) -> Span | Dropped:
        """A span that follows its parent; a root with links follows its links, another the ratio.

        So the batch that served a kept item is kept. `keep`: whatever was decided about its trace.
        """
        trace_id = parent.trace_id if parent.is_valid else random.getrandbits(128) or 1
        if keep:
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

    def start_under(
        self, parent: str, name: str, *, kind: SpanKind, attributes: Mapping[str, AttributeValue]
    ) -> Span | Dropped:
        """A span under a traceparent, else under the current span, else a root."""
        current = trace.get_current_span()
        context = context_of(parent) if parent else current.get_span_context()
        if context.is_valid and not context.trace_flags.sampled:
            return current if not parent and type(current) is Dropped else Dropped(context, parent)
        return self.start(name, parent=context, kind=kind, attributes=attributes)

    def shutdown(self) -> None:
        """Sends what is buffered; blocks."""
        if self._processor is not None:
            self._processor.shutdown()


def traceparent_of(context: SpanContext) -> str:
    """W3C's traceparent; empty for an invalid context."""
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def context_of(traceparent: str) -> SpanContext:
    """What a W3C traceparent names; the invalid context when it is malformed."""
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None:
        return trace.INVALID_SPAN_CONTEXT
    return SpanContext(int(found[1], 16), int(found[2], 16), True, TraceFlags(int(found[3], 16)))


def traceparent() -> str:
    """The current span as a W3C traceparent; empty outside of any."""
    span = trace.get_current_span()
    # Spans are of an abstract class, for which isinstance is a search.
    return span.traceparent if type(span) is Dropped else traceparent_of(span.get_span_context())
