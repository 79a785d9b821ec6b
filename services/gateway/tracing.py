"""Calls that come over no RPC of their own, a stream's or a WebSocket's, as spans and durations."""

import logging
from contextvars import Token
from functools import cache

from grpc import StatusCode
from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from services.common import db, identity, telemetry
from services.common import telemetry_names as names
from services.common.errors import DomainError, Internal
from services.gateway.operations import Operation
from services.tracing.calls import GRPC, Call, Method

log = logging.getLogger(__name__)


class traced:
    """A block as a call of the operation. A class: a generator's context manager costs more than the span."""

    __slots__ = ("_call", "_code", "_token")
    _token: Token[Context]

    def __init__(self, operation: Operation, *, system: str = GRPC, parent: str = "") -> None:
        """`parent`: a traceparent; empty: the current span, else a root."""
        self._call = Call(_method(operation.name, system, telemetry.tracer), parent)
        self._code = StatusCode.OK

    def refused(self, refusal: DomainError) -> None:
        """It ends with this."""
        self._call.span.set_attribute(names.ERROR_REASON, refusal.reason)
        self._code = refusal.code

    def __enter__(self) -> "traced":
        self._token = contexts.attach(trace.set_span_in_context(self._call.span))
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        contexts.detach(self._token)
        if isinstance(error, Exception):
            self.refused(db.translate(error))
        elif error is not None:
            self._code = StatusCode.CANCELLED
        self._call.end(self._code)


def told(error: Exception) -> DomainError:
    """What a caller is told; the unexpected is logged here, once, and never shown."""
    refusal = db.translate(error)
    if isinstance(refusal, Internal) and refusal is not error:
        log.error("a request failed", exc_info=error)
    return refusal


@cache
def _method(name: str, system: str, tracer: object) -> Method:
    full_name = f"{identity.call_graph()['gateway'].grpc_service}/{name}"
    return Method(telemetry.tracer, telemetry.server_calls, full_name, SpanKind.SERVER, system=system)
