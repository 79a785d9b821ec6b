"""gRPC <-> the ledger, and its outbox rows <-> events."""

from collections.abc import Iterator, Sequence
from typing import Any

import grpc
from opentelemetry import trace
from reelmesh.events.v1 import events_pb2
from reelmesh.wallet.v1 import wallet_pb2
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db, fields, items, telemetry
from services.common.batching import Batcher
from services.common.outbox import OutboxRow
from services.wallet import ledger, messages, months, seal, store, transfers
from services.wallet.errors import SealInvalid
from services.wallet.external_handlers import ExternalHandlers
from services.wallet.notes import note
from services.wallet.operator_handlers import OperatorHandlers
from services.wallet.reads_handlers import ReadsHandlers
from services.wallet.records import Item, Settlement

Context = grpc.aio.ServicerContext[Any, Any]

# What the columns of an outbox row are called where there is only one of each.
_SINGULAR = {
    "round_ids": "round_id",
    "steps": "step",
    "statuses": "status",
    "stakes_minor": "stake_minor",
    "wins_minor": "win_minor",
    "transfer_ids": "transfer_id",
    "request_ids": "request_id",
    "amounts_minor": "amount_minor",
    "refusals": "refusal",
    "verdicts": "verdict",
    "missing_minor": "missing_minor",
    "types": "type",
    "account_ids": "account_id",
    "account_versions": "account_version",
    "balances_after_minor": "balance_after_minor",
    "frozen": "frozen",
    "actors": "actor",
    "reasons": "reason",
    "traceparents": "traceparent",
}


class Handlers(OperatorHandlers, ReadsHandlers, ExternalHandlers):
    """WalletService: rounds here, the rest in its bases."""

    def __init__(self, engine: AsyncEngine, *, seal_key: str) -> None:
        self._engine = engine
        self._seal_key = seal_key
        self.kept = months.Kept()
        # One writer for settles and voids: both are verdicts on the same keys, so they share statement and
        # order. Deposits, withdrawals and rollbacks are rare and take the account's lock themselves.
        self._batcher: Batcher[Item, Settlement] = Batcher(
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
                conn, operator_id=operator_id, player_id=player_id, currency_code=currency_code, kind=kind
            )
        return wallet_pb2.OpenAccountResponse(account=messages.account(account))

    async def GetAccount(
        self, request: wallet_pb2.GetAccountRequest, context: Context
    ) -> wallet_pb2.GetAccountResponse:
        account_id = messages.require_account_id(request.account_id)
        operator_id = fields.require_text(request.operator_id, "operator_id")
        async with db.transaction(self._engine, "wallet.get_account") as conn:
            account = await transfers.get_account(conn, operator_id=operator_id, account_id=account_id)
        return wallet_pb2.GetAccountResponse(account=messages.account(account))

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
            self._batcher,
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
            self._batcher,
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
            rows = await ledger.list_settlements(conn, round_id=round_id)
        if not rows:
            # Unknown, or archived since this process looked.
            await self.kept.refresh(self._engine)
            self.kept.require(round_id)
        return wallet_pb2.GetSettlementsResponse(settlements=[messages.settlement(row) for row in rows])

    async def _settle(self, request: wallet_pb2.SettleRequest, *, traceparent: str) -> Settlement:
        return await self._batcher.submit(self._parse(request, traceparent))

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
        return await self._batcher.submit(self._parse_void(request, traceparent))


def _reply(settlement: Settlement, span: trace.Span, traceparent: str) -> items.Fields:
    note(settlement, span, traceparent)
    return {"settlement": messages.settlement_fields(settlement)}


async def to_events(conn: db.Connection, rows: Sequence[OutboxRow]) -> Sequence[Sequence[events_pb2.Event]]:
    """The events of each outbox row: one per verdict, tombstone, reversal, transfer, review or freeze."""
    account_ids = {account_id for row in rows for account_id in row.payload["account_ids"]}
    accounts = await store.list_account_names(conn, account_ids=sorted(account_ids))
    return [
        [messages.event(row.kind, item, accounts[item["account_id"]]) for item in _items(row)] for row in rows
    ]


def _items(row: OutboxRow) -> Iterator[dict[str, Any]]:
    """A row holds one batch in columns, {"round_ids": [..], "statuses": [..]}; an item is one of each."""
    names_of_items = [_SINGULAR[column] for column in row.payload]
    for values in zip(*row.payload.values(), strict=True):
        yield dict(zip(names_of_items, values, strict=True))
