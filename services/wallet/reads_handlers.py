"""What operators read: balances, statements, totals."""

from typing import Any

import grpc
from reelmesh.wallet.v1 import wallet_pb2, wallet_pb2_grpc
from sqlalchemy.ext.asyncio import AsyncEngine

Context = grpc.aio.ServicerContext[Any, Any]


class ReadsHandlers(wallet_pb2_grpc.WalletServiceServicer):
    """What operators read: balances, statements, totals."""

    _engine: AsyncEngine

    async def GetAccountBalance(
        self, request: wallet_pb2.GetAccountBalanceRequest, context: Context
    ) -> wallet_pb2.GetAccountBalanceResponse:
        raise NotImplementedError

    async def ListTransactions(
        self, request: wallet_pb2.ListTransactionsRequest, context: Context
    ) -> wallet_pb2.ListTransactionsResponse:
        raise NotImplementedError

    async def GetTransactions(
        self, request: wallet_pb2.GetTransactionsRequest, context: Context
    ) -> wallet_pb2.GetTransactionsResponse:
        raise NotImplementedError

    async def GetDailyTotals(
        self, request: wallet_pb2.GetDailyTotalsRequest, context: Context
    ) -> wallet_pb2.GetDailyTotalsResponse:
        raise NotImplementedError
