"""What the tests of reads ask a wallet, and what they put there that no call can: other times."""

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from reelmesh.wallet.v1 import wallet_pb2
from sqlalchemy import text

from services.common import db
from services.common.times import timestamp
from services.wallet import transfers
from services.wallet.records import Transfer, TransferOrder, TransferType
from tests.integration.wallet.harness import CONTEXT, OPERATOR, Wallet, new_id


def at(time: str) -> datetime:
    """A time in UTC, as "2026-03-01 12:00"."""
    return datetime.fromisoformat(time).replace(tzinfo=UTC)


def stamp(time: str) -> Timestamp:
    """The same as a message."""
    return timestamp(at(time))


async def pages(
    wallet: Wallet, account_id: int, *, operator_id: str = OPERATOR, **fields: Any
) -> AsyncIterator[list[wallet_pb2.Transaction]]:
    """A statement page by page; the fields of its request."""
    request = wallet_pb2.ListTransactionsRequest(operator_id=operator_id, account_id=account_id, **fields)
    while True:
        page = await wallet.handlers.ListTransactions(request, CONTEXT)
        yield list(page.transactions)
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


async def statement(wallet: Wallet, account_id: int, **fields: Any) -> list[wallet_pb2.Transaction]:
    """A whole statement, newest first."""
    return [transaction async for page in pages(wallet, account_id, **fields) for transaction in page]


async def versions(wallet: Wallet, account_id: int, **fields: Any) -> list[int]:
    """The versions of a whole statement, newest first."""
    return [transaction.account_version for transaction in await statement(wallet, account_id, **fields)]


async def transactions(
    wallet: Wallet, *, operator_id: str = OPERATOR, **key: str
) -> wallet_pb2.GetTransactionsResponse:
    """What moved under `transaction_id` or `request_id`."""
    request = wallet_pb2.GetTransactionsRequest(operator_id=operator_id, **key)
    return await wallet.handlers.GetTransactions(request, CONTEXT)


async def balance(
    wallet: Wallet, account_id: int, read_time: datetime | None = None, *, operator_id: str = OPERATOR
) -> tuple[int, int]:
    """Balance and version, now or at a time."""
    request = wallet_pb2.GetAccountBalanceRequest(operator_id=operator_id, account_id=account_id)
    if read_time is not None:
        request.read_time.CopyFrom(timestamp(read_time))
    answer = await wallet.handlers.GetAccountBalance(request, CONTEXT)
    return answer.balance.amount_minor, answer.account_version


async def totals(
    wallet: Wallet, day: str, *, operator_id: str = OPERATOR, currency_code: str = ""
) -> dict[str, wallet_pb2.DailyTotals]:
    """A day's totals by currency."""
    request = wallet_pb2.GetDailyTotalsRequest(operator_id=operator_id, day=day, currency_code=currency_code)
    found = (await wallet.handlers.GetDailyTotals(request, CONTEXT)).totals
    assert [row.currency_code for row in found] == sorted({row.currency_code for row in found})
    return {row.currency_code: row for row in found}


async def adjust(
    wallet: Wallet,
    account_id: int,
    amount_minor: int,
    *,
    operator_id: str = OPERATOR,
    currency_code: str = "EUR",
    actor: str = "ann",
    reason: str = "a reason",
    round_id: str = "",
) -> Transfer:
    """A correction."""
    order = TransferOrder(
        operator_id=operator_id,
        request_id=uuid.UUID(new_id()),
        account_id=account_id,
        currency_code=currency_code,
        type=TransferType.ADJUSTMENT,
        amount_minor=amount_minor,
        traceparent="",
        actor=actor,
        reason=reason,
        round_id=round_id,
    )
    async with db.transaction(wallet.engine, "adjust") as conn:
        return await transfers.transfer(conn, order)


async def move_times(wallet: Wallet, account_id: int, times: dict[int, datetime]) -> None:
    """Gives movements other times, by version."""
    async with wallet.engine.begin() as conn:
        for table in ("settlement", "reversal", "transfer"):
            await conn.execute(
                text(f"""
                update {table} set create_time = :time
                where account_id = :account_id and account_version = :version"""),
                [{"account_id": account_id, "version": v, "time": time} for v, time in times.items()],
            )
