"""A grpc.aio server's calls as spans and durations, unary and streaming.

The final code is the context's: whoever set it (abort, abort_with_status, set_code), and whether or not the
handler let the exception through.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeAlias

import grpc
from grpc import StatusCode
from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from services.tracing.calls import EXCLUDED, KEYS, OTHER, Call, Method
from services.tracing.conventions import RPC_SERVER_CALL_DURATION
from services.tracing.durations import Durations
from services.tracing.spans import Tracer

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

# A caller's deadline and its own news of it arrive at the server in either order.
_CLOCKS_S = 0.01
_MAKERS: dict[tuple[bool, bool], Callable[..., Any]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


def server_durations() -> Durations:
    """The histogram that an interceptor fills."""
    return Durations(RPC_SERVER_CALL_DURATION, KEYS)


class TracingInterceptor(grpc.aio.ServerInterceptor):
    """The outermost interceptor: a span around each call, current in its handler, and its duration.

    Handlers that are coroutine functions or asynchronous generators; others pass untraced.
    """

    def __init__(self, tracer: Tracer, durations: Durations, *, excluded: frozenset[str] = EXCLUDED) -> None:
        """`excluded`: full names of services that leave neither span nor duration."""
        self._tracer, self._durations, self._excluded = tracer, durations, excluded
        self._unknown = Method(tracer, durations, OTHER, SpanKind.SERVER)
        # By path: the handler as it came, and the same traced.
        self._handlers: dict[str, tuple[Any, Any]] = {}

    async def intercept_service(
        self, continuation: Any, handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """The method's handler, traced."""
        path = handler_call_details.method
        handler = await continuation(handler_call_details)
        known = self._handlers.get(path)
        if known is not None and known[0] is handler:
            return known[1]
        service, _, _ = path.removeprefix("/").rpartition("/")
        if service in self._excluded:
            return handler
        if handler is None:
            Call(self._unknown, _traceparent(handler_call_details.invocation_metadata)).end(
                StatusCode.UNIMPLEMENTED
            )
            return None
        traced = _traced(handler, Method(self._tracer, self._durations, path[1:], SpanKind.SERVER))
        self._handlers[path] = handler, traced
        return traced


def _traced(handler: Any, method: Method) -> Any:
    streams = handler.request_streaming, handler.response_streaming
    kinds = {(False, False): "unary_unary", (False, True): "unary_stream", (True, False): "stream_unary"}
    behaviour = getattr(handler, kinds.get(streams, "stream_stream"))
    if inspect.isasyncgenfunction(behaviour):
        traced: Any = _stream(behaviour, method)
    elif inspect.iscoroutinefunction(behaviour):
        traced = _unary(behaviour, method)
    else:
        return handler
    return _MAKERS[streams](traced, handler.request_deserializer, handler.response_serializer)


def _unary(behaviour: Callable[..., Any], method: Method) -> Any:
    """Also for a stream of answers that its handler writes to the context."""

    async def answer(request: Any, context: Context) -> Any:
        call = _start(method, context)
        try:
            response = await behaviour(request, context)
        except BaseException as error:
            call.end(_code_of(error, context))
            raise
        call.end(context.code() or StatusCode.OK)
        return response

    return answer


def _stream(behaviour: Callable[..., Any], method: Method) -> Any:
    async def answer(request: Any, context: Context) -> AsyncIterator[Any]:
        call = _start(method, context)
        # A caller that leaves while a message waits to be written leaves this generator where it is; the
        # event loop then closes it.
        try:
            async for message in behaviour(request, context):
                yield message
        except BaseException as error:
            call.end(_code_of(error, context))
            raise
        call.end(context.code() or StatusCode.OK)

    return answer


def _start(method: Method, context: Context) -> Call:
    call = Call(method, _traceparent(context.invocation_metadata()))
    # Every RPC has a task of its own, and the variable ends with it: nothing to detach in another context.
    contexts.attach(trace.set_span_in_context(call.span))
    return call


def _code_of(error: BaseException, context: Context) -> StatusCode:
    code = context.code()
    if code is not None and code is not StatusCode.OK:
        return code
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        left_s = context.time_remaining()
        late = left_s is not None and left_s <= _CLOCKS_S
        return StatusCode.DEADLINE_EXCEEDED if late else StatusCode.CANCELLED
    return StatusCode.UNKNOWN


def _traceparent(metadata: Any) -> str:
    for key, value in metadata or ():
        if key == "traceparent":
            return str(value)
    return ""
