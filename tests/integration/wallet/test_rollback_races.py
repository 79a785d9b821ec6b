"""Rollbacks, bets, payouts and verdicts that meet at one account, over two replicas, in every order."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple

import pytest
from reelmesh.wallet.v1 import wallet_pb2
from sqlalchemy.sql.elements import TextClause

from services.common import db
from services.common.errors import DomainError
from services.wallet import ledger, sql
from services.wallet.records import RollbackOrder, Settlement
from tests.integration.wallet.barrier import in_order
from tests.integration.wallet.harness import (
    APPLIED,
    FUSED,
    GIVE_BACK,
    KEEP,
    NEEDS_REVIEW,
    PAYOUT,
    REVERSED,
    STAKE,
    VOID,
    Wallet,
    new_id,
)
from tests.integration.wallet.mutants import WITHOUT_ACCOUNT_LOCK

Call = Callable[[], Awaitable[wallet_pb2.Settlement]]


class Two(NamedTuple):
    """Two replicas on one database."""

    one: Wallet
    other: Wallet


@pytest.fixture
async def two(wallet: Wallet, wallet_url: str) -> AsyncIterator[Two]:
    """Two replicas on the module's database; at the end of every test all invariants hold."""
    async with Wallet(wallet_url) as other:
        yield Two(wallet, other)


async def statuses(two: Two, account_id: int, calls: Sequence[Call]) -> list[object]:
    """What the calls came to when they met, in order: a status, or the reason of a refusal."""
    results: list[object] = []
    for result in await in_order(two.one, account_id, calls):
        if isinstance(result, BaseException):
            assert isinstance(result, DomainError), result
            results.append(result.reason)
        else:
            results.append(result.status)
    return results


async def roll_back_bet(wallet: Wallet, account_id: int, round_id: str) -> wallet_pb2.Settlement:
    return (await wallet.roll_back_bet(account_id, round_id)).settlement


# 45 (Beexar: look-up, tombstone and apply in one transaction): a rollback and its bet, in both orders.


async def bets_meet_their_rollbacks(two: Two, *, runs: int) -> None:
    """Every pair nets to zero: the bet is given back, or is refused by the rollback's tombstone."""
    account_id = await two.one.open(balance=500)
    chance = random.Random(45)
    for run in range(runs):
        round_id = new_id()
        bettor, returner = chance.sample(two, 2)
        fused, bet_first = bool(run % 4 < 2), bool(run % 2)
        bet: Call = partial(
            bettor.settle,
            account_id,
            round_id=round_id,
            step=FUSED if fused else STAKE,
            stake=100,
            win=chance.choice((0, 100, 250)) if fused else 0,
        )
        # The rollback of a bet leaves a settled round as it is, so a fused one is rolled back whole.
        rollback: Call = (
            partial(returner.roll_back, account_id, round_id)
            if fused
            else partial(roll_back_bet, returner, account_id, round_id)
        )
        if bet_first:
            assert await statuses(two, account_id, [bet, rollback]) == [APPLIED, REVERSED]
        else:
            assert await statuses(two, account_id, [rollback, bet]) == [VOID, VOID]
        assert await two.one.balance(account_id) == 500
    await two.one.check()


async def test_a_bet_and_its_rollback_net_to_zero_in_both_orders(two: Two) -> None:
    await bets_meet_their_rollbacks(two, runs=100)


@pytest.mark.long
async def test_a_thousand_bets_and_their_rollbacks_net_to_zero(two: Two) -> None:
    await bets_meet_their_rollbacks(two, runs=1000)


async def test_many_bets_and_rollbacks_of_one_account_at_once_net_to_zero(two: Two) -> None:
    account_id = await two.one.open(balance=500)
    chance, calls = random.Random(46), []
    for _ in range(50):
        round_id = new_id()
        for wallet in two:
            calls.append(partial(wallet.settle, account_id, round_id=round_id, step=STAKE, stake=100))
            calls.append(partial(roll_back_bet, wallet, account_id, round_id))
    chance.shuffle(calls)
    answers = await asyncio.gather(*(call() for call in calls))
    # Some stakes find the balance in other stakes and are refused: such a round nets to zero too.
    assert len(answers) == 200
    assert await two.one.balance(account_id) == 500


# A payout and the rollback of its stake.


async def test_a_payout_and_the_rollback_of_its_bet_leave_all_or_nothing(two: Two) -> None:
    account_id = await two.one.open(balance=500)
    for run in range(20):
        round_id = new_id()
        await two.one.settle(account_id, round_id=round_id, step=STAKE, stake=100)
        payout: Call = partial(two.one.settle, account_id, round_id=round_id, step=PAYOUT, win=400)
        rollback: Call = partial(roll_back_bet, two.other, account_id, round_id)
        before = await two.one.balance(account_id)
        if run % 2:
            assert await statuses(two, account_id, [payout, rollback]) == [APPLIED, APPLIED]
            assert await two.one.balance(account_id) == before + 400
        else:
            # The rollback waits twice, for its void and for its reversal: the payout comes between.
            found = await statuses(two, account_id, [rollback, payout])
            assert found in ([APPLIED, APPLIED], [REVERSED, REVERSED])
            paid = before + 400 if found[0] == APPLIED else before + 100
            assert await two.one.balance(account_id) == paid


async def meet_in_the_reversal(two: Two, lock: TextClause) -> tuple[int, list[int]]:
    """A payout that comes just before the reversal itself: the balance after it, and what each answered."""
    account_id, round_id = await two.one.open(balance=500), new_id()
    await two.one.settle(account_id, round_id=round_id, step=STAKE, stake=100)
    order = RollbackOrder(
        round_id=round_id, account_id=account_id, actor="tester", reason="test", traceparent=""
    )

    async def reverse() -> Settlement:
        async with db.transaction(two.other.engine, "reverse") as conn:
            return await ledger.reverse_bet(conn, order, lock=lock)

    payout = partial(two.one.settle, account_id, round_id=round_id, step=PAYOUT, win=400)
    calls: list[Callable[[], Awaitable[wallet_pb2.Settlement | Settlement]]] = [payout, reverse]
    answers = await in_order(two.one, account_id, calls)
    found = [answer.status for answer in answers if not isinstance(answer, BaseException)]
    return await two.one.balance(account_id), [int(status) for status in found]


async def test_the_reversal_of_a_bet_sees_the_payout_that_came_before_it(two: Two) -> None:
    assert await meet_in_the_reversal(two, sql.LOCK_ACCOUNT) == (800, [APPLIED, APPLIED])


async def test_without_the_lock_the_two_wait_for_each_other(two: Two) -> None:
    # The reversal has the payout's key and wants the account, the payout the other way round: at least one of
    # them gives up, whichever is noticed first.
    _, found = await meet_in_the_reversal(two, WITHOUT_ACCOUNT_LOCK)
    assert len(found) < 2


# Verdicts, rollbacks and deposits.


async def in_review(two: Two, *, deposit: int = 0) -> tuple[int, str]:
    """A round in review: 300 are missing, `deposit` has come since."""
    account_id, round_id = await two.one.open(balance=100), new_id()
    await two.one.settle(account_id, round_id=round_id, stake=100, win=400)
    await two.one.withdraw(account_id, 400)
    assert (await two.one.roll_back(account_id, round_id)).status == NEEDS_REVIEW
    if deposit:
        await two.one.deposit(account_id, deposit)
    return account_id, round_id


async def test_of_two_verdicts_at_once_the_first_one_counts(two: Two) -> None:
    cases = (
        ((KEEP, GIVE_BACK), [APPLIED, "ROUND_NOT_IN_REVIEW"], 1000),
        ((GIVE_BACK, KEEP), [REVERSED, "ROUND_NOT_IN_REVIEW"], 700),
        ((KEEP, KEEP), [APPLIED, APPLIED], 1000),
        ((GIVE_BACK, GIVE_BACK), [REVERSED, REVERSED], 700),
    )
    for verdicts, expected, balance in cases:
        account_id, round_id = await in_review(two, deposit=1000)
        calls: list[Call] = [
            partial(wallet.resolve, round_id, verdict) for wallet, verdict in zip(two, verdicts, strict=True)
        ]
        assert await statuses(two, account_id, calls) == expected
        assert await two.one.balance(account_id) == balance


async def test_a_verdict_and_a_rollback_at_once_agree(two: Two) -> None:
    for verdict, balance in ((KEEP, 1000), (GIVE_BACK, 700)):
        for verdict_first in (True, False):
            account_id, round_id = await in_review(two, deposit=1000)
            resolve: Call = partial(two.one.resolve, round_id, verdict)
            roll_back: Call = partial(two.other.roll_back, account_id, round_id)
            calls = [resolve, roll_back] if verdict_first else [roll_back, resolve]
            found = await statuses(two, account_id, calls)
            if verdict == GIVE_BACK:
                assert found == [REVERSED, REVERSED]
            else:
                # The rollback waits twice; when both its waits come first, the verdict is too late.
                assert found in ([APPLIED, APPLIED], [REVERSED, "ROUND_NOT_IN_REVIEW"])
                balance = 1000 if found[0] == APPLIED else 700
            assert await two.one.balance(account_id) == balance


async def test_a_deposit_at_the_same_time_counts_when_it_comes_first(two: Two) -> None:
    for deposit_first in (True, False):
        account_id, round_id = await in_review(two)

        async def deposit(account_id: int = account_id) -> wallet_pb2.Settlement:
            await two.other.deposit(account_id, 300)
            return wallet_pb2.Settlement()

        give_back: Call = partial(two.one.resolve, round_id, GIVE_BACK)
        if deposit_first:
            assert (await statuses(two, account_id, [deposit, give_back]))[1] == REVERSED
        else:
            assert (await statuses(two, account_id, [give_back, deposit]))[0] == NEEDS_REVIEW
            assert (await two.one.resolve(round_id, GIVE_BACK)).status == REVERSED
        assert await two.one.balance(account_id) == 0
