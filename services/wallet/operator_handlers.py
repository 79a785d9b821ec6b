"""What operators decide: corrections, freezes, reviews."""

from typing import Any

import grpc
from reelmesh.wallet.v1 import wallet_pb2, wallet_pb2_grpc
from sqlalchemy.ext.asyncio import AsyncEngine

Context = grpc.aio.ServicerContext[Any, Any]


class OperatorHandlers(wallet_pb2_grpc.WalletServiceServicer):
    """What operators decide: corrections, freezes, reviews."""

    _engine: AsyncEngine

    async def RollbackBet(
        self, request: wallet_pb2.RollbackBetRequest, context: Context
    ) -> wallet_pb2.RollbackBetResponse:
        raise NotImplementedError

    async def Adjust(self, request: wallet_pb2.AdjustRequest, context: Context) -> wallet_pb2.AdjustResponse:
        raise NotImplementedError

    async def FreezeAccount(
        self, request: wallet_pb2.FreezeAccountRequest, context: Context
    ) -> wallet_pb2.FreezeAccountResponse:
        raise NotImplementedError

    async def UnfreezeAccount(
        self, request: wallet_pb2.UnfreezeAccountRequest, context: Context
    ) -> wallet_pb2.UnfreezeAccountResponse:
        raise NotImplementedError

    async def ListReviews(
        self, request: wallet_pb2.ListReviewsRequest, context: Context
    ) -> wallet_pb2.ListReviewsResponse:
        raise NotImplementedError

    async def ResolveReview(
        self, request: wallet_pb2.ResolveReviewRequest, context: Context
    ) -> wallet_pb2.ResolveReviewResponse:
        raise NotImplementedError
