"""The gRPC server of a service: one interceptor around every RPC, reflection, an admin port, a clean drain.

Handlers take a request and return a response or raise DomainError; they never abort and never read metadata.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import Any, NoReturn, TypeAlias, cast

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from opentelemetry import trace

from services.common import db, failpoints, identity, telemetry
from services.common import telemetry_names as names
from services.common.client import MESSAGE_SIZE_BYTES_MAX, own_deadline
from services.common.errors import (
    STATUS_DETAILS_KEY,
    BodyMalformed,
    BodyTooLarge,
    DeadlineExceeded,
    DomainError,
    Internal,
    to_status,
)
from services.common.health import Health
from services.tracing.server import TracingInterceptor

logger = logging.getLogger(__name__)

TRACE_ID_KEY = "x-trace-id"
# A message from outside; between services a batch of 200 items needs more.
PUBLIC_MESSAGE_SIZE_BYTES_MAX = 256 * 1024
CONCURRENT_RPCS_MAX = 10_000
# What a stream that gets as old as a connection has left for its last words, before the connection is cut.
LAST_WORDS_MS = 30_000

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handle: TypeAlias = Callable[[Any, Context], Awaitable[Any]]

_caller: ContextVar[identity.Caller] = ContextVar("caller")
_body: ContextVar[bytes] = ContextVar("body")


def current_caller() -> identity.Caller:
    """Who calls, verified; of service identity.PUBLIC in a public method."""
    return _caller.get()


def current_body() -> bytes:
    """The request as it was received. Errors: LookupError in a method that takes a stream of them."""
    return _body.get()


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Deadline, identity, errors of every RPC. Reflection, which is none of ours, passes untouched.

    A stream of answers has no deadline but its caller's. Its handler ends it with UNAVAILABLE when it gets as
    old as a connection may: the connection is cut later, also that of a stream that began on an old one.
    """

    def __init__(
        self,
        identity_key: str,
        *,
        mtls: bool = False,
        check_identity: bool = True,
        translate_errors: bool = True,
        pass_aborts: bool = True,
    ) -> None:
        """`mtls`: the certificate alone says who calls; else a token signed with the key does.

        The last three are off only in the tests that show why they exist.
        """
        self.identity_key, self.mtls, self.check_identity = identity_key, mtls, check_identity
        self.translate_errors, self.pass_aborts = translate_errors, pass_aborts
        self._handlers: dict[str, Any] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def intercept_service(
        self, continuation: Any, handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """The method's handler with this interceptor around it, made once per method."""
        path = handler_call_details.method
        if path in self._handlers:
            return self._handlers[path]
        handler = await continuation(handler_call_details)
        if handler is None or (handler.request_streaming and path not in identity.methods()):
            return handler

        public = path in identity.methods() and identity.PUBLIC in identity.methods()[path].callers
        size_bytes_max = PUBLIC_MESSAGE_SIZE_BYTES_MAX if public else MESSAGE_SIZE_BYTES_MAX

        def parse(body: bytes) -> Any:
            _body.set(body)
            # Above the transport's limit gRPC refuses by itself, without a reason; ours is therefore lower.
            if len(body) > size_bytes_max:
                raise BodyTooLarge(size_bytes_max=size_bytes_max)
            # Not by gRPC, which would tell the caller the text of the exception (docs/traps.md, 6).
            try:
                return handler.request_deserializer(body)
            except DecodeError:
                raise BodyMalformed(problem="not the message that this method takes") from None

        async def handle(body: bytes, context: Context) -> Any:
            return await handler.unary_unary(parse(body), context)

        async def answer(body: bytes, context: Context) -> Any:
            return await self._answer(path, handle, body, context)

        async def answers(body: bytes, context: Context) -> AsyncIterator[Any]:
            async for message in handler.unary_stream(parse(body), context):
                yield message

        async def conversation(bodies: AsyncIterator[bytes], context: Context) -> AsyncIterator[Any]:
            async for message in handler.stream_stream((parse(body) async for body in bodies), context):
                yield message

        async def stream(sent: Any, context: Context) -> AsyncIterator[Any]:
            trailing = _trailing(context)
            try:
                self._identify(path, context)
                async for message in (conversation if handler.request_streaming else answers)(sent, context):
                    yield message
                return
            except Exception as exception:
                failure = self._translate(path, exception)
            await _abort(context, failure, trailing)

        make, serve = grpc.unary_unary_rpc_method_handler, cast("Any", answer)
        if handler.response_streaming:
            make, serve = grpc.unary_stream_rpc_method_handler, stream
        if handler.request_streaming:
            make = grpc.stream_stream_rpc_method_handler
        self._handlers[path] = make(serve, None, handler.response_serializer)
        return self._handlers[path]

    async def _answer(self, path: str, handle: Handle, request: Any, context: Context) -> Any:
        if failpoints.armed():
            context.add_done_callback(lambda _: self._reach_after_reply(path))  # type: ignore[arg-type]
        trailing = _trailing(context)
        try:
            return await self._run(path, handle, request, context)
        except Exception as exception:
            failure = self._translate(path, exception)
        await _abort(context, failure, trailing)

    async def _run(self, path: str, handle: Handle, request: Any, context: Context) -> Any:
        """The handler, with its caller's identity, and the method's or the caller's deadline if shorter."""
        self._identify(path, context)
        limit_s, left_s = identity.methods()[path].deadline_ms / 1000, context.time_remaining()
        limit_s = limit_s if left_s is None else min(limit_s, left_s)
        try:
            async with asyncio.timeout(limit_s) as scope:
                with own_deadline(limit_s):
                    return await handle(request, context)
        except TimeoutError:
            if scope.expired():
                raise DeadlineExceeded() from None
            raise

    def _identify(self, path: str, context: Context) -> None:
        # Every RPC runs in a task of its own, so the variable ends with it.
        if self.check_identity:
            metadata: dict[str, Any] = dict(context.invocation_metadata() or ())

            def identify() -> identity.Caller:
                if self.mtls:
                    return identity.shown(context.auth_context(), metadata.get(identity.INSTANCE_KEY, ""))
                return identity.verify(metadata.get(identity.METADATA_KEY, ""), self.identity_key)

            _caller.set(identity.authorize(path, identify))

    def _translate(self, path: str, exception: Exception) -> DomainError:
        """What the caller is told. Errors: the exception itself where it is none of ours to tell."""
        aborted = self.pass_aborts and isinstance(exception, grpc.aio.AbortError)
        if aborted or not self.translate_errors:
            raise exception
        error = db.translate(exception)
        if isinstance(error, Internal) and error is not exception:
            logger.error("%s failed", path.removeprefix("/"), exc_info=exception)
        elif error is not exception:
            # Its text may name hosts and roles; the type is enough to know where to look.
            logger.warning(
                "%s: database not available (%s)", path.removeprefix("/"), type(exception).__name__
            )
        return error

    def _reach_after_reply(self, path: str) -> None:
        task = asyncio.ensure_future(failpoints.reach("after_reply", path.rpartition("/")[2]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _trailing(context: Context) -> list[tuple[str, str | bytes]]:
    """What every answer ends with, whatever becomes of it."""
    trailing: list[tuple[str, str | bytes]] = [(TRACE_ID_KEY, telemetry.trace_id())]
    context.set_trailing_metadata(tuple(trailing))
    return trailing


async def _abort(context: Context, failure: DomainError, trailing: list[tuple[str, str | bytes]]) -> NoReturn:
    trace.get_current_span().set_attribute(names.ERROR_REASON, failure.reason)
    trailing.append((STATUS_DETAILS_KEY, to_status(failure).SerializeToString()))
    if failure.repeated:
        trailing.append(("grpc-retry-pushback-ms", "-1"))
    await context.abort(failure.code, failure.message, tuple(trailing))


class Server:
    """Two listeners: the service's RPCs, and the plaintext admin port with health; reflection is on both."""

    def __init__(
        self,
        service: str,
        interceptor: CallInterceptor,
        health: Health,
        *,
        connection_age_ms: int,
    ) -> None:
        """Two listeners that do not listen yet."""
        listed = identity.call_graph()[service]
        options = [
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", MESSAGE_SIZE_BYTES_MAX),
            ("grpc.max_connection_age_ms", connection_age_ms),
            ("grpc.max_connection_age_grace_ms", connection_age_ms + LAST_WORDS_MS),
            ("grpc.http2.min_ping_interval_without_data_ms", 30_000),
        ]
        # None: plaintext.
        self.credentials: grpc.ServerCredentials | None = None
        self.health = health
        tracing = TracingInterceptor(telemetry.tracer, telemetry.server_calls)
        self.rpc = grpc.aio.server(
            interceptors=[tracing, interceptor], options=options, maximum_concurrent_rpcs=CONCURRENT_RPCS_MAX
        )
        self.admin = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        health_pb2_grpc.add_HealthServicer_to_server(health, self.admin)  # type: ignore[no-untyped-call]
        listing = [listed.grpc_service, reflection.SERVICE_NAME]
        # On the admin port too: the other one may ask for a certificate.
        for server in (self.rpc, self.admin):
            reflection.enable_server_reflection(listing, server)  # type: ignore[no-untyped-call]

    async def start(self, *, host: str, grpc_port: int, admin_port: int) -> tuple[int, int]:
        """Listens; returns both ports (0 asks for free ones). Errors: OSError when a port is taken."""
        ports = []
        for server, port in ((self.rpc, grpc_port), (self.admin, admin_port)):
            address = f"{host}:{port}"
            try:
                if server is self.rpc and self.credentials is not None:
                    ports.append(server.add_secure_port(address, self.credentials))
                else:
                    ports.append(server.add_insecure_port(address))
            except RuntimeError:
                raise OSError(f"cannot listen on {host}:{port}; is the port taken?") from None
        await self.admin.start()
        await self.rpc.start()
        return ports[0], ports[1]

    async def drain(self, *, wait_s: float, grace_s: float) -> None:
        """Not ready; `wait_s` for callers to look away; calls in flight get `grace_s` to finish."""
        self.health.drain()
        await asyncio.sleep(wait_s)
        await self.rpc.stop(grace_s)

    async def close(self, *, grace_s: float = 1.0) -> None:
        """Ends the admin port, last: liveness is answered until then."""
        await self.admin.stop(grace_s)
