"""What both sides of a gRPC call have in common: one call as a span and as one of a histogram."""

import time
from typing import Final

from grpc import StatusCode
from opentelemetry.trace import SpanContext, SpanKind
from opentelemetry.trace import StatusCode as SpanStatus
from opentelemetry.util.types import AttributeValue

from services.tracing import conventions as names
from services.tracing.durations import Durations
from services.tracing.spans import Dropped, Span, Tracer

GRPC: Final = "grpc"
# A method that the server does not have: whatever a caller wrote must not become a name.
OTHER: Final = "_OTHER"
# What is called too often, by too many machines, to be of interest.
EXCLUDED: Final = frozenset(
    {
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "grpc.channelz.v1.Channelz",
    }
)
# The codes by which a server failed; to it the others are answers. To a client all but OK are failures.
SERVER_FAULTS: Final = frozenset(
    {
        StatusCode.UNKNOWN,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.UNIMPLEMENTED,
        StatusCode.INTERNAL,
        StatusCode.UNAVAILABLE,
        StatusCode.DATA_LOSS,
    }
)
CLIENT_FAULTS: Final = frozenset(StatusCode) - {StatusCode.OK}
# The attributes that every series of a histogram has, in this order, and those of clients.
KEYS: Final = (names.RPC_SYSTEM_NAME, names.RPC_METHOD, names.RPC_RESPONSE_STATUS_CODE, names.ERROR_TYPE)
CLIENT_KEYS: Final = (*KEYS, names.SERVER_ADDRESS, names.SERVER_PORT)


class Method:
    """One method of one side: what all its calls share."""

    def __init__(
        self,
        tracer: Tracer,
        durations: Durations,
        name: str,
        kind: SpanKind,
        *peer: str | int,
        system: str = GRPC,
    ) -> None:
        """`name`: "package.Service/Method"; `peer`: a client's server address and port."""
        self.tracer, self.durations, self.name, self.kind = tracer, durations, name, kind
        self.faults = CLIENT_FAULTS if kind is SpanKind.CLIENT else SERVER_FAULTS
        self._peer, self._system = peer, system
        self.attributes: dict[str, AttributeValue] = {names.RPC_SYSTEM_NAME: system, names.RPC_METHOD: name}
        self.attributes |= dict(zip(CLIENT_KEYS[len(KEYS) :], peer, strict=False))
        # Made once per code, for they are the keys of a series.
        self.values = {code: self._values(code) for code in StatusCode}

    def _values(self, code: StatusCode) -> tuple[str | int | None, ...]:
        error = code.name if code in self.faults else None
        return (self._system, self.name, code.name, error, *self._peer)


class Call:
    """One call. It ends once, whoever finds out first how."""

    __slots__ = ("_method", "_started_s", "ended", "span")

    def __init__(self, method: Method, parent: str = "") -> None:
        """`parent`: a traceparent; empty: the current span."""
        self._method, self.ended = method, False
        self.span: Span | Dropped = method.tracer.start_under(
            parent, method.name, kind=method.kind, attributes=method.attributes
        )
        self._started_s = time.perf_counter()

    def end(self, code: StatusCode) -> None:
        """Ends it with the code that its caller is told."""
        if self.ended:
            return
        self.ended = True
        duration_s = time.perf_counter() - self._started_s
        span, method = self.span, self._method
        context: SpanContext | None = None
        if type(span) is Span:
            context = span.context
            span.attributes[names.RPC_RESPONSE_STATUS_CODE] = code.name
            if code in method.faults:
                span.attributes[names.ERROR_TYPE] = code.name
                span.set_status(SpanStatus.ERROR)
            span.end()
        method.durations.record(method.values[code], duration_s, context)
