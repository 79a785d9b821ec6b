"""Batch methods: every item has its own answer, whatever becomes of the others."""

import asyncio

import pytest
from reelmesh.type.v1 import error_pb2
from reelmesh.wallet.v1 import wallet_pb2

from services.common.errors import DomainError
from services.wallet import ledger
from services.wallet.records import Item, Settlement, Status, Step
from tests.integration.wallet.harness import (
    APPLIED,
    CONTEXT,
    PAYOUT,
    REFUSED,
    VOID,
    Wallet,
    new_id,
    settle_request,
)

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def batch(wallet: Wallet, *requests: wallet_pb2.SettleRequest) -> list[str]:
    """The status or reason of each item."""
    response = await wallet.handlers.BatchSettle(wallet_pb2.BatchSettleRequest(requests=requests), CONTEXT)
    return [outcome(result) for result in response.results]


def outcome(result: wallet_pb2.SettlementResult) -> str:
    """A result as one word."""
    if result.HasField("settlement"):
        name = wallet_pb2.SettlementStatus.Name(result.settlement.status)
        return name.removeprefix("SETTLEMENT_STATUS_")
    return error_pb2.ErrorReason.Name(result.error.reason).removeprefix("ERROR_REASON_")


async def test_every_item_is_answered_in_its_place(wallet: Wallet) -> None:
    rich, poor, voided = [await wallet.open(balance=balance) for balance in (1000, 50, 1000)]
    tombstone, known = new_id(), settle_request(rich, stake=1)
    await wallet.void(voided, tombstone)
    await wallet.send(known)
    unsealed = settle_request(rich, stake=100)
    unsealed.seal = b""
    outcomes = await batch(
        wallet,
        settle_request(rich, stake=100),
        settle_request(poor, stake=100),
        settle_request(voided, round_id=tombstone, stake=100),
        settle_request(rich, step=PAYOUT, win=1),
        settle_request(999_999, stake=100),
        settle_request(rich, stake=100, currency_code="USD"),
        settle_request(rich, round_id=known.round_id, stake=2),
        unsealed,
        wallet_pb2.SettleRequest(),
        known,
    )
    assert outcomes == [
        "APPLIED",
        "REFUSED",
        "VOID",
        "STAKE_UNKNOWN",
        "ACCOUNT_NOT_FOUND",
        "CURRENCY_MISMATCH",
        "ID_REUSED",
        "SEAL_INVALID",
        "FIELD_MISSING",
        "APPLIED",
    ]
    assert await wallet.balance(rich) == 899


async def test_two_hundred_accounts_are_settled_by_one_statement_and_told_in_one_row(wallet: Wallet) -> None:
    accounts = await wallet.open_many(200, balance=1000)
    rows = await wallet.scalar("select count(*) from outbox where kind = 'settle'")
    outcomes = await batch(wallet, *(settle_request(i, stake=100, win=i % 3) for i in accounts))
    assert outcomes == ["APPLIED"] * 200
    assert await wallet.scalar("select count(*) from outbox where kind = 'settle'") == rows + 1


async def test_an_account_ten_times_in_a_batch_is_settled_ten_times_in_order(wallet: Wallet) -> None:
    account_id = await wallet.open(balance=450)
    outcomes = await batch(wallet, *(settle_request(account_id, stake=100) for _ in range(6)))
    assert outcomes == ["APPLIED"] * 4 + ["REFUSED"] * 2
    assert await wallet.balance(account_id) == 50


async def test_a_poison_item_fails_alone(wallet: Wallet) -> None:
    # No request can overflow a balance: someone has to have put it there.
    accounts = [await wallet.open(balance=1000) for _ in range(9)]
    poisoned = accounts[4]
    async with wallet.engine.begin() as conn:
        update = "update account set balance_minor = 9223372036854775807 where account_id = "
        await conn.exec_driver_sql(f"{update} {poisoned}")
    try:
        outcomes = await batch(wallet, *(settle_request(i, stake=1, win=100) for i in accounts))
    finally:
        async with wallet.engine.begin() as conn:
            await conn.exec_driver_sql(
                f"update account set balance_minor = 1000 where account_id = {poisoned}"
            )
    assert outcomes == ["APPLIED"] * 4 + ["INTERNAL"] + ["APPLIED"] * 4


@pytest.mark.parametrize(("count", "reason"), [(0, "FIELD_MISSING"), (201, "FIELD_INVALID")])
async def test_a_batch_of_the_wrong_size_is_refused_as_a_whole(
    wallet: Wallet, count: int, reason: str
) -> None:
    requests = [wallet_pb2.SettleRequest()] * count
    with pytest.raises(DomainError, match=reason):
        await batch(wallet, *requests)
    voids = [wallet_pb2.VoidRequest()] * count
    with pytest.raises(DomainError, match=reason):
        await wallet.handlers.BatchVoid(wallet_pb2.BatchVoidRequest(requests=voids), CONTEXT)


async def test_voids_and_settles_share_a_statement(wallet: Wallet) -> None:
    accounts = [await wallet.open(balance=1000) for _ in range(4)]
    items = [
        Item(
            new_id(),
            Step.VOID if place % 2 else Step.FUSED,
            i,
            "" if place % 2 else "EUR",
            10 * (1 - place % 2),
        )
        for place, i in enumerate(accounts)
    ]
    answers = await ledger.settle_batch(wallet.engine, items)
    statuses = [answer.status for answer in answers if isinstance(answer, Settlement)]
    assert statuses == [Status.APPLIED, Status.VOID] * 2


async def test_many_voids_are_answered_each_by_itself(wallet: Wallet) -> None:
    rich, poor = await wallet.open(balance=1000), await wallet.open(balance=50)
    applied, refused = settle_request(rich, stake=100), settle_request(poor, stake=100)
    await wallet.send(applied)
    await wallet.send(refused)
    requests = [
        wallet_pb2.VoidRequest(round_id=applied.round_id, account_id=rich),
        wallet_pb2.VoidRequest(round_id=refused.round_id, account_id=poor),
        wallet_pb2.VoidRequest(round_id=new_id(), account_id=rich),
        wallet_pb2.VoidRequest(round_id="round-1", account_id=rich),
        wallet_pb2.VoidRequest(round_id=new_id(), account_id=999_999),
    ]
    response = await wallet.handlers.BatchVoid(wallet_pb2.BatchVoidRequest(requests=requests), CONTEXT)
    outcomes = [outcome(result) for result in response.results]
    assert outcomes == ["APPLIED", "REFUSED", "VOID", "FIELD_INVALID", "ACCOUNT_NOT_FOUND"]
    assert (APPLIED, REFUSED, VOID) == tuple(r.settlement.status for r in response.results[:3])


async def test_a_batch_whose_caller_went_away_is_settled_all_the_same(wallet: Wallet) -> None:
    account_id = await wallet.open(balance=1000)
    request = settle_request(account_id, stake=100)
    call = asyncio.ensure_future(batch(wallet, request))
    await asyncio.sleep(0)  # until the item is queued
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await wallet.handlers.drain()
    [stored] = await wallet.known(request.round_id)
    assert stored.status == APPLIED
