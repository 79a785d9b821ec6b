"""One channel to one service: typed guard, deadline, retry, credentials and TLS around the generated stub."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, overload

import grpc
from reelmesh.client.credentials import Credentials, bearer, check_type, path_of
from reelmesh.client.errors import CallError
from reelmesh.client.streams import Dialogues, Feeds
from reelmesh.events.v1.events_pb2_grpc import EventServiceStub
from reelmesh.game.v1.game_pb2_grpc import GameServiceStub
from reelmesh.gateway.v1.gateway_pb2_grpc import GatewayServiceStub
from reelmesh.session.v1.session_pb2_grpc import SessionServiceStub
from reelmesh.wallet.v1.wallet_pb2_grpc import WalletServiceStub

if TYPE_CHECKING:
    from reelmesh.events.v1.events_pb2_grpc import EventServiceAsyncStub
    from reelmesh.game.v1.game_pb2_grpc import GameServiceAsyncStub
    from reelmesh.gateway.v1.gateway_pb2_grpc import GatewayServiceAsyncStub
    from reelmesh.session.v1.session_pb2_grpc import SessionServiceAsyncStub
    from reelmesh.wallet.v1.wallet_pb2_grpc import WalletServiceAsyncStub

_STUBS: dict[str, Callable[[grpc.aio.Channel], object]] = {
    "events": EventServiceStub,
    "game": GameServiceStub,
    "gateway": GatewayServiceStub,
    "session": SessionServiceStub,
    "wallet": WalletServiceStub,
}
__all__ = ["Options", "Tls", "bearer", "connect"]

# Every change is idempotent by its id, so what was not answered may be sent again; only a launch code works
# once, and is lost with its answer either way. No timeout in here: it fires too early (grpc#40633).
_RETRY: dict[str, Any] = {
    "maxAttempts": 3,
    "initialBackoff": "0.05s",
    "maxBackoff": "0.5s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
_PAUSES_S = (0.05, 0.1)
_SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
    "methodConfig": [{"name": [{}], "retryPolicy": _RETRY}],
}
_OPTIONS = [
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # All servers that are known may be replaced at once: asked again before the last attempt (gRPC: 30 s).
    ("grpc.dns_min_time_between_resolutions_ms", 50),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """TLS to the service; PEM files. Without `ca_file` the roots that gRPC brings are trusted.

    `certificate_file` with its `key_file` is who we are, where the service asks (mTLS).
    """

    ca_file: str | Path | None = None
    certificate_file: str | Path | None = None
    key_file: str | Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together")

    def _credentials(self) -> grpc.ChannelCredentials:
        ca, key, certificate = (
            None if file is None else Path(file).read_bytes()
            for file in (self.ca_file, self.key_file, self.certificate_file)
        )
        return grpc.ssl_channel_credentials(ca, key, certificate)


class Options(TypedDict, total=False):
    """What `connect` takes besides service and target."""

    credential: str
    """Of the gateway: an operator's API key or a player's session token, sent with every call."""
    signing_secret: str
    """Of an API key: every call is signed with it (docs/signing.md)."""
    identity: Callable[[], str]
    """Of the services behind it: gives our service token, asked for each call since tokens expire."""
    tls: Tls
    """Without it nothing is encrypted."""


@overload
def connect(
    service: Literal["events"], target: str, **options: Unpack[Options]
) -> AbstractAsyncContextManager["EventServiceAsyncStub"]: ...
@overload
def connect(
    service: Literal["game"], target: str, **options: Unpack[Options]
) -> AbstractAsyncContextManager["GameServiceAsyncStub"]: ...
@overload
def connect(
    service: Literal["gateway"], target: str, **options: Unpack[Options]
) -> AbstractAsyncContextManager["GatewayServiceAsyncStub"]: ...
@overload
def connect(
    service: Literal["session"], target: str, **options: Unpack[Options]
) -> AbstractAsyncContextManager["SessionServiceAsyncStub"]: ...
@overload
def connect(
    service: Literal["wallet"], target: str, **options: Unpack[Options]
) -> AbstractAsyncContextManager["WalletServiceAsyncStub"]: ...
def connect(service: str, target: str, **options: Unpack[Options]) -> AbstractAsyncContextManager[Any]:
    """The service's stub, for as long as the context lasts; `target`: "host:port" or any gRPC target.

    `await stub.Method(request)` is sent with the method's own deadline, or `timeout` seconds where the call
    says so, and up to three times while the service is UNAVAILABLE, all within that time.
    Errors of a call: TypeError for another type of message, CallError.
    Leaving the context cuts calls in flight.
    """
    if service not in _STUBS:
        raise ValueError(f"no service {service!r}; there are {', '.join(_STUBS)}")
    return _open(_STUBS[service], target, **options)


@asynccontextmanager
async def _open(
    stub_type: Callable[[grpc.aio.Channel], object],
    target: str,
    *,
    credential: str = "",
    signing_secret: str = "",
    identity: Callable[[], str] | None = None,
    tls: Tls | None = None,
) -> AsyncIterator[object]:
    credentials = Credentials(credential, signing_secret, identity)
    interceptors = [_Guard(credentials), Feeds(credentials), Dialogues(credentials)]
    # What the channel repeats is the same again, a signature that was used before included.
    options = [*_OPTIONS, ("grpc.enable_retries", 0)] if signing_secret else _OPTIONS
    if tls is None:
        channel = grpc.aio.insecure_channel(target, options=options, interceptors=interceptors)
    else:
        channel = grpc.aio.secure_channel(
            target, tls._credentials(), options=options, interceptors=interceptors
        )
    async with channel:
        yield stub_type(channel)


class _Guard(grpc.aio.UnaryUnaryClientInterceptor):
    """Around every call that has one answer; streams: streams.py."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[Any]],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        check_type(client_call_details.method, request)
        given_s = client_call_details.timeout
        deadline_ms = _deadlines_ms()[path_of(client_call_details.method)]
        end_s = time.monotonic() + (deadline_ms / 1000 if given_s is None else given_s)
        attempts = _RETRY["maxAttempts"] if self._credentials.signing_secret else 1
        for pause_s in (*_PAUSES_S[: attempts - 1], None):
            left_s = max(end_s - time.monotonic(), 0.0)
            call = await continuation(
                self._credentials.shown(client_call_details, request, timeout_s=left_s), request
            )
            try:
                await call
            except grpc.aio.AioRpcError as failure:
                if pause_s is None or not _may_repeat(failure) or time.monotonic() + pause_s >= end_s:
                    raise CallError.of(failure) from None
                await asyncio.sleep(pause_s)
            else:
                break
        return call


def _may_repeat(failure: grpc.aio.AioRpcError) -> bool:
    """As the channel does it: a service that is away, and does not say that it repeated already."""
    pushed_back = "grpc-retry-pushback-ms" in (failure.trailing_metadata() or {})
    return failure.code() is grpc.StatusCode.UNAVAILABLE and not pushed_back


@cache
def _deadlines_ms() -> dict[str, int]:
    """By gRPC path; put into the wheel from services/call_graph.yaml."""
    text = resources.files("reelmesh.client").joinpath("deadlines_ms.json").read_text()
    deadlines: dict[str, int] = json.loads(text)
    return deadlines
