"""A wallet that does what a test wants to see a client through: fails, is silent, notes what it was asked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import grpc
from reelmesh.wallet.v1 import wallet_pb2


class Asked(NamedTuple):
    """A request as it arrived; `left_s` is the time its caller gives, None for ever."""

    request: wallet_pb2.GetAccountRequest
    left_s: float | None
    metadata: dict[str, str]


class Peer:
    """`failures`: so many calls are answered UNAVAILABLE first; `silent`: the others not at all."""

    def __init__(self, *, failures: int = 0, silent: bool = False) -> None:
        self.failures, self.silent = failures, silent
        self.target = ""
        self.asked: list[Asked] = []
        self.was_asked, self.was_cancelled = asyncio.Event(), asyncio.Event()

    async def get_account(self, request: wallet_pb2.GetAccountRequest, context: Any) -> Any:
        """The account that was asked for, with nothing else in it."""
        metadata = {key: str(value) for key, value in context.invocation_metadata() or ()}
        self.asked.append(Asked(request, context.time_remaining(), metadata))
        self.was_asked.set()
        if len(self.asked) <= self.failures:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        if self.silent:
            try:
                await asyncio.Event().wait()
            finally:
                self.was_cancelled.set()
        return wallet_pb2.GetAccountResponse(account=wallet_pb2.Account(account_id=request.account_id))


@asynccontextmanager
async def serving(peer: Peer, credentials: grpc.ServerCredentials | None = None) -> AsyncIterator[Peer]:
    """The peer listens at `peer.target`, with TLS where credentials are given."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    handler = grpc.unary_unary_rpc_method_handler(
        peer.get_account,
        wallet_pb2.GetAccountRequest.FromString,
        wallet_pb2.GetAccountResponse.SerializeToString,
    )
    service = wallet_pb2.DESCRIPTOR.services_by_name["WalletService"].full_name
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {"GetAccount": handler})])
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    peer.target = f"127.0.0.1:{port}"
    await server.start()
    try:
        yield peer
    finally:
        await server.stop(None)
