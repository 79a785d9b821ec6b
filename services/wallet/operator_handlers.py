"""What operators decide: corrections, freezes, reviews."""

from typing import Any

import grpc
from reelmesh.wallet.v1 import wallet_pb2, wallet_pb2_grpc
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db
from services.wallet import freezes, messages, transfers
from services.wallet.records import Account, FreezeOrder, Transfer, TransferOrder

Context = grpc.aio.ServicerContext[Any, Any]


class OperatorHandlers(wallet_pb2_grpc.WalletServiceServicer):
    """What operators decide: corrections, freezes, reviews."""

    _engine: AsyncEngine

    async def RollbackBet(
        self, request: wallet_pb2.RollbackBetRequest, context: Context
    ) -> wallet_pb2.RollbackBetResponse:
        raise NotImplementedError

    async def Adjust(self, request: wallet_pb2.AdjustRequest, context: Context) -> wallet_pb2.AdjustResponse:
        stored = await self._transfer(messages.parse_adjustment(request))
        balance = messages.money(stored.currency_code, stored.current_balance_minor)
        return wallet_pb2.AdjustResponse(transfer=messages.transfer(stored), current_balance=balance)

    async def FreezeAccount(
        self, request: wallet_pb2.FreezeAccountRequest, context: Context
    ) -> wallet_pb2.FreezeAccountResponse:
        account = await self._freeze(messages.parse_freeze(request, frozen=True))
        return wallet_pb2.FreezeAccountResponse(account=messages.account(account))

    async def UnfreezeAccount(
        self, request: wallet_pb2.UnfreezeAccountRequest, context: Context
    ) -> wallet_pb2.UnfreezeAccountResponse:
        account = await self._freeze(messages.parse_freeze(request, frozen=False))
        return wallet_pb2.UnfreezeAccountResponse(account=messages.account(account))

    async def ListReviews(
        self, request: wallet_pb2.ListReviewsRequest, context: Context
    ) -> wallet_pb2.ListReviewsResponse:
        raise NotImplementedError

    async def ResolveReview(
        self, request: wallet_pb2.ResolveReviewRequest, context: Context
    ) -> wallet_pb2.ResolveReviewResponse:
        raise NotImplementedError

    async def _freeze(self, order: FreezeOrder) -> Account:
        async with db.transaction(self._engine, "wallet.freeze") as conn:
            return await freezes.freeze(conn, order)

    async def _transfer(self, order: TransferOrder) -> Transfer:
        async with db.transaction(self._engine, "wallet.transfer") as conn:
            stored = await transfers.transfer(conn, order)
        # Only now, when it is committed: a refusal is stored like everything else.
        refusal = transfers.refusal_of(stored)
        if refusal is not None:
            raise refusal
        return stored
