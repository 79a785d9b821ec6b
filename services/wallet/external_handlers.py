"""Calls to operators' own wallets that were not answered."""

from typing import Any

import grpc
from reelmesh.wallet.v1 import wallet_pb2, wallet_pb2_grpc
from sqlalchemy.ext.asyncio import AsyncEngine

Context = grpc.aio.ServicerContext[Any, Any]


class ExternalHandlers(wallet_pb2_grpc.WalletServiceServicer):
    """Calls to operators' own wallets that were not answered."""

    _engine: AsyncEngine

    async def ListStuckCalls(
        self, request: wallet_pb2.ListStuckCallsRequest, context: Context
    ) -> wallet_pb2.ListStuckCallsResponse:
        raise NotImplementedError

    async def ResolveStuckCall(
        self, request: wallet_pb2.ResolveStuckCallRequest, context: Context
    ) -> wallet_pb2.ResolveStuckCallResponse:
        raise NotImplementedError
