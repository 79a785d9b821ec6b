"""What game gives back and has open, and what operators decide: corrections, freezes, reviews."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from reelmesh.wallet.v1 import wallet_pb2, wallet_pb2_grpc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.common import db, fields, telemetry
from services.common.batching import Batcher
from services.wallet import freezes, ledger, messages, review_store, reviews, transfers
from services.wallet.external.rounds import ExternalRounds
from services.wallet.months import keeping
from services.wallet.months import store as months_store
from services.wallet.notes import note
from services.wallet.records import (
    External,
    FreezeOrder,
    Item,
    RollbackOrder,
    Settlement,
    Status,
    Step,
    Transfer,
    TransferOrder,
    Verdict,
)

Context = grpc.aio.ServicerContext[Any, Any]
Reverse = Callable[[AsyncConnection, RollbackOrder], Awaitable[Settlement]]


class OperatorHandlers(wallet_pb2_grpc.WalletServiceServicer):
    """What game gives back, and what operators decide: corrections, freezes, reviews."""

    _engine: AsyncEngine
    _batcher: Batcher[Item, Settlement | External]
    _external: ExternalRounds
    kept: keeping.Kept

    async def RollbackRound(
        self, request: wallet_pb2.RollbackRoundRequest, context: Context
    ) -> wallet_pb2.RollbackRoundResponse:
        settlement = await self._roll_back(messages.parse_rollback(request), ledger.reverse_round)
        return wallet_pb2.RollbackRoundResponse(settlement=messages.settlement(settlement))

    async def RollbackBet(
        self, request: wallet_pb2.RollbackBetRequest, context: Context
    ) -> wallet_pb2.RollbackBetResponse:
        settlement = await self._roll_back(messages.parse_rollback(request), ledger.reverse_bet)
        unchanged = wallet_pb2.UNCHANGED_UNSPECIFIED
        if settlement.status is Status.APPLIED:
            unchanged = wallet_pb2.UNCHANGED_ROUND_SETTLED
        return wallet_pb2.RollbackBetResponse(settlement=messages.settlement(settlement), unchanged=unchanged)

    async def ReportOpenRounds(
        self, request: wallet_pb2.ReportOpenRoundsRequest, context: Context
    ) -> wallet_pb2.ReportOpenRoundsResponse:
        round_id_low = fields.require_uuid_text(request.round_id_low, "round_id_low")
        async with db.transaction(self._engine, "wallet.report_open_rounds") as conn:
            kept = await months_store.raise_round_low(conn, round_id_low=round_id_low)
        return wallet_pb2.ReportOpenRoundsResponse(round_id_low=kept)

    async def Adjust(self, request: wallet_pb2.AdjustRequest, context: Context) -> wallet_pb2.AdjustResponse:
        stored = await self._transfer(messages.parse_adjustment(request))
        balance = messages.money(stored.currency_code, stored.current_balance_minor)
        return wallet_pb2.AdjustResponse(transfer=messages.transfer(stored), current_balance=balance)

    async def FreezeAccount(
        self, request: wallet_pb2.FreezeAccountRequest, context: Context
    ) -> wallet_pb2.FreezeAccountResponse:
        account = await self._freeze(messages.parse_freeze(request, frozen=True))
        return wallet_pb2.FreezeAccountResponse(account=account)

    async def UnfreezeAccount(
        self, request: wallet_pb2.UnfreezeAccountRequest, context: Context
    ) -> wallet_pb2.UnfreezeAccountResponse:
        account = await self._freeze(messages.parse_freeze(request, frozen=False))
        return wallet_pb2.UnfreezeAccountResponse(account=account)

    async def ListReviews(
        self, request: wallet_pb2.ListReviewsRequest, context: Context
    ) -> wallet_pb2.ListReviewsResponse:
        operator_id = fields.require_text(request.operator_id, "operator_id")
        query = f"reviews/{operator_id}"
        after = messages.parse_position(fields.decode_page_token(request.page_token, query))
        size = fields.require_page(request.page_size, default=50, size_max=200)
        async with db.transaction(self._engine, "wallet.list_reviews") as conn:
            found = await review_store.list_open_reviews(
                conn, operator_id=operator_id, after=after, rows_max=size + 1
            )
        response = wallet_pb2.ListReviewsResponse(reviews=[messages.review(r) for r in found[:size]])
        if len(found) > size:
            last = found[size - 1]
            response.next_page_token = fields.encode_page_token(
                query, last.create_time.isoformat(), last.round_id
            )
        return response

    async def ResolveReview(
        self, request: wallet_pb2.ResolveReviewRequest, context: Context
    ) -> wallet_pb2.ResolveReviewResponse:
        operator_id = fields.require_text(request.operator_id, "operator_id")
        round_id = fields.require_uuid_text(request.round_id, "round_id")
        verdict = Verdict(fields.require_enum(request.verdict, "verdict", wallet_pb2.ReviewVerdict))
        actor = fields.require_text(request.actor, "actor")
        reason = fields.require_text(request.reason, "reason", messages.REASON_LENGTH_MAX)
        async with db.transaction(self._engine, "wallet.resolve_review") as conn:
            settlement = await reviews.resolve(
                conn,
                operator_id=operator_id,
                round_id=round_id,
                verdict=verdict,
                actor=actor,
                reason=reason,
                traceparent=telemetry.traceparent(),
            )
        note(settlement)
        return wallet_pb2.ResolveReviewResponse(settlement=messages.settlement(settlement))

    async def _roll_back(self, order: RollbackOrder, reverse: Reverse) -> Settlement:
        self.kept.require(order.round_id)
        # An unknown round gets its tombstone first; after that the round is known, whoever was faster.
        item = Item(order.round_id, Step.VOID, order.account_id, traceparent=order.traceparent)
        settlement = await self._batcher.submit(item)
        if isinstance(settlement, External):
            settlement = await self._external.roll_back(order, settled_stays=reverse is ledger.reverse_bet)
        elif settlement.status is Status.APPLIED:
            async with db.transaction(self._engine, "wallet.reverse") as conn:
                settlement = await reverse(conn, order)
        note(settlement)
        return settlement

    async def _freeze(self, order: FreezeOrder) -> wallet_pb2.Account:
        async with db.transaction(self._engine, "wallet.freeze") as conn:
            account = await freezes.freeze(conn, order)
        message = messages.account(account)
        if account.external:
            # Only the operator's wallet knows it, and no freeze waits for an answer from there.
            message.ClearField("balance")
        return message

    async def _transfer(self, order: TransferOrder) -> Transfer:
        async with db.transaction(self._engine, "wallet.transfer") as conn:
            stored = await transfers.transfer(conn, order)
        # Only now, when it is committed: a refusal is stored like everything else.
        refusal = transfers.refusal_of(stored)
        if refusal is not None:
            raise refusal
        return stored
