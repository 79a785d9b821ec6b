"""One channel to one service: typed guard, deadline, retry, credentials and TLS around the generated stub."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, overload

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message
from reelmesh.client.errors import CallError
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
_AUTHORIZATION_KEY, _IDENTITY_KEY = "authorization", "x-reelmesh-identity"

# Every change is idempotent by its id, so what was not answered may be sent again; only a launch code works
# once, and is lost with its answer either way. No timeout in here: it fires too early (grpc#40633).
_RETRY = {
    "maxAttempts": 3,
    "initialBackoff": "0.05s",
    "maxBackoff": "0.5s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
_SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
    "methodConfig": [{"name": [{}], "retryPolicy": _RETRY}],
}
_OPTIONS = [
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
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
    identity: Callable[[], str]
    """Of the services behind it: gives our service token, asked for each call since tokens expire."""
    tls: Tls
    """Without it nothing is encrypted."""


def bearer(credential: str) -> tuple[tuple[str, str], ...]:
    """Another API key or session token for one call: `stub.Spin(request, metadata=bearer(token))`."""
    return ((_AUTHORIZATION_KEY, f"Bearer {credential}"),)


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
    identity: Callable[[], str] | None = None,
    tls: Tls | None = None,
) -> AsyncIterator[object]:
    interceptors = [_Guard(credential, identity)]
    if tls is None:
        channel = grpc.aio.insecure_channel(target, options=_OPTIONS, interceptors=interceptors)
    else:
        channel = grpc.aio.secure_channel(
            target, tls._credentials(), options=_OPTIONS, interceptors=interceptors
        )
    async with channel:
        yield stub_type(channel)


class _Guard(grpc.aio.UnaryUnaryClientInterceptor):
    """Around every call; the contract has unary ones only."""

    def __init__(self, credential: str, identity: Callable[[], str] | None) -> None:
        self._credential, self._identity = credential, identity

    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[Any]],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        path: str | bytes = client_call_details.method
        path = path.decode() if isinstance(path, bytes) else path
        # grpc.aio itself sends an empty message when it is given a dict or None, and the answer looks fine.
        if not isinstance(request, _request_type(path)):
            raise TypeError(f"{path} takes {_request_type(path).__name__}, not {type(request).__name__}")
        timeout_s = client_call_details.timeout
        details = grpc.aio.ClientCallDetails(
            client_call_details.method,
            _deadlines_ms()[path] / 1000 if timeout_s is None else timeout_s,
            self._metadata(client_call_details.metadata),
            client_call_details.credentials,
            client_call_details.wait_for_ready,
        )
        call = await continuation(details, request)
        try:
            await call
        except grpc.aio.AioRpcError as failure:
            raise CallError(
                failure.code(),
                failure.initial_metadata(),
                failure.trailing_metadata(),
                failure.details(),
                failure.debug_error_string(),
            ) from None
        return call

    def _metadata(self, given: grpc.aio.Metadata | None) -> grpc.aio.Metadata:
        """What the call itself gives stands before what the connection has."""
        metadata = grpc.aio.Metadata(*(given or ()))
        if self._credential and _AUTHORIZATION_KEY not in metadata.keys():
            metadata.add(*bearer(self._credential)[0])
        if self._identity is not None and _IDENTITY_KEY not in metadata.keys():
            metadata.add(_IDENTITY_KEY, self._identity())
        return metadata


@cache
def _request_type(path: str) -> type[Message]:
    method = descriptor_pool.Default().FindMethodByName(path.removeprefix("/").replace("/", "."))
    return message_factory.GetMessageClass(method.input_type)


@cache
def _deadlines_ms() -> dict[str, int]:
    """By gRPC path; put into the wheel from services/call_graph.yaml."""
    text = resources.files("reelmesh.client").joinpath("deadlines_ms.json").read_text()
    deadlines: dict[str, int] = json.loads(text)
    return deadlines
