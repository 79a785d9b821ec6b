"""Rollbacks of rounds that the operator's own wallet has paid: stored, listed, ended by a person (R14)."""

import pytest
from reelmesh.wallet.v1 import wallet_pb2

from services.common.errors import DomainError
from services.wallet.records import Outcome
from tests.integration.wallet.external.stage import Stage, at_once
from tests.integration.wallet.harness import (
    APPLIED,
    GIVE_BACK,
    KEEP,
    NEEDS_REVIEW,
    PAYOUT,
    REVERSED,
    STAKE,
    new_id,
)

pytestmark = pytest.mark.tool("openssl")

PAYOUT_CALL, VOID_CALL = wallet_pb2.EXTERNAL_STEP_PAYOUT, wallet_pb2.EXTERNAL_STEP_VOID
FORCE, STOP = wallet_pb2.STUCK_ACTION_FORCE, wallet_pb2.STUCK_ACTION_STOP


async def review_of(stage: Stage, round_id: str) -> wallet_pb2.Review | None:
    """The round's open review."""
    found = [review for review in await stage.wallet.reviews() if review.round_id == round_id]
    assert len(found) < 2
    return found[0] if found else None


async def open_calls(stage: Stage, round_id: str) -> list[int]:
    """The steps of the round's calls that are not done."""
    return [step for step, call in (await stage.calls(round_id)).items() if call.state != 2]


async def paid(stage: Stage, *, win: int) -> str:
    """A fused round that is in review because its win was paid at the operator."""
    settled = await stage.settle(stake=100, win=win)
    await stage.quiet()
    assert (await stage.wallet.roll_back(stage.account_id, settled.round_id, actor="game")).status == (
        NEEDS_REVIEW
    )
    return settled.round_id


async def test_the_rollback_of_a_paid_round_is_stored_once_and_listed(stage: Stage) -> None:
    settled = await stage.settle(stake=100, win=30)
    await stage.quiet()
    backs = await at_once(
        *(stage.wallet.roll_back(stage.account_id, settled.round_id, actor="game") for _ in range(4))
    )
    assert [back.status for back in backs] == [NEEDS_REVIEW] * 4
    assert sorted(back.replayed for back in backs) == [False, True, True, True]
    review = await review_of(stage, settled.round_id)
    assert review is not None and review.external
    # Less was won than staked: the rollback would bring the player something.
    assert (review.missing.amount_minor, review.balance.amount_minor) == (-70, 0)
    assert (review.account_id, review.actor, review.reason) == (stage.account_id, "game", "test")
    opened = "select count(*) from outbox where kind = 'review' and payload::text like :id"
    assert await stage.wallet.scalar(opened, id=f"%{settled.round_id}%") == 1


async def test_a_paid_round_may_stand_and_stands_for_good(stage: Stage) -> None:
    round_id = await paid(stage, win=250)
    first = await stage.wallet.resolve(round_id, KEEP)
    assert first == await stage.wallet.resolve(round_id, KEEP, actor="bert")
    assert (first.status, first.win.amount_minor) == (APPLIED, 250)
    assert await review_of(stage, round_id) is None
    assert (await stage.wallet.roll_back(stage.account_id, round_id)).status == APPLIED
    with pytest.raises(DomainError, match="ROUND_NOT_IN_REVIEW"):
        await stage.wallet.resolve(round_id, GIVE_BACK)
    assert (await stage.balance(), await stage.in_transit()) == (1150, 0)


@pytest.mark.parametrize("win", [30, 100, 250])
async def test_a_round_that_the_operator_gave_back_by_hand_is_given_back_in_our_books(
    stage: Stage, win: int
) -> None:
    round_id = await paid(stage, win=win)
    sent = list(stage.line.sent)
    done = await stage.wallet.resolve(round_id, GIVE_BACK)
    assert done.status == REVERSED and await review_of(stage, round_id) is None
    again = await stage.wallet.resolve(round_id, GIVE_BACK)
    assert (again.status, again.replayed) == (REVERSED, True)
    assert (await stage.wallet.roll_back(stage.account_id, round_id)).status == REVERSED
    # Nobody told the operator anything: its own books are its own to put right.
    assert (stage.line.sent, await stage.in_transit()) == (sent, 0)
    query = "select verdict_actor || ' ' || verdict_reason from review where round_id = cast(:id as uuid)"
    assert await stage.wallet.scalar(query, id=round_id) == "anna looked at it"
    # What came in and went out by the cashier is what the operator did: stake, win; win, stake.
    query = "select sum(amount_minor) from transfer where account_id = :id"
    assert await stage.wallet.scalar(query, id=stage.account_id) == 0
    with pytest.raises(DomainError, match="ROUND_NOT_IN_REVIEW"):
        await stage.wallet.resolve(round_id, KEEP)


async def test_a_choice_that_was_paid_is_given_back_by_hand_too(stage: Stage) -> None:
    round_id = new_id()
    await stage.settle(round_id=round_id, step=STAKE, stake=100)
    await stage.settle(round_id=round_id, step=PAYOUT, win=270)
    await stage.quiet()
    assert (await stage.wallet.roll_back(stage.account_id, round_id)).status == NEEDS_REVIEW
    review = await review_of(stage, round_id)
    assert review is not None and review.missing.amount_minor == 170
    assert (await stage.wallet.resolve(round_id, GIVE_BACK)).status == REVERSED
    assert [row.status for row in await stage.wallet.known(round_id)] == [REVERSED, REVERSED]
    assert await stage.in_transit() == 0


async def test_two_verdicts_at_once_have_one_winner(stage: Stage) -> None:
    for _ in range(5):
        round_id = await paid(stage, win=30)
        kept, given_back = await at_once(
            stage.wallet.resolve(round_id, KEEP), stage.wallet.resolve(round_id, GIVE_BACK)
        )
        assert isinstance(kept, DomainError) != isinstance(given_back, DomainError)
    assert await stage.in_transit() == 0


async def test_nothing_is_given_back_by_hand_while_the_payout_may_still_be_taken(stage: Stage) -> None:
    stage.line.cut_before.add("payout")
    round_id = await paid(stage, win=30)
    assert (await stage.wallet.resolve(round_id, GIVE_BACK)).status == NEEDS_REVIEW
    assert await review_of(stage, round_id) is not None
    await stage.resolve(round_id, PAYOUT_CALL, STOP)
    assert (await stage.wallet.resolve(round_id, GIVE_BACK)).status == REVERSED
    # It was never paid, and never will be.
    stage.line.cut_before.clear()
    assert await stage.due() == 0
    assert (await stage.resolve(round_id, PAYOUT_CALL, FORCE)).attempts == 1
    assert (await stage.balance(), await stage.in_transit()) == (900, 0)
    assert await open_calls(stage, round_id) == []


async def test_a_rollback_whose_void_was_contradicted_is_in_review_until_it_is_forced(stage: Stage) -> None:
    lost = await stage.settle(stake=100)
    stage.line.answers = {"void": Outcome.APPLIED}
    assert (await stage.wallet.roll_back(stage.account_id, lost.round_id)).status == NEEDS_REVIEW
    review = await review_of(stage, lost.round_id)
    assert review is not None and review.missing.amount_minor == -100
    stage.line.answers.clear()
    await stage.resolve(lost.round_id, VOID_CALL, FORCE)
    assert await review_of(stage, lost.round_id) is None
    assert (await stage.wallet.resolve(lost.round_id, GIVE_BACK)).status == REVERSED
    assert (await stage.balance(), await stage.in_transit()) == (1000, 0)


@pytest.mark.parametrize("verdict", [KEEP, GIVE_BACK])
async def test_a_verdict_ends_the_void_that_a_person_stopped(
    stage: Stage, verdict: wallet_pb2.ReviewVerdict.ValueType
) -> None:
    round_id = new_id()
    await stage.settle(round_id=round_id, step=STAKE, stake=100)
    stage.line.cut_before.add("void")
    with pytest.raises(DomainError, match="UNAVAILABLE"):
        await stage.wallet.roll_back(stage.account_id, round_id)
    await stage.resolve(round_id, VOID_CALL, STOP)
    assert (await stage.wallet.roll_back(stage.account_id, round_id)).status == NEEDS_REVIEW
    with pytest.raises(DomainError, match="UNAVAILABLE"):
        await stage.settle(round_id=round_id, step=PAYOUT, win=70)
    settled = await stage.wallet.resolve(round_id, verdict)
    assert settled.status == (APPLIED if verdict == KEEP else REVERSED)
    assert await open_calls(stage, round_id) == []
    stage.line.cut_before.clear()
    # A round that stands is paid (R8); one that was given back is not.
    paid_out = await stage.settle(round_id=round_id, step=PAYOUT, win=70)
    assert paid_out.status == settled.status
    await stage.quiet()
    assert (await stage.balance(), await stage.in_transit()) == (970 if verdict == KEEP else 900, 0)
    assert (await stage.wallet.roll_back(stage.account_id, round_id)).status == settled.status
    assert (await stage.wallet.roll_back_bet(stage.account_id, round_id)).settlement.status == settled.status
