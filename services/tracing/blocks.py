"""A block of code as a span."""

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import Token
from types import TracebackType

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, SpanKind
from opentelemetry.util.types import AttributeValue

from services.tracing.spans import Dropped, Tracer, context_of

Fail = Callable[[Span, BaseException], None]


class Block(AbstractContextManager[Span]):
    """Makes a span the current one for a block, and ends it if the block is what it stands for.

    A class, for a generator's context manager costs five times as much, and most spans are not kept.
    """

    __slots__ = ("_ends", "_fail", "_span", "_token")
    _token: Token[Context]

    def __init__(self, span: Span, fail: Fail, *, ends: bool) -> None:
        self._span, self._fail, self._ends = span, fail, ends

    def __enter__(self) -> Span:
        self._token = contexts.attach(trace.set_span_in_context(self._span))
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        contexts.detach(self._token)
        if self._ends:
            if error is not None:
                self._fail(self._span, error)
            self._span.end()


def block(
    tracer: Tracer,
    name: str,
    fail: Fail,
    *,
    kind: SpanKind,
    parent: str,
    links: Sequence[Link] | None,
    attributes: Mapping[str, AttributeValue] | None,
) -> Block:
    """The block as a span: child of `parent` (a traceparent), else of the current span, else a root.

    Costs next to nothing in a trace that is not kept. `fail` marks the span of a block that raised. `links`
    that were given but are empty make an unkept root: something nobody looks at.
    """
    current = trace.get_current_span()
    context = context_of(parent) if parent else current.get_span_context()
    if not context.is_valid and links is not None and not links:
        ids = random.getrandbits(128) | 1, random.getrandbits(64) | 1
        context, parent = SpanContext(*ids, is_remote=False), ""
    if context.is_valid and not context.trace_flags.sampled:
        known = not parent and type(current) is Dropped and current.get_span_context() is context
        return Block(current if known else Dropped(context, parent), fail, ends=False)
    started = tracer.start(name, parent=context, kind=kind, attributes=attributes, links=links or ())
    return Block(started, fail, ends=type(started) is not Dropped)
