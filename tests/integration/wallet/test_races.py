"""Concurrency: each guard holds, and the same race without it shows what it is for."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql.elements import TextClause

from services.common import db
from services.common.errors import DomainError
from services.common.fields import uuid7
from services.wallet import ledger, sql, transfers
from services.wallet.records import (
    Item,
    RollbackOrder,
    Settlement,
    Status,
    Step,
    Transfer,
    TransferOrder,
    TransferType,
)
from tests import invariants
from tests.integration.wallet.barrier import until_waiting
from tests.integration.wallet.harness import APPLIED, OPERATOR, VOID, Wallet, new_id, settle_request
from tests.integration.wallet.mutants import (
    WITHOUT_ACCOUNT_LOCK,
    WITHOUT_ARBITER,
    WITHOUT_LOCK,
    WITHOUT_LOCK_ORDER,
    WITHOUT_ONE_EVENT,
    WITHOUT_ONE_PER_ACCOUNT,
)

Answers = Sequence[ledger.Answer]
T = TypeVar("T")
# What one call on a new connection does to an account.
Movement = Callable[[AsyncConnection], Awaitable[Transfer | Settlement]]


def spin(account_id: int, *, stake: int = 100, win: int = 0, round_id: str = "") -> Item:
    """One fused settle as it enters the batch."""
    return Item(round_id or new_id(), Step.FUSED, account_id, "EUR", stake, win, "lucky-lines")


async def race(
    url: str, account_id: int, runs: Sequence[Callable[[AsyncEngine], Awaitable[T]]]
) -> list[T | BaseException]:
    """Starts the runs behind a lock on the account, and lets them go when all of them wait for it.

    A barrier, so that what a missing guard loses is lost every time.
    """
    engine = db.create_engine(url, pool_size=len(runs) + 2, application_name="race")
    try:
        async with engine.connect() as holder, engine.connect() as watcher:
            await holder.execute(
                text("select from account where account_id = :id for no key update"), {"id": account_id}
            )
            tasks = [asyncio.ensure_future(run(engine)) for run in runs]
            await until_waiting(watcher, len(runs))
            await holder.rollback()
            return await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        await engine.dispose()


def applied(results: Sequence[Answers | BaseException]) -> int:
    """How many of one-item runs were applied."""
    answers = [result[0] for result in results if not isinstance(result, BaseException)]
    assert len(answers) == len(results), results
    return sum(isinstance(answer, Settlement) and answer.status is Status.APPLIED for answer in answers)


async def overdraft(wallet: Wallet, url: str, statement: TextClause) -> tuple[int, int]:
    """8 writers, 1 account with funds for 3: how many spins were applied, and the balance after it."""
    account_id = await wallet.open(balance=350)
    items = [spin(account_id) for _ in range(8)]
    runs = [lambda engine, i=item: ledger.settle_batch(engine, [i], statement=statement) for item in items]
    return applied(await race(url, account_id, runs)), await wallet.balance(account_id)


async def test_of_eight_writers_at_once_exactly_those_with_funds_are_applied(
    wallet: Wallet, wallet_url: str
) -> None:
    assert await overdraft(wallet, wallet_url, sql.SETTLE) == (3, 50)


async def test_without_the_lock_all_of_them_are_applied_on_the_same_balance(
    database: Callable[[str], str],
) -> None:
    url = database("wallet")
    async with Wallet(url) as broken:
        assert await overdraft(broken, url, WITHOUT_LOCK) == (8, 250)
        async with broken.engine.connect() as conn:
            for violated in (invariants.balances_are_their_postings, invariants.histories_chain):
                with pytest.raises(AssertionError, match="violated"):
                    await violated(conn)


async def moved(
    wallet: Wallet, url: str, name: str, lock: TextClause
) -> tuple[list[Transfer | Settlement | BaseException], int]:
    """Six movements of 100 on a balance of 450, at once: what each came to, and the balance after it."""
    account_id = await wallet.open(balance=1050)
    rounds = [await wallet.settle(account_id, stake=100) for _ in range(6)]

    def transfer(amount_minor: int) -> Movement:
        order = TransferOrder(
            operator_id=OPERATOR,
            request_id=uuid7(),
            account_id=account_id,
            currency_code="EUR",
            type=TransferType.DEPOSIT if amount_minor > 0 else TransferType.WITHDRAWAL,
            amount_minor=amount_minor,
            traceparent="",
        )
        return lambda conn: transfers.transfer(conn, order, lock=lock)

    def roll_back(round_id: str) -> Movement:
        order = RollbackOrder(
            round_id=round_id, account_id=account_id, actor="tester", reason="test", traceparent=""
        )
        return lambda conn: ledger.reverse_round(conn, order, lock=lock)

    async def run(engine: AsyncEngine, movement: Movement) -> Transfer | Settlement:
        async with db.transaction(engine, name) as conn:
            return await movement(conn)

    movements = {
        "deposit": [transfer(100) for _ in rounds],
        "withdraw": [transfer(-100) for _ in rounds],
        "roll back": [roll_back(lost.round_id) for lost in rounds],
    }[name]
    ends = await race(url, account_id, [partial(run, movement=movement) for movement in movements])
    return ends, await wallet.balance(account_id)


@pytest.mark.parametrize(
    ("name", "balance_minor", "refused"), [("deposit", 1050, 0), ("withdraw", 50, 2), ("roll back", 1050, 0)]
)
async def test_of_six_movements_at_once_each_counts(
    wallet: Wallet, wallet_url: str, name: str, balance_minor: int, refused: int
) -> None:
    ends, balance_after_minor = await moved(wallet, wallet_url, name, sql.LOCK_ACCOUNT)
    assert not [end for end in ends if isinstance(end, BaseException)]
    assert sum(isinstance(end, Transfer) and bool(end.refusal) for end in ends) == refused
    assert balance_after_minor == balance_minor


@pytest.mark.parametrize(("name", "balance_minor"), [("deposit", 550), ("withdraw", 350), ("roll back", 550)])
async def test_without_the_account_s_lock_one_of_them_counts(
    database: Callable[[str], str], name: str, balance_minor: int
) -> None:
    url = database("wallet")
    async with Wallet(url) as broken:
        ends, balance_after_minor = await moved(broken, url, name, WITHOUT_ACCOUNT_LOCK)
        assert not [end for end in ends if isinstance(end, BaseException)], (
            "they were all told that it was done"
        )
        assert balance_after_minor == balance_minor
        async with broken.engine.connect() as conn:
            for violated in (invariants.balances_are_their_postings, invariants.histories_chain):
                with pytest.raises(AssertionError, match="violated"):
                    await violated(conn)


async def duplicates(wallet: Wallet, url: str, statement: TextClause) -> list[Answers | BaseException]:
    """One round through 6 writers at once."""
    account_id = await wallet.open(balance=1000)
    item = spin(account_id, win=30)
    return await race(
        url, account_id, [lambda engine: ledger.settle_batch(engine, [item], statement=statement)] * 6
    )


async def test_a_round_sent_through_six_writers_at_once_has_one_effect(
    wallet: Wallet, wallet_url: str
) -> None:
    results = await duplicates(wallet, wallet_url, sql.SETTLE)
    assert applied(results) == 6
    answers = [result[0] for result in results if not isinstance(result, BaseException)]
    settlements = [answer for answer in answers if isinstance(answer, Settlement)]
    assert sum(not settlement.replayed for settlement in settlements) == 1
    assert {settlement.balance_after_minor for settlement in settlements} == {930}


async def test_without_the_arbiter_the_duplicates_fail_instead_of_being_answered(
    wallet: Wallet, wallet_url: str
) -> None:
    results = await duplicates(wallet, wallet_url, WITHOUT_ARBITER)
    assert sum(isinstance(result, psycopg.IntegrityError) for result in results) == 5


async def test_fifty_duplicates_over_two_replicas_are_answered_alike(wallet: Wallet, wallet_url: str) -> None:
    account_id = await wallet.open(balance=1000)
    request = settle_request(account_id, stake=100, win=30)
    async with Wallet(wallet_url) as other:
        answers = await asyncio.gather(*(w.send(request) for w in (wallet, other) * 25))
    assert len({(a.status, a.balance_after.amount_minor, a.account_version) for a in answers}) == 1
    assert sum(not answer.replayed for answer in answers) == 1
    assert await wallet.balance(account_id) == 930


async def test_void_and_stake_at_once_leave_one_of_the_two(wallet: Wallet, wallet_url: str) -> None:
    account_id = await wallet.open(balance=10_000)
    async with Wallet(wallet_url) as other:
        for turn in range(20):
            round_id, before = new_id(), await wallet.balance(account_id)
            calls = [
                wallet.settle(account_id, round_id=round_id, stake=100),
                other.void(account_id, round_id),
            ]
            first, second = await asyncio.gather(*calls[:: 1 if turn % 2 else -1])
            assert first.status == second.status
            assert first.status in (APPLIED, VOID)
            taken = 100 if first.status == APPLIED else 0
            assert await wallet.balance(account_id) == before - taken


async def test_two_items_of_one_account_in_one_batch_are_both_settled(wallet: Wallet) -> None:
    account_id = await wallet.open(balance=250)
    items = [spin(account_id) for _ in range(4)]
    answers = await ledger.settle_batch(wallet.engine, items)
    assert [a.status for a in answers if isinstance(a, Settlement)] == [Status.APPLIED] * 2 + [
        Status.REFUSED
    ] * 2
    assert await wallet.balance(account_id) == 50


async def test_without_one_per_account_money_is_lost(database: Callable[[str], str]) -> None:
    async with Wallet(database("wallet")) as broken:
        account_id = await broken.open(balance=250)
        items = [spin(account_id), spin(account_id)]
        await ledger.settle_batch(broken.engine, items, statement=WITHOUT_ONE_PER_ACCOUNT)
        # Two stakes were taken according to the rounds, one according to the balance.
        assert await broken.balance(account_id) == 150
        async with broken.engine.connect() as conn:
            for violated in (invariants.postings_are_those_due, invariants.histories_chain):
                with pytest.raises(AssertionError, match="violated"):
                    await violated(conn)


@pytest.mark.parametrize(("statement", "events"), [(sql.SETTLE, 1), (WITHOUT_ONE_EVENT, 2)])
async def test_a_round_twice_in_one_batch_is_one_round_and_with_its_guard_one_event(
    database: Callable[[str], str], statement: TextClause, events: int
) -> None:
    async with Wallet(database("wallet")) as wallet:
        item = spin(await wallet.open(balance=1000))
        first, again = await ledger.settle_batch(wallet.engine, [item, item], statement=statement)
        assert isinstance(first, Settlement) and isinstance(again, Settlement)
        assert (first.replayed, again.replayed) == (False, True)
        told = await wallet.scalar("select sum(json_array_length(payload->'round_ids')) from outbox")
        assert told == events


async def test_one_round_for_two_accounts_in_one_batch_is_the_first_ones(wallet: Wallet) -> None:
    first_id, second_id = await wallet.open(balance=500), await wallet.open(balance=500)
    item = spin(first_id)
    answers = await ledger.settle_batch(wallet.engine, [item, spin(second_id, round_id=item.round_id)])
    assert isinstance(answers[0], Settlement)
    assert isinstance(answers[1], DomainError) and answers[1].reason == "ID_REUSED"
    assert await wallet.balance(second_id) == 500


async def crossing(wallet: Wallet, url: str, statement: TextClause) -> list[str | None]:
    """Two batches over the same three accounts, in opposite orders, behind a lock on the middle one.

    The errors that they end with.
    """
    accounts = [await wallet.open(balance=10) for _ in range(3)]
    batches = [[spin(i, stake=1) for i in order] for order in (accounts, accounts[::-1])]
    runs = [lambda engine, b=batch: ledger.settle_batch(engine, b, statement=statement) for batch in batches]
    ends = await race(url, accounts[1], runs)
    return [db.sqlstate(end) for end in ends if isinstance(end, BaseException)]


async def test_batches_over_the_same_accounts_never_deadlock(wallet: Wallet, wallet_url: str) -> None:
    assert await crossing(wallet, wallet_url, sql.SETTLE) == []


async def test_without_the_lock_order_they_do(wallet: Wallet, wallet_url: str) -> None:
    states = await crossing(wallet, wallet_url, WITHOUT_LOCK_ORDER)
    # One is PostgreSQL's victim, unless our own lock time-out, which is as long, ends one or both first.
    assert states and set(states) <= {"40P01", "55P03"}
