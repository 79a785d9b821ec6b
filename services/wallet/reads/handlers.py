"""What operators read: balances, statements, totals."""

from typing import Any

import grpc
from reelmesh.wallet.v1 import wallet_pb2, wallet_pb2_grpc
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db, fields
from services.common.errors import FieldMissing
from services.wallet import messages
from services.wallet.external.rounds import ExternalRounds
from services.wallet.reads import messages as reads_messages
from services.wallet.reads import statements
from services.wallet.records import Account, Balance

Context = grpc.aio.ServicerContext[Any, Any]


class ReadsHandlers(wallet_pb2_grpc.WalletServiceServicer):
    """What operators read: balances, statements, totals."""

    _engine: AsyncEngine
    _external: ExternalRounds

    async def GetAccountBalance(
        self, request: wallet_pb2.GetAccountBalanceRequest, context: Context
    ) -> wallet_pb2.GetAccountBalanceResponse:
        operator_id = fields.require_text(request.operator_id, "operator_id")
        account_id = messages.require_account_id(request.account_id)
        if request.HasField("read_time"):
            read_time = reads_messages.parse_time(request.read_time, "read_time")
            async with db.transaction(self._engine, "wallet.get_balance_at") as conn:
                balance = await statements.get_balance_at(
                    conn, operator_id=operator_id, account_id=account_id, read_time=read_time
                )
        else:
            async with db.transaction(self._engine, "wallet.get_balance") as conn:
                account = await statements.get_player_account(
                    conn, operator_id=operator_id, account_id=account_id
                )
            balance = await self._balance(account)
        return wallet_pb2.GetAccountBalanceResponse(
            balance=messages.money(balance.currency_code, balance.balance_minor),
            account_version=balance.version,
        )

    async def _balance(self, account: Account) -> Balance:
        balance_minor = account.balance_minor
        if account.external:
            balance_minor = await self._external.balance_minor(account)
        return Balance(account.currency_code, balance_minor, account.version)

    async def ListTransactions(
        self, request: wallet_pb2.ListTransactionsRequest, context: Context
    ) -> wallet_pb2.ListTransactionsResponse:
        query = reads_messages.parse_statement(request)
        version_before = reads_messages.parse_version_before(request.page_token, query)
        size = fields.require_page(
            request.page_size,
            default=reads_messages.PAGE_SIZE_DEFAULT,
            size_max=reads_messages.PAGE_SIZE_MAX,
        )
        async with db.transaction(self._engine, "wallet.list_transactions") as conn:
            currency_code, found = await statements.list_movements(
                conn, query, version_before=version_before, rows_max=size + 1
            )
        page = found[:size]
        response = wallet_pb2.ListTransactionsResponse(
            transactions=[reads_messages.transaction(movement, currency_code) for movement in page]
        )
        if len(found) > size:
            response.next_page_token = fields.encode_page_token(
                reads_messages.page_query(query), page[-1].account_version
            )
        return response

    async def GetTransactions(
        self, request: wallet_pb2.GetTransactionsRequest, context: Context
    ) -> wallet_pb2.GetTransactionsResponse:
        operator_id = fields.require_text(request.operator_id, "operator_id")
        key = request.WhichOneof("key")
        if key is None:
            raise FieldMissing(field="transaction_id")
        key_id = fields.require_uuid(getattr(request, key), key)
        async with db.transaction(self._engine, "wallet.get_transactions") as conn:
            if key == "request_id":
                found = await statements.get_transaction_by_request(
                    conn, operator_id=operator_id, request_id=key_id
                )
            else:
                found = await statements.get_transaction(conn, operator_id=operator_id, transaction_id=key_id)
        currency_code, movements, postings = found
        return wallet_pb2.GetTransactionsResponse(
            transactions=[reads_messages.transaction(movement, currency_code) for movement in movements],
            postings=[reads_messages.posting(posting, currency_code) for posting in postings],
        )

    async def GetDailyTotals(
        self, request: wallet_pb2.GetDailyTotalsRequest, context: Context
    ) -> wallet_pb2.GetDailyTotalsResponse:
        operator_id = fields.require_text(request.operator_id, "operator_id")
        day = reads_messages.parse_day(request.day)
        currency_code = request.currency_code and messages.require_currency(request.currency_code)
        async with db.transaction(self._engine, "wallet.get_daily_totals") as conn:
            totals = await statements.get_daily_totals(
                conn, operator_id=operator_id, day=day, currency_code=currency_code
            )
        return wallet_pb2.GetDailyTotalsResponse(totals=[reads_messages.daily_totals(row) for row in totals])
