"""Calls that were stopped and then settled by hand: our books follow, and their month can be archived."""

import pytest
from reelmesh.wallet.v1 import wallet_pb2

from services.archiving.dropping import ArchiveError
from services.common.errors import DomainError
from services.wallet.months import archive
from tests.integration.wallet.external.stage import OLD, Stage, at_once
from tests.integration.wallet.harness import APPLIED, NEEDS_REVIEW, REVERSED, STAKE, VOID, new_id
from tests.integration.wallet.months import find_month, ids_in

pytestmark = pytest.mark.tool("openssl")

STAKE_CALL, PAYOUT_CALL = wallet_pb2.EXTERNAL_STEP_STAKE, wallet_pb2.EXTERNAL_STEP_PAYOUT
VOID_CALL = wallet_pb2.EXTERNAL_STEP_VOID
FORCE, STOP, SETTLE = (
    wallet_pb2.STUCK_ACTION_FORCE,
    wallet_pb2.STUCK_ACTION_STOP,
    wallet_pb2.STUCK_ACTION_SETTLE,
)


async def unknown_stake(stage: Stage, *, win: int = 0) -> str:
    """A round whose stake the operator never heard of, and whose void was stopped."""
    round_id = new_id()
    stage.line.cut_before.update({"stake", "void"})
    with pytest.raises(DomainError, match="UNAVAILABLE"):
        await stage.settle(round_id=round_id, stake=100, win=win)
    with pytest.raises(DomainError, match="UNAVAILABLE"):
        await stage.wallet.void(stage.account_id, round_id)
    await stage.resolve(round_id, VOID_CALL, STOP)
    assert (await stage.wallet.void(stage.account_id, round_id)).status == NEEDS_REVIEW
    return round_id


async def states(stage: Stage, round_id: str) -> dict[int, tuple[int, int | None]]:
    """State and outcome of the round's calls, by step."""
    return {step: (call.state, call.outcome) for step, call in (await stage.calls(round_id)).items()}


async def actions(stage: Stage, round_id: str) -> int:
    """How often a person settled a call of the round."""
    query = """select count(*) from external_call_action
        where round_id = cast(:id as uuid) and action = 3 and actor = 'ann' and reason = 'seen'"""
    return int(await stage.wallet.scalar(query, id=round_id))


async def test_a_payout_that_was_paid_by_hand_is_over(stage: Stage) -> None:
    stage.line.cut_before.add("payout")
    round_id = (await stage.settle(stake=100, win=30)).round_id
    await stage.quiet()
    with pytest.raises(DomainError, match="FIELD_INVALID") as refused:
        await stage.resolve(round_id, PAYOUT_CALL, SETTLE)
    assert refused.value.metadata["field"] == "action"
    await stage.resolve(round_id, PAYOUT_CALL, STOP)
    settled = await stage.resolve(round_id, PAYOUT_CALL, SETTLE)
    assert settled.settled_by_hand and not settled.stopped
    assert round_id not in {call.round_id for call in await stage.stuck()}
    # Neither again, nor by force, nor by an answer that comes late.
    stage.line.cut_before.clear()
    for action in (SETTLE, FORCE, STOP):
        assert (await stage.resolve(round_id, PAYOUT_CALL, action)).settled_by_hand
    assert (await actions(stage, round_id), await stage.in_transit()) == (1, 0)
    assert (await states(stage, round_id))[2] == (2, 1)
    assert (await stage.settle(round_id=round_id, stake=100, win=30)).balance_after.amount_minor == 930


async def test_a_call_is_settled_by_hand_once(stage: Stage) -> None:
    stage.line.cut_before.add("payout")
    round_id = (await stage.settle(stake=100, win=30)).round_id
    await stage.quiet()
    await stage.resolve(round_id, PAYOUT_CALL, STOP)
    await at_once(*(stage.resolve(round_id, PAYOUT_CALL, SETTLE) for _ in range(4)))
    assert (await actions(stage, round_id), await stage.in_transit()) == (1, 0)
    query = "select count(*) from transfer where account_id = :id and amount_minor < 0"
    assert await stage.wallet.scalar(query, id=stage.account_id) == 1


async def test_a_void_by_hand_ends_the_stake_that_nobody_knew(stage: Stage) -> None:
    round_id = await unknown_stake(stage, win=30)
    assert (await stage.resolve(round_id, VOID_CALL, SETTLE)).settled_by_hand
    assert await states(stage, round_id) == {1: (2, 3), 3: (2, 3)}
    assert (await stage.wallet.void(stage.account_id, round_id)).status == VOID
    assert (await stage.settle(round_id=round_id, stake=100, win=30)).status == VOID
    assert await stage.in_transit() == 0


async def test_a_stake_by_hand_stands_and_its_win_is_sent(stage: Stage) -> None:
    # The operator took it although we never heard, and says that it stands.
    stage.line.cut_after.add("stake")
    round_id = new_id()
    with pytest.raises(DomainError, match="UNAVAILABLE"):
        await stage.settle(round_id=round_id, stake=100, win=30)
    await stage.resolve(round_id, STAKE_CALL, STOP)
    stage.line.cut_before.add("void")
    with pytest.raises(DomainError, match="UNAVAILABLE"):
        await stage.wallet.void(stage.account_id, round_id)
    # A void that is being sent may still be carried out.
    with pytest.raises(DomainError, match="FIELD_INVALID"):
        await stage.resolve(round_id, STAKE_CALL, SETTLE)
    await stage.resolve(round_id, VOID_CALL, STOP)
    assert (await stage.resolve(round_id, STAKE_CALL, SETTLE)).settled_by_hand
    stage.line.cut_before.clear()
    assert (await stage.wallet.void(stage.account_id, round_id)).status == APPLIED
    await stage.due()
    assert await states(stage, round_id) == {1: (2, 1), 2: (2, 1), 3: (2, 1)}
    assert (await stage.balance(), await stage.in_transit()) == (930, 0)
    # It was paid: now it is for people.
    assert (await stage.wallet.roll_back(stage.account_id, round_id)).status == NEEDS_REVIEW


async def test_a_rollback_that_was_made_by_hand_ends_its_review(stage: Stage) -> None:
    round_id = new_id()
    await stage.settle(round_id=round_id, step=STAKE, stake=100)
    stage.line.cut_before.add("void")
    with pytest.raises(DomainError, match="UNAVAILABLE"):
        await stage.wallet.roll_back(stage.account_id, round_id)
    await stage.resolve(round_id, VOID_CALL, STOP)
    assert (await stage.wallet.roll_back(stage.account_id, round_id)).status == NEEDS_REVIEW
    await stage.resolve(round_id, VOID_CALL, SETTLE)
    assert round_id not in {review.round_id for review in await stage.wallet.reviews()}
    assert (await stage.wallet.roll_back(stage.account_id, round_id)).status == REVERSED
    assert await stage.in_transit() == 0


async def test_a_stopped_call_holds_its_month_until_it_is_settled_by_hand(old_stage: Stage) -> None:
    stage, engine = old_stage, old_stage.wallet.engine
    stage.line.cut_before.add("payout")
    round_id = ids_in(OLD)()
    await stage.settle(round_id=round_id, stake=100, win=30)
    await stage.quiet()
    await stage.resolve(round_id, PAYOUT_CALL, STOP)
    with pytest.raises(ArchiveError, match=f"{round_id}: a call to an operator's wallet"):
        await archive.close_month(engine, await find_month(engine, OLD))
    await stage.resolve(round_id, PAYOUT_CALL, SETTLE)
    await archive.close_month(engine, await find_month(engine, OLD))
    assert (await find_month(engine, OLD)).closed
