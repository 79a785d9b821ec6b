"""A grpc.aio client's calls as spans and durations, unary and streaming.

A wrapper of the channel, not an interceptor: grpc.aio gives every intercepted call two more tasks, and it
is in them that a cancel gets lost. Here the call is gRPC's own, and a cancel reaches the server.
"""

import asyncio
from collections.abc import AsyncIterator, Generator, Iterable
from typing import Any, cast

import grpc
from grpc import StatusCode
from opentelemetry.trace import SpanKind

from services.tracing.calls import CLIENT_KEYS, Call, Method
from services.tracing.conventions import RPC_CLIENT_CALL_DURATION
from services.tracing.durations import Durations
from services.tracing.spans import Tracer


def client_durations() -> Durations:
    """The histogram that channels fill."""
    return Durations(RPC_CLIENT_CALL_DURATION, CLIENT_KEYS)


class TracingChannel:
    """A channel whose calls are traced, for a generated stub: `Stub(channel.for_stub())`."""

    def __init__(
        self, channel: grpc.aio.Channel, tracer: Tracer, durations: Durations, *, address: str, port: int
    ) -> None:
        """`address`, `port`: of the target that the channel was made with."""
        self._channel, self._tracer, self._durations = channel, tracer, durations
        self._peer = address, port

    def for_stub(self) -> grpc.aio.Channel:
        """The same as generated stubs take it: they use nothing but the four methods below."""
        return cast(grpc.aio.Channel, self)

    def unary_unary(self, path: str, *arguments: Any, **options: Any) -> "_UnaryMethod":
        """As the channel's."""
        return _UnaryMethod(self._channel.unary_unary(path, *arguments, **options), self._method(path))

    def stream_unary(self, path: str, *arguments: Any, **options: Any) -> "_UnaryMethod":
        """As the channel's."""
        return _UnaryMethod(self._channel.stream_unary(path, *arguments, **options), self._method(path))

    def unary_stream(self, path: str, *arguments: Any, **options: Any) -> "_StreamMethod":
        """As the channel's."""
        return _StreamMethod(self._channel.unary_stream(path, *arguments, **options), self._method(path))

    def stream_stream(self, path: str, *arguments: Any, **options: Any) -> "_StreamMethod":
        """As the channel's."""
        return _StreamMethod(self._channel.stream_stream(path, *arguments, **options), self._method(path))

    async def close(self, grace: float | None = None) -> None:
        """Closes the channel."""
        await self._channel.close(grace)

    def _method(self, path: str) -> Method:
        return Method(self._tracer, self._durations, path.removeprefix("/"), SpanKind.CLIENT, *self._peer)


class _Method:
    """One method of a stub."""

    def __init__(self, start: Any, method: Method) -> None:
        self._start, self._method = start, method

    def _open(self, request: Any, metadata: Iterable[Any] | None, options: Any) -> tuple[Call, Any]:
        call = Call(self._method)
        metadata = (("traceparent", call.span.traceparent), *(metadata or ()))
        try:
            return call, self._start(*request, metadata=metadata, **options)
        except BaseException:
            # A closed channel, or arguments that gRPC does not take: nothing was sent.
            call.end(StatusCode.INTERNAL)
            raise


class _UnaryMethod(_Method):
    def __call__(self, *request: Any, metadata: Iterable[Any] | None = None, **options: Any) -> "_UnaryCall":
        return _UnaryCall(*self._open(request, metadata, options))


class _StreamMethod(_Method):
    def __call__(self, *request: Any, metadata: Iterable[Any] | None = None, **options: Any) -> "_StreamCall":
        return _StreamCall(*self._open(request, metadata, options))


class _GrpcCall:
    """gRPC's call object, whose span ends with it, also when nobody waits for its end."""

    __slots__ = ("_call", "_grpc")

    def __init__(self, call: Call, grpc_call: Any) -> None:
        self._call, self._grpc = call, grpc_call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._grpc, name)

    def __del__(self) -> None:
        # A stream that was left in the middle: gRPC's object is part of a cycle and would live on.
        if not self._call.ended:
            self._call.end(_code_now(self._grpc))
            self._grpc.cancel()

    def cancel(self) -> bool:
        """Cancels the call here and at the server."""
        cancelled: bool = self._grpc.cancel()
        if cancelled:
            self._call.end(StatusCode.CANCELLED)
        return cancelled

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, grpc.aio.AioRpcError):
            self._call.end(error.code())
            return
        # grpc.aio forgets to, when a stream's reader is cancelled just after the request was written (seen).
        self._grpc.cancel()
        self._call.end(StatusCode.CANCELLED)


class _UnaryCall(_GrpcCall):
    __slots__ = ()

    def __await__(self) -> Generator[Any, None, Any]:
        try:
            response = yield from self._grpc.__await__()
        except BaseException as error:
            self._fail(error)
            raise
        self._call.end(StatusCode.OK)
        return response


class _StreamCall(_GrpcCall):
    __slots__ = ("_messages",)

    def __aiter__(self) -> AsyncIterator[Any]:
        self._messages = self._grpc.__aiter__()
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._messages.__anext__()
        except StopAsyncIteration:
            self._call.end(StatusCode.OK)
            raise
        except BaseException as error:
            self._fail(error)
            raise

    async def read(self) -> Any:
        """The next message, or grpc.aio.EOF."""
        try:
            message = await self._grpc.read()
        except BaseException as error:
            self._fail(error)
            raise
        if message is grpc.aio.EOF:
            self._call.end(StatusCode.OK)
        return message


def _code_now(grpc_call: Any) -> StatusCode:
    """The code of a call that has ended, though nobody asked for it; CANCELLED for one that has not."""
    if not grpc_call.done():
        return StatusCode.CANCELLED
    code = grpc_call.code()
    try:
        code.send(None)
    except StopIteration as answered:
        return cast(StatusCode, answered.value)
    except asyncio.CancelledError:
        return StatusCode.CANCELLED
    code.close()
    return StatusCode.UNKNOWN
