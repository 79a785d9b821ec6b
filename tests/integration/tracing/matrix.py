"""Every way a call ends, in every shape of call: a toy server and a caller that know nothing of tracing.

Plain grpc.aio and bytes, so that any instrumentation can be put around them.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

import grpc
from grpc import StatusCode

SERVICE = "toy.v1.Toy"
SHAPES = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
HIDDEN = "hidden outcome: 777"
NO_PROXY = [("grpc.enable_http_proxy", 0)]


class Case(NamedTuple):
    """What the server is asked to do, and the codes that caller and server end with."""

    ask: str
    client: StatusCode
    server: StatusCode


CASES = {
    "ok": Case("ok", StatusCode.OK, StatusCode.OK),
    "abort": Case("abort", StatusCode.NOT_FOUND, StatusCode.NOT_FOUND),
    "abort-with-status": Case("rich", StatusCode.INTERNAL, StatusCode.INTERNAL),
    "abort-swallowed": Case("swallow", StatusCode.ABORTED, StatusCode.ABORTED),
    "set-code": Case("set_code", StatusCode.OUT_OF_RANGE, StatusCode.OUT_OF_RANGE),
    "raise": Case("raise", StatusCode.UNKNOWN, StatusCode.UNKNOWN),
    "cancel": Case("hang", StatusCode.CANCELLED, StatusCode.CANCELLED),
    "deadline": Case("hang", StatusCode.DEADLINE_EXCEEDED, StatusCode.DEADLINE_EXCEEDED),
    "server-gone": Case("hang", StatusCode.UNAVAILABLE, StatusCode.CANCELLED),
    # Only where there is a stream to leave.
    "stream-break": Case("hang", StatusCode.CANCELLED, StatusCode.CANCELLED),
    "stream-break-flood": Case("flood", StatusCode.CANCELLED, StatusCode.CANCELLED),
}
BREAKS = ("stream-break", "stream-break-flood")


def cells() -> list[tuple[str, str]]:
    """Case and shape of the whole matrix."""
    return [
        (case, shape) for case in CASES for shape in SHAPES if case not in BREAKS or shape.endswith("_stream")
    ]


class _Status(NamedTuple):
    code: StatusCode
    details: str
    trailing_metadata: Any


class Toy(grpc.GenericRpcHandler):
    """Does what the first request says; `called` and `cancelled` are set when it was."""

    def __init__(self) -> None:
        self.called, self.cancelled = asyncio.Event(), asyncio.Event()
        self.metadata: list[tuple[str, Any]] = []

    def service(self, handler_call_details: Any) -> Any:
        handlers: dict[str, Any] = {
            "unary_unary": grpc.unary_unary_rpc_method_handler(self._unary),
            "unary_stream": grpc.unary_stream_rpc_method_handler(self._stream),
            "stream_unary": grpc.stream_unary_rpc_method_handler(self._stream_unary),
            "stream_stream": grpc.stream_stream_rpc_method_handler(self._stream_stream),
            "written": grpc.unary_stream_rpc_method_handler(self._write),
        }
        return handlers.get(handler_call_details.method.removeprefix(f"/{SERVICE}/"))

    async def _unary(self, request: bytes, context: Any) -> bytes:
        await self._act(request.decode(), context)
        return b"answer"

    async def _stream(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield b"first"
        while request == b"flood":
            yield b"more" * 1000
        await self._act(request.decode(), context)
        yield b"last"

    async def _stream_unary(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        asked = [request async for request in requests]
        return await self._unary(asked[0], context)

    async def _stream_stream(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        asked = [request async for request in requests]
        async for message in self._stream(asked[0], context):
            yield message

    async def _write(self, request: bytes, context: Any) -> None:
        """The other style of a stream of answers."""
        await context.write(b"first")
        await self._act(request.decode(), context)
        await context.write(b"last")

    async def _act(self, ask: str, context: Any) -> None:
        self.metadata = list(context.invocation_metadata())
        self.called.set()
        match ask:
            case "abort":
                await context.abort(StatusCode.NOT_FOUND, "no such thing")
            case "rich":
                await context.abort_with_status(_Status(StatusCode.INTERNAL, "rich", ()))
            case "swallow":
                try:
                    await context.abort(StatusCode.ABORTED, "swallowed")
                except grpc.aio.AbortError:
                    pass
            case "set_code":
                context.set_code(StatusCode.OUT_OF_RANGE)
            case "raise":
                raise ValueError(HIDDEN)
            case "hang":
                try:
                    await asyncio.Event().wait()
                finally:
                    self.cancelled.set()


class Stage:
    """A server with interceptors, and a channel to it."""

    def __init__(self, interceptors: Sequence[Any] = ()) -> None:
        self.toy = Toy()
        self.server = grpc.aio.server(interceptors=list(interceptors))
        self.server.add_generic_rpc_handlers((self.toy,))
        self.port = self.server.add_insecure_port("127.0.0.1:0")

    async def start(self) -> None:
        """Listens."""
        await self.server.start()


async def play(stage: Stage, channel: Any, case: str, shape: str) -> StatusCode:
    """One cell: the code that the caller is told. `channel`: the traced one."""
    ask = CASES[case].ask.encode()
    request: Any = _requests(ask) if shape.startswith("stream") else ask
    start = getattr(channel, shape)(f"/{SERVICE}/{shape}")
    timeout_s = 0.15 if case == "deadline" else 10.0

    async def call() -> None:
        if not shape.endswith("_stream"):
            await start(request, timeout=timeout_s)
            return
        async for message in start(request, timeout=timeout_s):
            if case in BREAKS:
                raise _Left
            assert message in (b"first", b"last")

    calling = asyncio.ensure_future(call())
    if case in ("cancel", "server-gone"):
        await asyncio.wait_for(stage.toy.called.wait(), 10)
        await _cut(stage, calling, case)
    return await _code(calling)


class _Left(Exception):
    """The caller leaves its stream by an exception of its own."""


async def _cut(stage: Stage, calling: asyncio.Future[None], case: str) -> None:
    if case == "cancel":
        calling.cancel()
    else:
        await stage.server.stop(0)


async def _code(calling: asyncio.Future[None]) -> StatusCode:
    try:
        await calling
    except grpc.aio.AioRpcError as error:
        return error.code()
    except (asyncio.CancelledError, _Left):
        return StatusCode.CANCELLED
    return StatusCode.OK


async def _requests(ask: bytes) -> AsyncIterator[bytes]:
    yield ask
    yield b"more"
