"""Giving a stake back while its round is not settled. The numbered cases are those of public contracts."""

from uuid import UUID

import pytest
from reelmesh.wallet.v1 import wallet_pb2
from sqlalchemy import text

from services.common.errors import DomainError
from tests.integration.wallet.harness import (
    APPLIED,
    PAYOUT,
    REFUSED,
    REVERSED,
    STAKE,
    VOID,
    Wallet,
    new_id,
)

NOTHING, ROUND_SETTLED = wallet_pb2.UNCHANGED_UNSPECIFIED, wallet_pb2.UNCHANGED_ROUND_SETTLED


# 37 (Beexar fixture 0018): a rollback applies.
async def test_an_open_stake_comes_back_and_its_payout_can_never_come(wallet: Wallet) -> None:
    account_id, round_id = await wallet.open(balance=500), new_id()
    await wallet.settle(account_id, round_id=round_id, step=STAKE, stake=100)
    answer = await wallet.roll_back_bet(account_id, round_id)
    assert (answer.settlement.status, answer.unchanged) == (REVERSED, NOTHING)
    assert (answer.settlement.replayed, answer.settlement.account_version) == (False, 3)
    late = await wallet.settle(account_id, round_id=round_id, step=PAYOUT, win=400)
    assert (late.status, late.replayed) == (REVERSED, True)
    assert await wallet.balance(account_id) == answer.settlement.balance_after.amount_minor == 500


# 38 (Beexar fixture 0017): a rollback is replayed. 44: two different rollbacks of one bet have one effect.
async def test_rollbacks_by_different_actors_have_one_effect_and_the_first_one_s_name(wallet: Wallet) -> None:
    account_id, round_id = await wallet.open(balance=500), new_id()
    await wallet.settle(account_id, round_id=round_id, step=STAKE, stake=100)
    await wallet.roll_back_bet(account_id, round_id, actor="first")
    again = await wallet.roll_back_bet(account_id, round_id, actor="second")
    whole = await wallet.roll_back(account_id, round_id, actor="third")
    assert (again.settlement.status, again.settlement.replayed, again.unchanged) == (REVERSED, True, NOTHING)
    assert (whole.status, whole.replayed) == (REVERSED, True)
    assert await wallet.balance(account_id) == 500
    actor = await wallet.scalar("select actor from reversal where round_id = cast(:id as uuid)", id=round_id)
    assert actor == "first"


# 39 (Beexar fixture 0015): an unknown original is a success, with a tombstone. 40 (fixture 0016; Evolution):
# the late bet is refused for good.
@pytest.mark.parametrize("step", [STAKE, wallet_pb2.SETTLE_STEP_FUSED])
async def test_after_the_rollback_of_an_unknown_bet_the_bet_moves_nothing(
    wallet: Wallet, step: wallet_pb2.SettleStep.ValueType
) -> None:
    account_id, round_id = await wallet.open(balance=500), new_id()
    answer = await wallet.roll_back_bet(account_id, round_id)
    assert (answer.settlement.status, answer.unchanged) == (VOID, NOTHING)
    for _ in range(2):
        assert (await wallet.settle(account_id, round_id=round_id, step=step, stake=100)).status == VOID
    assert (await wallet.roll_back_bet(account_id, round_id)).settlement.status == VOID
    assert (await wallet.account(account_id)).account_version == 1


# 43 (Evolution: BET_ALREADY_SETTLED as a success): the cancel of a settled bet is a stated no-op.
@pytest.mark.parametrize("win", [0, 400])
async def test_a_settled_round_is_left_as_it_is_and_the_answer_says_so(wallet: Wallet, win: int) -> None:
    account_id = await wallet.open(balance=500)
    fused, paid = new_id(), new_id()
    await wallet.settle(account_id, round_id=fused, stake=100, win=win)
    await wallet.settle(account_id, round_id=paid, step=STAKE, stake=100)
    await wallet.settle(account_id, round_id=paid, step=PAYOUT, win=win)
    before = await wallet.account(account_id)
    for round_id in (fused, paid):
        answer = await wallet.roll_back_bet(account_id, round_id)
        assert (answer.settlement.status, answer.unchanged) == (APPLIED, ROUND_SETTLED)
        assert answer.settlement.stake.amount_minor == 100
    assert await wallet.account(account_id) == before
    assert not await wallet.reviews()


async def test_what_was_never_taken_or_already_given_back_answers_what_stands(wallet: Wallet) -> None:
    account_id = await wallet.open(balance=50)
    refused, voided, reversed_ = new_id(), new_id(), new_id()
    await wallet.settle(account_id, round_id=refused, step=STAKE, stake=100)
    await wallet.void(account_id, voided)
    await wallet.settle(account_id, round_id=reversed_, stake=10, win=20)
    await wallet.roll_back(account_id, reversed_)
    before = await wallet.account(account_id)
    for round_id, status in ((refused, REFUSED), (voided, VOID), (reversed_, REVERSED)):
        answer = await wallet.roll_back_bet(account_id, round_id)
        assert (answer.settlement.status, answer.unchanged) == (status, NOTHING)
    assert await wallet.account(account_id) == before


# 48 (RTG code 53): the rollback of A's bet that is sent for B is refused.
async def test_a_bet_is_given_back_to_nobody_else(wallet: Wallet) -> None:
    account_id, other_id, round_id = await wallet.open(balance=500), await wallet.open(), new_id()
    await wallet.settle(account_id, round_id=round_id, step=STAKE, stake=100)
    with pytest.raises(DomainError, match="ID_REUSED"):
        await wallet.roll_back_bet(other_id, round_id)
    with pytest.raises(DomainError, match="ACCOUNT_NOT_FOUND"):
        await wallet.roll_back_bet(2**40, new_id())
    assert (await wallet.balance(account_id), await wallet.balance(other_id)) == (400, 0)


# 41 (Hub88): a rollback asks for no right to play.
async def test_a_frozen_account_gets_its_stake_back(wallet: Wallet) -> None:
    account_id, round_id = await wallet.open(balance=500), new_id()
    await wallet.settle(account_id, round_id=round_id, step=STAKE, stake=100)
    await wallet.freeze(account_id)
    assert (await wallet.roll_back_bet(account_id, round_id)).settlement.status == REVERSED


# 46 (open-rgs): reversals go latest first, and give back no more than was taken.
async def test_within_a_round_the_payout_goes_back_before_the_stake(wallet: Wallet) -> None:
    account_id, round_id = await wallet.open(balance=100), new_id()
    await wallet.settle(account_id, round_id=round_id, step=STAKE, stake=100)
    await wallet.settle(account_id, round_id=round_id, step=PAYOUT, win=400)
    await wallet.roll_back(account_id, round_id)
    async with wallet.engine.connect() as conn:
        rows = await conn.execute(
            text("select leg, amount_minor from posting where transaction_id = :id order by leg"),
            {"id": UUID(round_id)},
        )
        assert [tuple(row) for row in rows] == [(1, -100), (2, 400), (3, -400), (4, 100)]


# 47 (open-rgs refuses these out of order): rounds do not depend on one another, so any order will do.
async def test_open_stakes_of_one_account_come_back_in_any_order(wallet: Wallet) -> None:
    account_id = await wallet.open(balance=300)
    rounds = [new_id() for _ in range(3)]
    for round_id in rounds:
        await wallet.settle(account_id, round_id=round_id, step=STAKE, stake=100)
    assert await wallet.balance(account_id) == 0
    for round_id in (rounds[1], rounds[0], rounds[2]):
        assert (await wallet.roll_back_bet(account_id, round_id)).settlement.status == REVERSED
    assert await wallet.balance(account_id) == 300
