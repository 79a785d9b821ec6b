"""Calls to other services: a channel that refuses wrong messages, sets deadlines, says who calls, is traced.

Retries happen here and only here, by the service config: UNAVAILABLE, three attempts. An error that was
repeated is marked, so that the server which passes it on tells its own caller not to repeat it again.
"""

import asyncio
import json
import time
from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Any, TypeVar, cast

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.util.types import AttributeValue

from services.common import failpoints, identity, telemetry
from services.common import telemetry_names as names
from services.common.errors import DeadlineExceeded, DomainError, from_rpc_error

S = TypeVar("S")

# What stays for this hop to answer its own caller after the peer used up its time.
HOP_RESERVE_S = 0.05
TOKEN_TTL_S = 300.0
MESSAGE_SIZE_BYTES_MAX = 4 * 1024 * 1024
# grpc.aio tells nobody when a request was written; connecting included, this is ample on a loopback.
WRITTEN_AFTER_S = 0.1

_RETRY = {
    "maxAttempts": 3,
    "initialBackoff": "0.05s",
    "maxBackoff": "0.5s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
# No timeout in here: it fires up to a second early (grpc#40633).
SERVICE_CONFIG: dict[str, Any] = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
    "methodConfig": [{"name": [{}], "retryPolicy": _RETRY}],
}
_OPTIONS = [
    ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
    ("grpc.enable_http_proxy", 0),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.dns_min_time_between_resolutions_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.max_receive_message_length", MESSAGE_SIZE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_SIZE_BYTES_MAX),
]

_expire_s: ContextVar[float | None] = ContextVar("expire_s", default=None)


class own_deadline:
    """Calls made inside have `seconds` from now in all, whatever is left of the call being served.

    The server sets it around every handler. Work that no longer belongs to its caller sets its own, as a spin
    does after Play was sent (R6).
    """

    __slots__ = ("_expire_s", "_token")
    _token: Token[float | None]

    def __init__(self, seconds: float) -> None:
        self._expire_s = time.monotonic() + seconds

    def __enter__(self) -> None:
        self._token = _expire_s.set(self._expire_s)

    def __exit__(self, *_: object) -> None:
        _expire_s.reset(self._token)


class GuardedChannel:
    """A channel to one service, for its generated stub. One per target, made on the loop that uses it."""

    def __init__(
        self,
        target: str,
        *,
        caller: str,
        identity_key: str,
        instance: str = "",
        check_types: bool = True,
        forward_deadline: bool = True,
        retry: bool = True,
    ) -> None:
        """`target`: "dns:///host:port". `retry` is off for a caller that repeats by itself.

        The two before it are off only in the tests that show why they exist.
        """
        options = [*_OPTIONS, ("grpc.enable_retries", int(retry))]
        self._channel = grpc.aio.insecure_channel(target, options=options)
        self.caller, self.identity_key, self._instance = caller, identity_key, instance
        self.check_types, self.forward_deadline = check_types, forward_deadline
        host, _, port = target.removeprefix("dns:///").rpartition(":")
        self.attributes: dict[str, AttributeValue] = {
            names.RPC_SYSTEM_NAME: "grpc",
            names.SERVER_ADDRESS: host,
            names.SERVER_PORT: int(port),
        }
        self._token, self._token_renew_s = "", 0.0

    def stub(self, stub_type: Callable[[grpc.aio.Channel], S]) -> S:
        """The generated stub over this channel, e.g. `stub(wallet_pb2_grpc.WalletServiceStub)`."""
        # A stub takes nothing but its multi-callables from a channel, and the contract has unary ones only.
        return stub_type(cast(grpc.aio.Channel, self))

    def unary_unary(self, method: str, **options: Any) -> "GuardedCall":
        """What the generated stub asks for."""
        return GuardedCall(self, method, self._channel.unary_unary(method, **options))

    async def close(self) -> None:
        """Cuts calls in flight; drain first."""
        await self._channel.close()

    def token(self) -> str:
        """Our identity, renewed at half of its life."""
        if time.monotonic() >= self._token_renew_s:
            self._token = identity.sign(self.caller, self.identity_key, TOKEN_TTL_S, instance=self._instance)
            self._token_renew_s = time.monotonic() + TOKEN_TTL_S / 2
        return self._token


class GuardedCall:
    """One method of a stub: `await stub.Settle(request)`."""

    def __init__(self, channel: GuardedChannel, path: str, call: Any) -> None:
        self._channel, self._call = channel, call
        self._name, self._rpc = path.removeprefix("/"), path.rpartition("/")[2]
        method = descriptor_pool.Default().FindMethodByName(self._name.replace("/", "."))
        self._request_type = message_factory.GetMessageClass(method.input_type)
        self._deadline_s = identity.methods()[path].deadline_ms / 1000
        self._attributes: dict[str, AttributeValue] = {**channel.attributes, names.RPC_METHOD: self._name}

    async def __call__(
        self,
        request: Message,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - named by grpc
    ) -> Any:
        """The answer, within the method's deadline, `timeout` seconds, and what is left of our own deadline.

        Errors: TypeError for another message type, RemoteError as the peer answered, UNAVAILABLE,
        DEADLINE_EXCEEDED (also without sending, when no time is left). Cancelling cancels at the peer.
        """
        if self._channel.check_types and not isinstance(request, self._request_type):
            raise TypeError(f"{self._name} takes {self._request_type.__name__}, not {type(request).__name__}")
        with telemetry.span(self._name, kind=SpanKind.CLIENT, attributes=self._attributes) as span:
            code = grpc.StatusCode.CANCELLED
            try:
                response = await self._send(request, self._timeout_s(timeout))
                code = grpc.StatusCode.OK
                return response
            except grpc.aio.AioRpcError as failure:
                code, error = failure.code(), from_rpc_error(failure)
                error.repeated = code is grpc.StatusCode.UNAVAILABLE
                raise error from None
            except DomainError as error:
                code = error.code
                raise
            finally:
                span.set_attribute(names.RPC_RESPONSE_STATUS_CODE, code.name)
                if code is not grpc.StatusCode.OK:
                    span.set_attribute(names.ERROR_TYPE, code.name)
                    span.set_status(StatusCode.ERROR)

    def _timeout_s(self, timeout: float | None) -> float:
        limit_s = self._deadline_s if timeout is None else min(timeout, self._deadline_s)
        expire_s = _expire_s.get()
        if expire_s is not None and self._channel.forward_deadline:
            limit_s = min(limit_s, expire_s - time.monotonic() - HOP_RESERVE_S)
        if limit_s <= 0:
            raise DeadlineExceeded()
        return limit_s

    async def _send(self, request: Message, timeout_s: float) -> Any:
        metadata = [("traceparent", telemetry.traceparent()), (identity.METADATA_KEY, self._channel.token())]
        await failpoints.reach("before_send", self._rpc)
        call = self._call(request, timeout=timeout_s, metadata=metadata)
        if failpoints.due("after_send", self._rpc):
            await asyncio.sleep(WRITTEN_AFTER_S)
        await failpoints.reach("after_send", self._rpc)
        return await call
