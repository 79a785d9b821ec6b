"""Giving a whole round back."""

import asyncio

import pytest

from services.common.errors import DomainError
from tests.integration.wallet.harness import (
    APPLIED,
    NEEDS_REVIEW,
    PAYOUT,
    REFUSED,
    REVERSED,
    STAKE,
    VOID,
    Wallet,
    new_id,
    settle_request,
)


async def test_a_fused_round_is_given_back_in_one_movement(wallet: Wallet) -> None:
    account_id, round_id = await wallet.open(balance=500), new_id()
    await wallet.settle(account_id, round_id=round_id, stake=100, win=30)
    reversal = await wallet.roll_back(account_id, round_id)
    assert (reversal.status, reversal.replayed, reversal.account_version) == (REVERSED, False, 3)
    assert reversal.balance_after.amount_minor == await wallet.balance(account_id) == 500


async def test_a_second_rollback_moves_nothing(wallet: Wallet) -> None:
    account_id, round_id = await wallet.open(balance=500), new_id()
    await wallet.settle(account_id, round_id=round_id, stake=100, win=30)
    await wallet.roll_back(account_id, round_id)
    again = await wallet.roll_back(account_id, round_id)
    assert (again.status, again.replayed) == (REVERSED, True)
    assert await wallet.balance(account_id) == 500


async def test_many_rollbacks_at_once_give_back_once(wallet: Wallet, wallet_url: str) -> None:
    account_id, round_id = await wallet.open(balance=500), new_id()
    await wallet.settle(account_id, round_id=round_id, stake=100)
    async with Wallet(wallet_url) as other:
        answers = await asyncio.gather(*(w.roll_back(account_id, round_id) for w in (wallet, other) * 5))
    assert {answer.status for answer in answers} == {REVERSED}
    assert await wallet.balance(account_id) == 500


async def test_after_a_rollback_every_answer_says_reversed(wallet: Wallet) -> None:
    account_id = await wallet.open(balance=500)
    request = settle_request(account_id, stake=100, win=30)
    await wallet.send(request)
    await wallet.roll_back(account_id, request.round_id)
    assert (await wallet.send(request)).status == REVERSED
    assert (await wallet.void(account_id, request.round_id)).status == REVERSED
    assert [row.status for row in await wallet.known(request.round_id)] == [REVERSED]


async def test_an_unknown_round_gets_a_tombstone(wallet: Wallet) -> None:
    account_id, round_id = await wallet.open(balance=500), new_id()
    assert (await wallet.roll_back(account_id, round_id)).status == VOID
    assert (await wallet.settle(account_id, round_id=round_id, stake=100)).status == VOID
    assert await wallet.balance(account_id) == 500


async def test_a_refused_round_stays_refused(wallet: Wallet) -> None:
    account_id, round_id = await wallet.open(balance=50), new_id()
    await wallet.settle(account_id, round_id=round_id, stake=100)
    assert (await wallet.roll_back(account_id, round_id)).status == REFUSED


async def test_a_round_with_a_choice_goes_back_with_its_payout(wallet: Wallet) -> None:
    account_id, round_id = await wallet.open(balance=500), new_id()
    await wallet.settle(account_id, round_id=round_id, step=STAKE, stake=100)
    await wallet.settle(account_id, round_id=round_id, step=PAYOUT, win=400)
    assert (await wallet.roll_back(account_id, round_id)).balance_after.amount_minor == 500
    assert [row.status for row in await wallet.known(round_id)] == [REVERSED, REVERSED]


async def test_rolling_back_a_stake_tombstones_the_payout_that_is_on_its_way(wallet: Wallet) -> None:
    account_id, round_id = await wallet.open(balance=500), new_id()
    await wallet.settle(account_id, round_id=round_id, step=STAKE, stake=100)
    await wallet.roll_back(account_id, round_id)
    late = await wallet.settle(account_id, round_id=round_id, step=PAYOUT, win=400)
    assert (late.status, late.step, late.replayed) == (REVERSED, PAYOUT, True)
    assert await wallet.balance(account_id) == 500
    assert [row.step for row in await wallet.known(round_id)] == [STAKE, PAYOUT]


async def test_a_win_that_was_spent_needs_a_review_and_moves_nothing(wallet: Wallet) -> None:
    account_id, round_id = await wallet.open(balance=100), new_id()
    await wallet.settle(account_id, round_id=round_id, stake=100, win=400)
    await wallet.withdraw(account_id, 101)
    before = await wallet.account(account_id)
    answer = await wallet.roll_back(account_id, round_id)
    assert (answer.status, answer.account_version) == (NEEDS_REVIEW, 0)
    assert await wallet.account(account_id) == before
    assert [row.status for row in await wallet.known(round_id)] == [APPLIED]
    # Nothing was decided: when the money is there again, so is the way back.
    await wallet.deposit(account_id, 1)
    assert (await wallet.roll_back(account_id, round_id)).status == REVERSED
    assert await wallet.balance(account_id) == 0


async def test_rounds_of_one_account_go_back_in_any_order(wallet: Wallet) -> None:
    account_id = await wallet.open(balance=500)
    rounds = [new_id() for _ in range(3)]
    for round_id in rounds:
        await wallet.settle(account_id, round_id=round_id, stake=100, win=20)
    for round_id in (rounds[1], rounds[2], rounds[0]):
        assert (await wallet.roll_back(account_id, round_id)).status == REVERSED
    assert await wallet.balance(account_id) == 500


async def test_a_rollback_for_another_account_is_refused(wallet: Wallet) -> None:
    account_id, other_id, round_id = await wallet.open(balance=500), await wallet.open(), new_id()
    await wallet.settle(account_id, round_id=round_id, stake=100)
    with pytest.raises(DomainError, match="ID_REUSED"):
        await wallet.roll_back(other_id, round_id)


async def test_payout_and_rollback_at_once_leave_nothing_behind(wallet: Wallet, wallet_url: str) -> None:
    account_id = await wallet.open(balance=500)
    async with Wallet(wallet_url) as other:
        for turn in range(20):
            round_id = new_id()
            await wallet.settle(account_id, round_id=round_id, step=STAKE, stake=100)
            calls = [
                wallet.settle(account_id, round_id=round_id, step=PAYOUT, win=400),
                other.roll_back(account_id, round_id),
            ]
            await asyncio.gather(*calls[:: 1 if turn % 2 else -1])
            assert await wallet.balance(account_id) == 500
            assert [row.status for row in await wallet.known(round_id)] == [REVERSED, REVERSED]
