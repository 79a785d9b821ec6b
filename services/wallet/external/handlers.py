"""Calls to operators' own wallets that were not answered: listed, forced, stopped, settled by hand."""

import re
import uuid
from typing import Any

import grpc
from reelmesh.wallet.v1 import wallet_pb2, wallet_pb2_grpc
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db, fields
from services.common.errors import PageTokenInvalid
from services.common.times import timestamp
from services.wallet import messages
from services.wallet.external import stuck
from services.wallet.external.rounds import ExternalRounds
from services.wallet.external.store import CallAction
from services.wallet.records import Call, CallState, CallStep

Context = grpc.aio.ServicerContext[Any, Any]

PAGE_SIZE, PAGE_SIZE_MAX = 50, 200
_ATTEMPTS = re.compile("[0-9]{1,9}")


class ExternalHandlers(wallet_pb2_grpc.WalletServiceServicer):
    """Calls to operators' own wallets that were not answered."""

    _engine: AsyncEngine
    _external: ExternalRounds

    async def ListStuckCalls(
        self, request: wallet_pb2.ListStuckCallsRequest, context: Context
    ) -> wallet_pb2.ListStuckCallsResponse:
        operator_id = fields.require_text(request.operator_id, "operator_id")
        size = fields.require_page(request.page_size, default=PAGE_SIZE, size_max=PAGE_SIZE_MAX)
        query = f"stuck/{operator_id}"
        after = _position(fields.decode_page_token(request.page_token, query))
        async with self._engine.connect() as conn:
            calls = await stuck.list_stuck(conn, operator_id=operator_id, after=after, rows_max=size + 1)
        page, more = calls[:size], len(calls) > size
        response = wallet_pb2.ListStuckCallsResponse(calls=[_message(call) for call in page])
        if more:
            last = page[-1]
            response.next_page_token = fields.encode_page_token(
                query, last.attempts, last.round_id, int(last.step)
            )
        return response

    async def ResolveStuckCall(
        self, request: wallet_pb2.ResolveStuckCallRequest, context: Context
    ) -> wallet_pb2.ResolveStuckCallResponse:
        operator_id = fields.require_text(request.operator_id, "operator_id")
        round_id = str(fields.require_uuid(request.round_id, "round_id"))
        step = CallStep(fields.require_enum(request.step, "step", wallet_pb2.ExternalStep))
        action = CallAction(fields.require_enum(request.action, "action", wallet_pb2.StuckAction))
        actor = fields.require_text(request.actor, "actor")
        reason = fields.require_text(request.reason, "reason", 1000)
        async with db.transaction(self._engine, "wallet.resolve_stuck") as conn:
            call = await stuck.resolve(
                conn,
                operator_id=operator_id,
                round_id=round_id,
                step=step,
                action=action,
                actor=actor,
                reason=reason,
            )
        if action is CallAction.FORCE and call.state is CallState.SENT:
            await self._external.deliver(call)
            async with self._engine.connect() as conn:
                call = await stuck.get_call(conn, operator_id=operator_id, round_id=round_id, step=step)
        return wallet_pb2.ResolveStuckCallResponse(call=_message(call))


def _position(parts: tuple[str, ...]) -> tuple[int, str, int] | None:
    if not parts:
        return None
    try:
        attempts, round_id, step = parts
        # Up to what PostgreSQL takes for one.
        if not _ATTEMPTS.fullmatch(attempts):
            raise ValueError
        return int(attempts), str(uuid.UUID(round_id)), CallStep(int(step))
    except ValueError:
        raise PageTokenInvalid() from None


def _message(call: Call) -> wallet_pb2.StuckCall:
    message = wallet_pb2.StuckCall(
        round_id=call.round_id,
        step=wallet_pb2.ExternalStep.ValueType(call.step),
        account_id=call.account_id,
        amount=messages.money(call.currency_code, call.amount_minor),
        attempts=call.attempts,
        last_error=call.last_error,
        create_time=timestamp(call.create_time),
        stopped=call.state is CallState.STOPPED,
        settled_by_hand=call.state is CallState.DONE and call.balance_after_minor is None,
    )
    if call.state is CallState.SENT and call.step is not CallStep.STAKE:
        message.next_time.CopyFrom(timestamp(call.next_time))
    return message
