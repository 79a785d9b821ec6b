"""Partitions by month: ids on both sides of a boundary, ids of no month, and the job that makes months."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from reelmesh.type.v1 import error_pb2
from reelmesh.wallet.v1 import wallet_pb2

from services.common.errors import DomainError
from services.wallet import ledger
from services.wallet.months import archive, keeping
from services.wallet.months import store as months_store
from services.wallet.records import RollbackOrder
from tests.integration.wallet.harness import (
    APPLIED,
    CONTEXT,
    PAYOUT,
    REVERSED,
    STAKE,
    VOID,
    Wallet,
    new_id,
    settle_request,
)
from tests.integration.wallet.months import find_month, id_at, ids_in, lay_months, month_at, ms_of


@pytest.fixture
async def old_wallet(database: Callable[[str], str]) -> AsyncIterator[Wallet]:
    """A wallet whose ledger began two months ago; it has this month and the next."""
    async with Wallet(database("wallet")) as wallet:
        await lay_months(wallet.engine, first=month_at(-2), last=month_at(1))
        yield wallet
        await wallet.check()


async def add_months(wallet: Wallet, months_ahead: int) -> int:
    async with wallet.engine.begin() as conn:
        return await months_store.add_months(conn, months_ahead=months_ahead)


async def partition_of(wallet: Wallet, round_id: str) -> str:
    query = (
        "select cast(tableoid as regclass)::text from settlement where round_id = cast(:id as uuid) limit 1"
    )
    return str(await wallet.scalar(query, id=round_id))


async def refusals(wallet: Wallet, account_id: int, round_id: str) -> set[str]:
    """The reasons of everything that can be asked under a round's id, of a wallet that knows its months."""
    await wallet.handlers.kept.refresh(wallet.engine)
    asked: list[Callable[[], Awaitable[object]]] = [
        lambda: wallet.settle(account_id, round_id=round_id, stake=10, win=3),
        lambda: wallet.settle(account_id, round_id=round_id, step=STAKE, stake=10),
        lambda: wallet.settle(account_id, round_id=round_id, step=PAYOUT, win=10),
        lambda: wallet.void(account_id, round_id),
        lambda: wallet.roll_back(account_id, round_id),
        lambda: wallet.known(round_id),
    ]
    reasons = set()
    for ask in asked:
        with pytest.raises(DomainError) as refused:
            await ask()
        assert refused.value.metadata["field"] == "round_id"
        reasons.add(refused.value.reason)
    return reasons


async def test_replays_across_a_boundary_find_what_was_stored_there(old_wallet: Wallet) -> None:
    wallet = old_wallet
    account_id, boundary = await wallet.open(balance=1000), ms_of(month_at(2))
    before = [id_at(boundary - 1) for _ in range(4)]
    after = [id_at(boundary) for _ in range(4)]
    # The month after the boundary was not made yet.
    assert await refusals(wallet, account_id, after[0]) == {"FIELD_INVALID"}

    async def play(ids: list[str]) -> list[wallet_pb2.Settlement]:
        fused, choice, voided, given_back = ids
        await wallet.settle(account_id, round_id=given_back, stake=40, win=1)
        return [
            await wallet.settle(account_id, round_id=fused, stake=100, win=30),
            await wallet.settle(account_id, round_id=choice, step=STAKE, stake=50),
            await wallet.settle(account_id, round_id=choice, step=PAYOUT, win=5),
            await wallet.void(account_id, voided),
            await wallet.roll_back(account_id, given_back),
        ]

    first = await play(before)
    assert await add_months(wallet, 2) == 1
    await wallet.handlers.kept.refresh(wallet.engine)
    first += await play(after)
    assert [one.status for one in first] == [APPLIED, APPLIED, APPLIED, VOID, REVERSED] * 2
    newest = month_at(2)
    assert {await partition_of(wallet, id) for id in after} == {f"settlement_{newest:%Y_%m}"}
    assert {await partition_of(wallet, id) for id in before} == {f"settlement_{month_at(1):%Y_%m}"}
    balance = await wallet.balance(account_id)
    assert balance == 1000 - 2 * (100 - 30 + 50 - 5)

    again = await play(before) + await play(after)
    assert all(one.replayed for one in again)
    for one, other in zip(first, again, strict=True):
        assert (other.round_id, other.status, other.stake, other.win) == (
            one.round_id,
            one.status,
            one.stake,
            one.win,
        )
    # A late stake finds the tombstone on its side of the boundary.
    for round_id in (before[2], after[2]):
        late = await wallet.settle(account_id, round_id=round_id, stake=10)
        assert (late.status, late.replayed) == (VOID, True)
    assert await wallet.balance(account_id) == balance


async def test_an_id_that_is_no_uuid_of_version_7_is_refused(wallet: Wallet) -> None:
    account_id = await wallet.open(balance=100)
    # Like one of today in all but its version.
    id = new_id()
    assert await refusals(wallet, account_id, f"{id[:14]}4{id[15:]}") == {"FIELD_INVALID"}


@pytest.mark.parametrize("fresh", [True, False], ids=["months not read yet", "months read"])
async def test_ids_of_no_month_do_not_hinder_the_rest_of_their_batch(
    old_wallet: Wallet, *, fresh: bool
) -> None:
    wallet = old_wallet
    if not fresh:
        await wallet.handlers.kept.refresh(wallet.engine)
    accounts = await wallet.open_many(5, balance=100)
    ids = [new_id(), id_at(ms_of(month_at(-2)) - 1), new_id(), id_at(ms_of(month_at(2))), new_id()]
    request = wallet_pb2.BatchSettleRequest(
        requests=[
            settle_request(account_id, round_id=round_id, stake=10)
            for account_id, round_id in zip(accounts, ids, strict=True)
        ]
    )
    results = (await wallet.handlers.BatchSettle(request, CONTEXT)).results
    assert [one.error.reason or one.settlement.status for one in results] == [
        APPLIED,
        error_pb2.ERROR_REASON_ID_EXPIRED,
        APPLIED,
        error_pb2.ERROR_REASON_FIELD_INVALID,
        APPLIED,
    ]
    assert [await wallet.balance(account_id) for account_id in accounts] == [90, 100, 90, 100, 90]


async def test_a_batch_of_ids_of_no_month_only_is_answered(old_wallet: Wallet) -> None:
    account_id = await old_wallet.open(balance=100)
    with pytest.raises(DomainError, match="ID_EXPIRED"):
        await old_wallet.settle(account_id, round_id=id_at(0), stake=1)
    assert await refusals(old_wallet, account_id, id_at(0)) == {"ID_EXPIRED"}


async def test_nothing_is_done_in_a_closed_month_whatever_a_replica_believes(old_wallet: Wallet) -> None:
    wallet = old_wallet
    account_id, new = await wallet.open(balance=100), ids_in(month_at(-2))
    settled = new()
    await wallet.settle(account_id, round_id=settled, stake=10)
    await wallet.handlers.kept.refresh(wallet.engine)
    await archive.close_month(wallet.engine, await find_month(wallet.engine, month_at(-2)))
    version = (await wallet.account(account_id)).account_version
    unknown = new()
    asked: list[Callable[[], Awaitable[object]]] = [
        lambda: wallet.settle(account_id, round_id=unknown, stake=10),
        lambda: wallet.settle(account_id, round_id=settled, stake=10),
        lambda: wallet.void(account_id, unknown),
        lambda: wallet.roll_back(account_id, settled),
        lambda: wallet.roll_back(account_id, unknown),
    ]
    for ask in asked:
        with pytest.raises(DomainError, match="ID_EXPIRED"):
            await ask()
    # A rollback that knew its round before the month was closed.
    with pytest.raises(DomainError, match="ID_EXPIRED"):
        async with wallet.engine.begin() as conn:
            order = RollbackOrder(
                round_id=settled, account_id=account_id, actor="a", reason="r", traceparent=""
            )
            await ledger.reverse_round(conn, order)
    assert (await wallet.account(account_id)).account_version == version
    await wallet.handlers.kept.refresh(wallet.engine)
    assert await refusals(wallet, account_id, settled) == {"ID_EXPIRED"}


async def test_the_job_makes_the_months_ahead_once_however_many_run(old_wallet: Wallet) -> None:
    wallet, stop = old_wallet, asyncio.Event()
    kept = [keeping.Kept() for _ in range(4)]
    newest = id_at(ms_of(month_at(2)))
    jobs = [
        asyncio.create_task(keeping.keep_ahead(wallet.engine, one, interval_ms=10, stop=stop)) for one in kept
    ]
    query = "select count(*) from ledger_month where month = :month"
    async with asyncio.timeout(10):
        while not await wallet.scalar(query, month=month_at(2)):
            pass
        stop.set()
        await asyncio.gather(*jobs)
    for one in kept:
        one.require(newest)
        with pytest.raises(DomainError, match="FIELD_INVALID"):
            one.require(id_at(ms_of(month_at(3))))
    assert await keeping.add_ahead(wallet.engine) == 0


async def test_months_are_made_while_rounds_are_played(old_wallet: Wallet) -> None:
    wallet = old_wallet
    accounts, done = await wallet.open_many(5, balance=1000), asyncio.Event()

    async def play(account_id: int) -> None:
        while not done.is_set():
            await wallet.settle(account_id, stake=7, win=7)

    players = [asyncio.create_task(play(account_id)) for account_id in accounts]
    try:
        for ahead in range(2, 6):
            await add_months(wallet, ahead)
    finally:
        done.set()
        await asyncio.gather(*players)
    assert {await wallet.balance(account_id) for account_id in accounts} == {1000}


async def test_a_gap_of_months_is_filled(old_wallet: Wallet) -> None:
    # Nothing ran for a while: the months in between are made too, so that no id falls between partitions.
    assert await add_months(old_wallet, 7) == 6
    account_id = await old_wallet.open(balance=100)
    for ahead in range(2, 8):
        await old_wallet.settle(account_id, round_id=id_at(ms_of(month_at(ahead))), stake=1)
