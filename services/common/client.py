"""Calls to other services: a channel that refuses wrong messages, sets deadlines, says who calls, is traced.

Retries happen here and only here, by the service config: UNAVAILABLE, three attempts. An error that was
repeated is marked, so that the server which passes it on tells its own caller not to repeat it again.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar, Token
from typing import Any, TypeVar, cast

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message

from services.common import failpoints, identity, telemetry
from services.common.errors import DeadlineExceeded, from_rpc_error
from services.mtls.channel import Mtls
from services.tracing.client import TracingChannel

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
    # A roll may end all the replicas that are known: names are asked again before the last attempt of a call.
    ("grpc.dns_min_time_between_resolutions_ms", 50),
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
        identity_key: str = "",
        instance: str = "",
        mtls: Mtls | None = None,
        check_types: bool = True,
        forward_deadline: bool = True,
        retry: bool = True,
    ) -> None:
        """`target`: "dns:///host:port". `mtls`: our certificate says who calls; else a token does, signed
        with the key. `retry` is off for a caller that repeats by itself.

        The two before it are off only in the tests that show why they exist.
        """
        options = [*_OPTIONS, ("grpc.enable_retries", int(retry))]
        host, _, port = target.rpartition("/")[2].rpartition(":")
        self._channel = TracingChannel(
            mtls.channel(target, options) if mtls else grpc.aio.insecure_channel(target, options=options),
            telemetry.tracer,
            telemetry.client_calls,
            address=host,
            port=int(port),
        )
        self.caller, self.identity_key, self._instance = caller, identity_key, instance
        self.check_types, self.forward_deadline = check_types, forward_deadline
        self._token, self._token_renew_s = "", 0.0
        # To show a token to whoever needs none would only give it away.
        self._own = ((identity.INSTANCE_KEY, instance),) if mtls else None

    def stub(self, stub_type: Callable[[grpc.aio.Channel], S]) -> S:
        """The generated stub over this channel, e.g. `stub(wallet_pb2_grpc.WalletServiceStub)`."""
        # A stub takes nothing but its multi-callables from a channel, and the contract has two sorts only.
        return stub_type(cast(grpc.aio.Channel, self))

    def unary_unary(self, method: str, **options: Any) -> "GuardedCall":
        """What the generated stub asks for."""
        return GuardedCall(self, method, self._channel.unary_unary(method, **options))

    def unary_stream(self, method: str, **options: Any) -> "GuardedStream":
        """The same for a method that answers a stream."""
        return GuardedStream(self, method, self._channel.unary_stream(method, **options))

    async def close(self) -> None:
        """Cuts calls in flight; drain first."""
        await self._channel.close()

    def who(self) -> tuple[tuple[str, str], ...]:
        """Metadata that says which process we are, and without mTLS which service."""
        return self._own or ((identity.METADATA_KEY, self.token()),)

    def token(self) -> str:
        """Our identity, renewed at half of its life."""
        if time.monotonic() >= self._token_renew_s:
            self._token = identity.sign(self.caller, self.identity_key, TOKEN_TTL_S, instance=self._instance)
            self._token_renew_s = time.monotonic() + TOKEN_TTL_S / 2
        return self._token


class _Guarded:
    """What a stub's methods have in common."""

    def __init__(self, channel: GuardedChannel, path: str, call: Any) -> None:
        self._channel, self._call = channel, call
        self._name, self._rpc = path.removeprefix("/"), path.rpartition("/")[2]
        method = descriptor_pool.Default().FindMethodByName(self._name.replace("/", "."))
        self._request_type = message_factory.GetMessageClass(method.input_type)
        self._deadline_s = identity.methods()[path].deadline_ms / 1000

    def _check(self, request: Message) -> None:
        if self._channel.check_types and not isinstance(request, self._request_type):
            raise TypeError(f"{self._name} takes {self._request_type.__name__}, not {type(request).__name__}")


class GuardedStream(_Guarded):
    """A method of a stub that answers a stream: `async for message in stub.Subscribe(request)`."""

    async def __call__(self, request: Message) -> AsyncIterator[Any]:
        """The messages, for as long as the peer sends any. Errors: as GuardedCall's, also in the middle."""
        self._check(request)
        try:
            async for message in self._call(request, metadata=self._channel.who()):
                yield message
        except grpc.aio.AioRpcError as failure:
            raise from_rpc_error(failure) from None


class GuardedCall(_Guarded):
    """One method of a stub: `await stub.Settle(request)`."""

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
        self._check(request)
        try:
            return await self._send(request, self._timeout_s(timeout))
        except grpc.aio.AioRpcError as failure:
            error = from_rpc_error(failure)
            error.repeated = failure.code() is grpc.StatusCode.UNAVAILABLE
            raise error from None

    def _timeout_s(self, timeout: float | None) -> float:
        limit_s = self._deadline_s if timeout is None else min(timeout, self._deadline_s)
        expire_s = _expire_s.get()
        if expire_s is not None and self._channel.forward_deadline:
            limit_s = min(limit_s, expire_s - time.monotonic() - HOP_RESERVE_S)
        if limit_s <= 0:
            raise DeadlineExceeded()
        return limit_s

    async def _send(self, request: Message, timeout_s: float) -> Any:
        await failpoints.reach("before_send", self._rpc)
        call = self._call(request, timeout=timeout_s, metadata=self._channel.who())
        if failpoints.due("after_send", self._rpc):
            await asyncio.sleep(WRITTEN_AFTER_S)
        await failpoints.reach("after_send", self._rpc)
        return await call
