"""The gRPC server of a service: one interceptor around every RPC, reflection, an admin port, a clean drain.

Handlers take a request and return a response or raise DomainError; they never abort and never read metadata.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, TypeAlias

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

logger = logging.getLogger(__name__)

TRACE_ID_KEY = "x-trace-id"
# A message from outside; between services a batch of 200 items needs more.
PUBLIC_MESSAGE_SIZE_BYTES_MAX = 256 * 1024
CONCURRENT_RPCS_MAX = 10_000

# The codes by which a server failed; the others are answers (OpenTelemetry RPC conventions).
FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handle: TypeAlias = Callable[[Any, Context], Awaitable[Any]]

_caller: ContextVar[identity.Caller] = ContextVar("caller")


def current_caller() -> identity.Caller:
    """Who calls, verified; of service identity.PUBLIC in a public method."""
    return _caller.get()


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Span, deadline, identity, errors of every unary RPC. Reflection, the only stream, passes untouched."""

    def __init__(
        self,
        identity_key: str,
        *,
        check_identity: bool = True,
        translate_errors: bool = True,
        pass_aborts: bool = True,
    ) -> None:
        """The last three are off only in the tests that show why they exist."""
        self.identity_key, self.check_identity = identity_key, check_identity
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
        if handler is None or handler.unary_unary is None:
            return handler

        public = path in identity.methods() and identity.PUBLIC in identity.methods()[path].callers
        size_bytes_max = PUBLIC_MESSAGE_SIZE_BYTES_MAX if public else MESSAGE_SIZE_BYTES_MAX

        async def handle(body: bytes, context: Context) -> Any:
            # Above the transport's limit gRPC refuses by itself, without a reason; ours is therefore lower.
            if len(body) > size_bytes_max:
                raise BodyTooLarge(size_bytes_max=size_bytes_max)
            # Not by gRPC, which would tell the caller the text of the exception (docs/traps.md, 6).
            try:
                request = handler.request_deserializer(body)
            except DecodeError:
                raise BodyMalformed(problem="not the message that this method takes") from None
            return await handler.unary_unary(request, context)

        async def answer(body: bytes, context: Context) -> Any:
            return await self._answer(path, handle, body, context)

        self._handlers[path] = grpc.unary_unary_rpc_method_handler(answer, None, handler.response_serializer)
        return self._handlers[path]

    async def _answer(self, path: str, handle: Handle, request: Any, context: Context) -> Any:
        started_s = time.monotonic()
        method = path.removeprefix("/")
        metadata: dict[str, Any] = dict(context.invocation_metadata() or ())
        if failpoints.armed():
            context.add_done_callback(lambda _: self._reach_after_reply(path))  # type: ignore[arg-type]
        attributes = {names.RPC_SYSTEM_NAME: "grpc", names.RPC_METHOD: method}
        parent = metadata.get("traceparent", "")
        with telemetry.span(method, kind=trace.SpanKind.SERVER, parent=parent, attributes=attributes) as span:
            trailing: list[tuple[str, str | bytes]] = [(TRACE_ID_KEY, telemetry.trace_id())]
            context.set_trailing_metadata(tuple(trailing))
            failure: BaseException | None = None
            code, response = "OK", None
            try:
                response = await self._run(path, handle, request, context, metadata)
            except BaseException as exception:
                code, failure = self._judge(method, exception, context)
            _set_status(span, code, failure)
        telemetry.record_call(method, code, time.monotonic() - started_s)
        if failure is None:
            return response
        if not isinstance(failure, DomainError) or not self.translate_errors:
            raise failure
        trailing.append((STATUS_DETAILS_KEY, to_status(failure).SerializeToString()))
        if failure.repeated:
            trailing.append(("grpc-retry-pushback-ms", "-1"))
        await context.abort(failure.code, failure.message, tuple(trailing))

    async def _run(self, path: str, handle: Handle, request: Any, context: Context, metadata: Any) -> Any:
        """The handler, with its caller's identity, and the method's or the caller's deadline if shorter."""
        # Every RPC runs in a task of its own, so the variable ends with it.
        if self.check_identity:
            token = metadata.get(identity.METADATA_KEY, "")
            _caller.set(identity.authorize(path, token, self.identity_key))
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

    def _judge(self, method: str, exception: BaseException, context: Context) -> tuple[str, BaseException]:
        """The status code's name, and what to raise or answer."""
        if isinstance(exception, asyncio.CancelledError):
            left_s = context.time_remaining()
            return ("DEADLINE_EXCEEDED" if left_s is not None and left_s <= 0 else "CANCELLED"), exception
        aborted = self.pass_aborts and isinstance(exception, grpc.aio.AbortError)
        if aborted or not self.translate_errors or not isinstance(exception, Exception):
            return "UNKNOWN", exception
        error = db.translate(exception)
        if isinstance(error, Internal) and error is not exception:
            logger.error("%s failed", method, exc_info=exception)
        elif error is not exception:
            # Its text may name hosts and roles; the type is enough to know where to look.
            logger.warning("%s: database not available (%s)", method, type(exception).__name__)
        return error.code.name, error

    def _reach_after_reply(self, path: str) -> None:
        task = asyncio.ensure_future(failpoints.reach("after_reply", path.rpartition("/")[2]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _set_status(span: trace.Span, code: str, failure: BaseException | None) -> None:
    span.set_attribute(names.RPC_RESPONSE_STATUS_CODE, code)
    if isinstance(failure, DomainError):
        span.set_attribute(names.ERROR_REASON, failure.reason)
    if code in FAULTS:
        span.set_attribute(names.ERROR_TYPE, code)
        span.set_status(trace.StatusCode.ERROR)


class Server:
    """Two listeners: the service's RPCs with reflection, and health on the admin port."""

    def __init__(self, service: str, interceptor: CallInterceptor, health: Health) -> None:
        """Two listeners that do not listen yet."""
        listed = identity.call_graph()[service]
        options = [
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", MESSAGE_SIZE_BYTES_MAX),
            ("grpc.max_connection_age_ms", 120_000),
            ("grpc.max_connection_age_grace_ms", 30_000),
            ("grpc.http2.min_ping_interval_without_data_ms", 30_000),
        ]
        self.health = health
        self.rpc = grpc.aio.server(
            interceptors=[interceptor], options=options, maximum_concurrent_rpcs=CONCURRENT_RPCS_MAX
        )
        self.admin = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        health_pb2_grpc.add_HealthServicer_to_server(health, self.admin)  # type: ignore[no-untyped-call]
        listing = [listed.grpc_service, reflection.SERVICE_NAME]
        reflection.enable_server_reflection(listing, self.rpc)  # type: ignore[no-untyped-call]

    async def start(self, *, host: str, grpc_port: int, admin_port: int) -> tuple[int, int]:
        """Listens; returns both ports (0 asks for free ones). Errors: OSError when a port is taken."""
        ports = []
        for server, port in ((self.rpc, grpc_port), (self.admin, admin_port)):
            try:
                ports.append(server.add_insecure_port(f"{host}:{port}"))
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
