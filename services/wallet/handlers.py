"""gRPC <-> the ledger: rounds and accounts; what else the service does is in its bases."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import grpc
from opentelemetry import trace
from reelmesh.wallet.v1 import wallet_pb2
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db, fields, items, telemetry
from services.common.batching import Batcher
from services.common.errors import DomainError
from services.wallet import ledger, messages, seal, transfers
from services.wallet.errors import SealInvalid
from services.wallet.explain_handlers import ExplainHandlers
from services.wallet.external import books
from services.wallet.external.handlers import ExternalHandlers
from services.wallet.external.rounds import ExternalRounds
from services.wallet.months import keeping
from services.wallet.notes import note
from services.wallet.operator_handlers import OperatorHandlers
from services.wallet.reads.handlers import ReadsHandlers
from services.wallet.records import Account, External, Item, Settlement

Context = grpc.aio.ServicerContext[Any, Any]

# What the others of a batch wait for operators' wallets. Who settles repeats an item that takes longer, and
# then finds its verdict; the reconciler's batches have nobody else in them.
SETTLE_WAIT_S = 0.02
VOID_WAIT_S = 0.5


class Handlers(OperatorHandlers, ReadsHandlers, ExplainHandlers, ExternalHandlers):
    """WalletService: rounds here, the rest in its bases."""

    def __init__(self, engine: AsyncEngine, *, seal_key: str, external: ExternalRounds | None = None) -> None:
        """`external`: of operators with wallets of their own; none by default."""
        self._engine = engine
        self._external = external or ExternalRounds(engine, {})
        self._seal_key = seal_key
        self.kept = keeping.Kept()
        # One writer for settles and voids: both are verdicts on the same keys, so they share statement and
        # order. Deposits, withdrawals and rollbacks are rare and take the account's lock themselves.
        self._batcher: Batcher[Item, Settlement | External] = Batcher(
            "wallet.settle",
            lambda batch: ledger.settle_batch(engine, batch),
            key=lambda item: item.account_id,
            size_max=messages.BATCH_SIZE_MAX,
        )

    async def drain(self) -> None:
        """Answers what is queued, and takes no more."""
        await self._batcher.close()

    async def OpenAccount(
        self, request: wallet_pb2.OpenAccountRequest, context: Context
    ) -> wallet_pb2.OpenAccountResponse:
        operator_id = fields.require_text(request.operator_id, "operator_id")
        player_id = fields.require_text(request.player_id, "player_id")
        currency_code = messages.require_currency(request.currency_code)
        kind = messages.require_kind(request.kind)
        async with db.transaction(self._engine, "wallet.open_account") as conn:
            account = await transfers.open_account(
                conn,
                operator_id=operator_id,
                player_id=player_id,
                currency_code=currency_code,
                kind=kind,
                external=self._external.keeps(operator_id),
            )
        return wallet_pb2.OpenAccountResponse(account=await self._account(account))

    async def GetAccount(
        self, request: wallet_pb2.GetAccountRequest, context: Context
    ) -> wallet_pb2.GetAccountResponse:
        account_id = messages.require_account_id(request.account_id)
        operator_id = fields.require_text(request.operator_id, "operator_id")
        async with db.transaction(self._engine, "wallet.get_account") as conn:
            account = await transfers.get_account(conn, operator_id=operator_id, account_id=account_id)
        return wallet_pb2.GetAccountResponse(account=await self._account(account))

    async def FindAccount(
        self, request: wallet_pb2.FindAccountRequest, context: Context
    ) -> wallet_pb2.FindAccountResponse:
        async with db.transaction(self._engine, "wallet.find_account") as conn:
            account = await transfers.find_account(
                conn,
                operator_id=fields.require_text(request.operator_id, "operator_id"),
                player_id=fields.require_text(request.player_id, "player_id"),
                currency_code=messages.require_currency(request.currency_code),
                kind=messages.require_kind(request.kind),
            )
        message = messages.account(account)
        if account.external:
            message.ClearField("balance")
        return wallet_pb2.FindAccountResponse(account=message)

    async def Deposit(
        self, request: wallet_pb2.DepositRequest, context: Context
    ) -> wallet_pb2.DepositResponse:
        stored = await self._transfer(messages.parse_transfer(request, sign=1))
        balance = messages.money(stored.currency_code, stored.current_balance_minor)
        return wallet_pb2.DepositResponse(transfer=messages.transfer(stored), current_balance=balance)

    async def Withdraw(
        self, request: wallet_pb2.WithdrawRequest, context: Context
    ) -> wallet_pb2.WithdrawResponse:
        stored = await self._transfer(messages.parse_transfer(request, sign=-1))
        balance = messages.money(stored.currency_code, stored.current_balance_minor)
        return wallet_pb2.WithdrawResponse(transfer=messages.transfer(stored), current_balance=balance)

    async def Settle(self, request: wallet_pb2.SettleRequest, context: Context) -> wallet_pb2.SettleResponse:
        settlement = await self._settle(request, traceparent=telemetry.traceparent())
        note(settlement)
        return wallet_pb2.SettleResponse(settlement=messages.settlement(settlement))

    async def BatchSettle(
        self, request: wallet_pb2.BatchSettleRequest, context: Context
    ) -> wallet_pb2.BatchSettleResponse:
        messages.require_batch(request.requests)
        results = await items.answer(
            "wallet.settle_item",
            request.requests,
            _Decided(self._batcher, self._external, wait_s=SETTLE_WAIT_S),
            parse=self._parse,
            reply=_reply,
        )
        return wallet_pb2.BatchSettleResponse(results=results)

    async def Void(self, request: wallet_pb2.VoidRequest, context: Context) -> wallet_pb2.VoidResponse:
        settlement = await self._void(request, traceparent=telemetry.traceparent())
        note(settlement)
        return wallet_pb2.VoidResponse(settlement=messages.settlement(settlement))

    async def BatchVoid(
        self, request: wallet_pb2.BatchVoidRequest, context: Context
    ) -> wallet_pb2.BatchVoidResponse:
        messages.require_batch(request.requests)
        results = await items.answer(
            "wallet.void_item",
            request.requests,
            _Decided(self._batcher, self._external, wait_s=VOID_WAIT_S),
            parse=self._parse_void,
            reply=_reply,
        )
        return wallet_pb2.BatchVoidResponse(results=results)

    async def GetSettlements(
        self, request: wallet_pb2.GetSettlementsRequest, context: Context
    ) -> wallet_pb2.GetSettlementsResponse:
        round_id = fields.require_uuid_text(request.round_id, "round_id")
        self.kept.require(round_id)
        async with db.transaction(self._engine, "wallet.get_settlements") as conn:
            rows = await books.show(conn, await ledger.list_settlements(conn, round_id=round_id))
        if not rows:
            # Unknown, or archived since this process looked.
            await self.kept.refresh(self._engine)
            self.kept.require(round_id)
        return wallet_pb2.GetSettlementsResponse(settlements=[messages.settlement(row) for row in rows])

    async def _settle(self, request: wallet_pb2.SettleRequest, *, traceparent: str) -> Settlement:
        return await self._decide(self._parse(request, traceparent))

    def _parse(self, request: wallet_pb2.SettleRequest, traceparent: str) -> Item:
        item = messages.parse_settle(request, traceparent=traceparent)
        self.kept.require(item.round_id)
        if not seal.verifies(item, seal=request.seal, key=self._seal_key):
            raise SealInvalid(round_id=item.round_id)
        return item

    def _parse_void(self, request: wallet_pb2.VoidRequest, traceparent: str) -> Item:
        item = messages.parse_void(request, traceparent=traceparent)
        self.kept.require(item.round_id)
        return item

    async def _void(self, request: wallet_pb2.VoidRequest, *, traceparent: str) -> Settlement:
        return await self._decide(self._parse_void(request, traceparent))

    async def _decide(self, item: Item) -> Settlement:
        answer = await self._batcher.submit(item)
        return await self._external.answer(item) if isinstance(answer, External) else answer

    async def _account(self, account: Account) -> wallet_pb2.Account:
        if account.external:
            account = replace(account, balance_minor=await self._external.balance_minor(account))
        return messages.account(account)


class _Decided:
    """The batcher, as items.answer asks it, with what operators' wallets decide among its answers."""

    def __init__(
        self, batcher: Batcher[Item, Settlement | External], external: ExternalRounds, *, wait_s: float
    ) -> None:
        self._batcher, self._external, self._wait_s = batcher, external, wait_s

    async def submit_many(self, items: Sequence[tuple[Item, trace.Span]]) -> list[Settlement | DomainError]:
        answers = await self._batcher.submit_many(items)
        return await self._external.answer_many(answers, wait_s=self._wait_s)


def _reply(settlement: Settlement, span: trace.Span, traceparent: str) -> items.Fields:
    note(settlement, span, traceparent)
    return {"settlement": messages.settlement_fields(settlement)}
