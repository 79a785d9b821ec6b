"""What an operator's back office asks of wallet, game and events: carried there and back, field by field.

Whose it is the API key has told: operator_id is set here and comes from no field, and an account is found by
the operator's own names for it.
"""

import copy
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from functools import cache
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message
from reelmesh.events.v1 import events_pb2
from reelmesh.gateway.v1 import operator_pb2
from reelmesh.type.v1 import account_kind_pb2
from reelmesh.wallet.v1 import wallet_pb2

from services.common import fields, identity, telemetry
from services.gateway import operations
from services.gateway.operators.operators import Operators
from services.gateway.store import Operator
from services.gateway.stubs import Stubs

# By operation: the service that does it, and the RPC where that has another name.
_CARRIED = {
    "ListTransactions": ("wallet", ""),
    "GetTransactions": ("wallet", ""),
    "GetDailyTotals": ("wallet", ""),
    "FreezeAccount": ("wallet", ""),
    "UnfreezeAccount": ("wallet", ""),
    "ListRollbackReviews": ("wallet", "ListReviews"),
    "ListStuckCalls": ("wallet", ""),
    "ResolveStuckCall": ("wallet", ""),
    "ListPlayerRounds": ("game", "ListRounds"),
    "RollbackRound": ("game", ""),
    "RollbackBet": ("game", ""),
    "ListReviews": ("game", ""),
    "ResolveReview": ("game", ""),
    "ListEvents": ("events", ""),
    "CreateWebhook": ("events", ""),
    "ListWebhooks": ("events", ""),
    "RotateWebhookSecret": ("events", ""),
    "PauseWebhook": ("events", ""),
    "ResumeWebhook": ("events", ""),
    "DeleteWebhook": ("events", ""),
    "ListDeadLetters": ("events", ""),
    "RedeliverDeadLetters": ("events", ""),
}
CARRIED = frozenset(_CARRIED)
# What the record of an action tells of it, with the greatest length.
_TOLD = {"actor": 128, "reason": 1000, "webhook_id": 36}


class BackOffice:
    """The operations of operators beside money and sessions."""

    def __init__(self, stubs: Stubs, *, operators: Operators) -> None:
        self._stubs, self._operators = stubs, operators

    async def carry(self, name: str, operator: Operator, request: Any) -> Any:
        """One of CARRIED, done by the service behind it. Errors: as that service's RPC, ACCOUNT_NOT_FOUND."""
        if not operations.BY_NAME[name].scope.endswith(".write"):
            return await self._carry(name, operator, request)
        # Before it is done, as everything that an operator asks to be changed.
        async with self._recorded(name, operator, request):
            return await self._carry(name, operator, request)

    def _recorded(self, name: str, operator: Operator, request: Any) -> AbstractAsyncContextManager[None]:
        """What has no request id of its own is idempotent by what it names: each call is written down."""
        known, canonical = _names(request), copy.deepcopy(request)
        request_id = fields.uuid7()
        if "request_id" in known:
            request_id = fields.require_uuid(request.request_id, "request_id")
            canonical.request_id = str(request_id)
        if "event_types" in known:
            canonical.ClearField("event_types")
            canonical.event_types.extend(sorted({*request.event_types}))
        if "secret" in known:
            # Not even as a part of a hash; events compares it.
            canonical.ClearField("secret")
        round_id = str(fields.require_uuid(request.round_id, "round_id")) if "round_id" in known else ""
        about = {}
        for field, length_max in _TOLD.items():
            if field in known:
                about[field] = fields.require_text(getattr(request, field), field, length_max)
        return self._operators.acting(
            operator.operator_id,
            name,
            request_id=request_id,
            player_id=fields.require_text(request.player_id, "player_id") if "player_id" in known else "",
            body=canonical.SerializeToString(deterministic=True),
            traceparent=telemetry.traceparent(),
            round_id=round_id,
            about=about,
        )

    async def _carry(self, name: str, operator: Operator, request: Any) -> Any:
        service, rpc = _CARRIED[name]
        request_type, answer_type = _types(name, service, rpc or name)
        asked = request_type()
        copy_fields(request, asked)
        if "operator_id" in _names(asked):
            asked.operator_id = operator.operator_id
        if "account_id" in _names(asked) and "currency_code" in _names(request):
            # Found under the operator's own names, so it is the operator's.
            asked.account_id = (await self._account(operator, request)).account_id
        call: Callable[[Message], Any] = getattr(getattr(self._stubs, service), rpc or name)
        answer = answer_type()
        copy_fields(await call(asked), answer)
        return answer

    async def balance(
        self, operator: Operator, request: operator_pb2.GetPlayerBalanceRequest
    ) -> operator_pb2.GetPlayerBalanceResponse:
        """A player's balance, now or at a time."""
        account = await self._account(operator, request)
        asked = wallet_pb2.GetAccountBalanceRequest(
            operator_id=operator.operator_id, account_id=account.account_id
        )
        copy_fields(request, asked)
        answer = await self._stubs.wallet.GetAccountBalance(asked)
        return operator_pb2.GetPlayerBalanceResponse(
            balance=answer.balance, account_version=answer.account_version, frozen=account.frozen
        )

    async def adjust(
        self, operator: Operator, request: operator_pb2.AdjustBalanceRequest
    ) -> operator_pb2.AdjustBalanceResponse:
        """A correction. It opens no account."""
        fields.require_money(request.amount, "amount", signed=True)
        account = await self._account(operator, request, currency_code=request.amount.currency_code)
        asked = wallet_pb2.AdjustRequest(operator_id=operator.operator_id, account_id=account.account_id)
        copy_fields(request, asked)
        recorded = self._operators.acting(
            operator.operator_id,
            "AdjustBalance",
            request_id=fields.require_uuid(request.request_id, "request_id"),
            player_id=request.player_id,
            body=asked.SerializeToString(deterministic=True),
            traceparent=telemetry.traceparent(),
        )
        async with recorded:
            answer = await self._stubs.wallet.Adjust(asked)
        return operator_pb2.AdjustBalanceResponse(
            transfer=answer.transfer, current_balance=answer.current_balance
        )

    async def subscribe(
        self, operator: Operator, request: operator_pb2.SubscribeEventsRequest
    ) -> AsyncGenerator[operator_pb2.SubscribeEventsResponse]:
        """The operator's events, until the service ends the stream. Errors: as EventService.Subscribe."""
        asked = events_pb2.SubscribeRequest(operator_id=operator.operator_id)
        copy_fields(request, asked)
        async for answer in self._stubs.events.Subscribe(asked):
            yield operator_pb2.SubscribeEventsResponse(events=answer.events, cursor=answer.cursor)

    async def _account(
        self, operator: Operator, request: Any, *, currency_code: str = ""
    ) -> wallet_pb2.Account:
        found = await self._stubs.wallet.FindAccount(
            wallet_pb2.FindAccountRequest(
                operator_id=operator.operator_id,
                player_id=request.player_id,
                currency_code=currency_code or request.currency_code,
                kind=request.kind or account_kind_pb2.ACCOUNT_KIND_REAL,
            )
        )
        return found.account


def copy_fields(source: Message, target: Message) -> None:
    """The fields that are set in one message, into those of the same name in the other."""
    known = target.DESCRIPTOR.fields_by_name
    for field, value in source.ListFields():
        if field.name not in known:
            continue
        if field.is_repeated:
            getattr(target, field.name).MergeFrom(value)
        elif field.message_type is not None:
            getattr(target, field.name).CopyFrom(value)
        else:
            setattr(target, field.name, value)


def _names(message: Message) -> Any:
    return message.DESCRIPTOR.fields_by_name


@cache
def _types(name: str, service: str, rpc: str) -> tuple[Any, Any]:
    """What the RPC behind the operation takes, and what the operation answers."""
    pool = descriptor_pool.Default()
    method = pool.FindMethodByName(f"{identity.call_graph()[service].grpc_service}.{rpc}")
    answer = operations.BY_NAME[name].descriptor.output_type
    return message_factory.GetMessageClass(method.input_type), message_factory.GetMessageClass(answer)
