"""A service with one handler that a test gives it, behind our server and seen through our client."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
from reelmesh.gateway.v1 import gateway_pb2_grpc
from reelmesh.wallet.v1 import wallet_pb2, wallet_pb2_grpc

from services.common.client import GuardedChannel
from services.common.health import Health
from services.common.server import CallInterceptor, Server
from services.mtls.certificates import Certificates

KEY = "a-key-for-tests-only"
# Longer than any test.
CONNECTION_AGE_MS = 600_000
GET_ACCOUNT = "/reelmesh.wallet.v1.WalletService/GetAccount"

Handle = Callable[[Any, Any], Awaitable[Any]]


class Toy:
    """GetAccount, Settle and FundPlayer answer by `handle`; `requests` holds what arrived."""

    def __init__(self, handle: Handle) -> None:
        self.handle = handle
        self.requests: list[Any] = []

    async def GetAccount(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        return await self.handle(request, context)

    Settle = FundPlayer = GetAccount


class ToyWallet(Toy, wallet_pb2_grpc.WalletServiceServicer):
    """As a wallet."""


class ToyGateway(Toy, gateway_pb2_grpc.GatewayServiceServicer):
    """As a gateway."""


class Mesh:
    """Servers and channels of one test, closed at its end."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def serve(
        self,
        handle: Handle,
        *,
        service: str = "wallet",
        certificates: Certificates | None = None,
        **guards: bool,
    ) -> tuple[Toy, str]:
        """A listening server, with certificates over mutual TLS; the toy and its target."""
        interceptor = CallInterceptor(KEY, mtls=certificates is not None, **guards)
        server = Server(service, interceptor, Health(_ready), connection_age_ms=CONNECTION_AGE_MS)
        if certificates is not None:
            server.credentials = certificates.server_credentials(require_client=True)
        toy: Any
        # The other methods are not called.
        if service == "wallet":
            toy = ToyWallet(handle)  # type: ignore[abstract]
            wallet_pb2_grpc.add_WalletServiceServicer_to_server(toy, server.rpc)
        else:
            toy = ToyGateway(handle)  # type: ignore[abstract]
            gateway_pb2_grpc.add_GatewayServiceServicer_to_server(toy, server.rpc)
        port, _ = await server.start(host="127.0.0.1", grpc_port=0, admin_port=0)
        self._stack.push_async_callback(server.close, grace_s=0.05)
        self._stack.push_async_callback(server.drain, wait_s=0, grace_s=0.05)
        return toy, f"dns:///127.0.0.1:{port}"

    def channel(
        self, target: str, *, caller: str = "gateway", key: str = KEY, **options: Any
    ) -> GuardedChannel:
        """Our channel."""
        channel = GuardedChannel(target, caller=caller, identity_key=key, **options)
        self._stack.push_async_callback(channel.close)
        return channel

    def wallet(self, target: str, **options: Any) -> "wallet_pb2_grpc.WalletServiceAsyncStub":
        """The wallet's stub over our channel."""
        return self.channel(target, **options).stub(wallet_pb2_grpc.WalletServiceStub)

    def raw_channel(self, target: str, *options: tuple[str, Any]) -> grpc.aio.Channel:
        """What grpc.aio gives to those who do not know."""
        channel = grpc.aio.insecure_channel(target, options=options)
        self._stack.push_async_callback(channel.close)
        return channel


async def ok(request: Any, context: Any) -> wallet_pb2.GetAccountResponse:
    """Answers at once."""
    return wallet_pb2.GetAccountResponse()


async def _ready() -> bool:
    return True


@asynccontextmanager
async def open_mesh() -> AsyncIterator[Mesh]:
    """A mesh for the block."""
    async with AsyncExitStack() as stack:
        yield Mesh(stack)
