"""The reference wallet keeps the contract: what an operator copies has to be right."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from services.wallet.records import Call, CallState, CallStep, Outcome, Step, Unanswered
from tests.integration.wallet.external.stage import Stage, at_once
from tests.integration.wallet.harness import OPERATOR, new_id

pytestmark = pytest.mark.tool("openssl")


def call_of(stage: Stage, *, amount: int = 100, **changes: Any) -> Call:
    """A call of this player; its step is the method that sends it."""
    now = datetime.now(UTC)
    call = Call(
        round_id=new_id(),
        step=CallStep.STAKE,
        operator_id=OPERATOR,
        player_id=stage.player_id,
        account_id=stage.account_id,
        currency_code="EUR",
        amount_minor=amount,
        game_id="game",
        settle_step=Step.FUSED,
        win_minor=0,
        traceparent="",
        actor="",
        reason="",
        state=CallState.SENT,
        outcome=None,
        balance_after_minor=None,
        attempts=1,
        last_error="",
        next_time=now,
        create_time=now,
    )
    return replace(call, **changes)


async def test_a_repetition_gets_the_first_answer_and_another_body_is_refused(stage: Stage) -> None:
    wallet, stake = stage.line.client, call_of(stage)
    win = replace(stake, amount_minor=30)
    assert [await wallet.stake(stake) for _ in range(2)] == [(Outcome.APPLIED, 900)] * 2
    assert [await wallet.payout(win) for _ in range(2)] == [(Outcome.APPLIED, 930)] * 2
    assert await wallet.stake(stake) == (Outcome.APPLIED, 900)
    for ask, other in (
        (wallet.stake, replace(stake, amount_minor=99)),
        (wallet.stake, replace(stake, game_id="other")),
        (wallet.payout, replace(win, amount_minor=31)),
        (wallet.void, replace(stake, amount_minor=99)),
    ):
        with pytest.raises(Unanswered, match="ALREADY_EXISTS"):
            await ask(other)
    # It was paid, so it stays.
    assert await wallet.void(stake) == (Outcome.APPLIED, 930)
    assert await stage.balance() == 930


async def test_a_void_of_an_unknown_round_is_remembered(stage: Stage) -> None:
    wallet, stake = stage.line.client, call_of(stage)
    assert [await wallet.void(stake) for _ in range(2)] == [(Outcome.VOID, 1000)] * 2
    assert (await wallet.stake(stake)).outcome is Outcome.VOID
    assert (await wallet.payout(stake)).outcome is Outcome.VOID
    assert await stage.balance() == 1000


async def test_a_void_gives_back_once_and_a_refusal_stays_one(stage: Stage) -> None:
    wallet, stake, large = stage.line.client, call_of(stage), call_of(stage, amount=1001)
    await wallet.stake(stake)
    assert [await wallet.void(stake) for _ in range(2)] == [(Outcome.VOID, 1000)] * 2
    assert (await wallet.stake(stake)).outcome is Outcome.VOID
    assert [await wallet.stake(large) for _ in range(2)] == [(Outcome.REFUSED, 1000)] * 2
    assert (await wallet.void(large)).outcome is Outcome.REFUSED
    assert (await wallet.payout(large)).outcome is Outcome.VOID
    assert await stage.balance() == 1000


async def test_what_makes_no_sense_and_whom_it_does_not_know_it_refuses(stage: Stage) -> None:
    wallet = stage.line.client
    for changes, told in (
        ({"amount_minor": 0}, "INVALID_ARGUMENT"),
        ({"game_id": ""}, "INVALID_ARGUMENT"),
        ({"player_id": "nobody"}, "NOT_FOUND"),
    ):
        with pytest.raises(Unanswered, match=told):
            await wallet.stake(call_of(stage, **changes))


async def test_of_eight_stakes_at_once_those_with_funds_are_taken_and_twins_once(stage: Stage) -> None:
    stakes = [call_of(stage, amount=300) for _ in range(4)]
    told = await at_once(*(stage.line.client.stake(stake) for stake in stakes * 2))
    outcomes = [one.outcome for one in told]
    assert outcomes[:4] == outcomes[4:] and outcomes[:4].count(Outcome.APPLIED) == 3
    assert await stage.balance() == 100
