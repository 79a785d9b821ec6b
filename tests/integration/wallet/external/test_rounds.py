"""Rounds of an operator who keeps the money: the real reference wallet, and our books beside it."""

import asyncio
import uuid
from typing import Any

import pytest
from reelmesh.wallet.v1 import wallet_pb2
from sqlalchemy import text

from services.common import db
from services.common.errors import DomainError
from services.wallet.external.operator_wallet import OperatorWalletClient
from tests.integration.wallet.external.stage import Stage, at_once
from tests.integration.wallet.harness import (
    APPLIED,
    CONTEXT,
    DEMO,
    NEEDS_REVIEW,
    OPERATOR,
    PAYOUT,
    REFUSED,
    REVERSED,
    STAKE,
    VOID,
    Wallet,
    money,
    new_id,
)

pytestmark = pytest.mark.tool("openssl")

STAKE_CALL, PAYOUT_CALL = wallet_pb2.EXTERNAL_STEP_STAKE, wallet_pb2.EXTERNAL_STEP_PAYOUT


async def test_a_round_moves_the_operators_money_and_our_books_mirror_it(stage: Stage) -> None:
    settled = await stage.settle(stake=100, win=250)
    assert (settled.status, settled.balance_after.amount_minor) == (APPLIED, 1150)
    await stage.quiet()
    assert (await stage.balance(), await stage.in_transit()) == (1150, 0)
    calls = await stage.calls(settled.round_id)
    assert [(calls[step].state, calls[step].outcome, calls[step].attempts) for step in (1, 2)] == [
        (2, 1, 1)
    ] * 2
    # stake in and lost, win and out: four movements
    assert settled.account_version == 2
    assert (await stage.wallet.account(stage.account_id)).account_version == 3
    again = await stage.settle(round_id=settled.round_id, stake=100, win=250)
    assert (again.status, again.replayed, again.balance_after.amount_minor) == (APPLIED, True, 1150)
    [known] = await stage.wallet.known(settled.round_id)
    assert known.balance_after.amount_minor == 1150


async def test_a_round_that_wins_nothing_needs_no_payout(stage: Stage) -> None:
    settled = await stage.settle(stake=100)
    await stage.quiet()
    assert (await stage.balance(), list(await stage.calls(settled.round_id))) == (900, [1])


async def test_a_refusal_is_stored_and_replayed_when_there_is_money_again(stage: Stage) -> None:
    refused = await stage.settle(stake=1001, win=5000)
    assert (refused.status, refused.balance_after.amount_minor) == (REFUSED, 1000)
    async with db.transaction(stage.operator.engine, "test") as conn:
        await conn.execute(
            text("update player set balance_minor = 9999 where player_id = :id"), {"id": stage.player_id}
        )
    again = await stage.settle(round_id=refused.round_id, stake=1001, win=5000)
    assert (again.status, again.balance_after.amount_minor, await stage.balance()) == (REFUSED, 1000, 9999)


@pytest.mark.parametrize(
    "change", [{"stake": 99}, {"win": 11}, {"game_id": "other"}, {"step": STAKE, "win": 0}]
)
async def test_another_body_is_refused_while_the_stake_is_unknown_and_after(
    stage: Stage, change: dict[str, Any]
) -> None:
    round_id = new_id()
    body: dict[str, Any] = {"round_id": round_id, "stake": 100, "win": 10}
    stage.line.cut_after.add("stake")
    with pytest.raises(DomainError, match="UNAVAILABLE"):
        await stage.settle(**body)
    with pytest.raises(DomainError, match="ID_REUSED"):
        await stage.settle(**body | change)
    stage.line.cut_after.clear()
    assert (await stage.settle(**body)).status == APPLIED
    with pytest.raises(DomainError, match="ID_REUSED"):
        await stage.settle(**body | change)
    await stage.quiet()
    assert await stage.balance() == 910


async def test_a_round_of_another_account_is_refused(stage: Stage) -> None:
    other = str(uuid.uuid4())
    await stage.operator.open(other, balance=1000)
    other_id = await stage.wallet.open(player_id=other)
    inside_id = await stage.wallet.open(operator_id="with-us", balance=1000)
    outside = await stage.settle(stake=100)
    inside = await stage.wallet.settle(inside_id, stake=100)
    for account_id, round_id in (
        (other_id, outside.round_id),
        (inside_id, outside.round_id),
        (stage.account_id, inside.round_id),
    ):
        with pytest.raises(DomainError, match="ID_REUSED"):
            await stage.wallet.settle(account_id, round_id=round_id, stake=100)
        with pytest.raises(DomainError, match="ID_REUSED"):
            await stage.wallet.void(account_id, round_id)


async def test_another_account_leaves_no_tombstone_where_an_answer_belongs(stage: Stage) -> None:
    inside_id = await stage.wallet.open(operator_id="with-us", balance=1000)
    round_id = new_id()
    stage.line.cut_after.add("stake")
    with pytest.raises(DomainError, match="UNAVAILABLE"):
        await stage.settle(round_id=round_id, stake=100)
    for end in (stage.wallet.void, stage.wallet.roll_back, stage.wallet.roll_back_bet):
        with pytest.raises(DomainError, match="ID_REUSED"):
            await end(inside_id, round_id)
    stage.line.cut_after.clear()
    assert (await stage.settle(round_id=round_id, stake=100)).balance_after.amount_minor == 900


async def test_demo_accounts_and_those_opened_before_never_leave_our_wallet(
    stage: Stage, external_url: str
) -> None:
    demo_id = await stage.wallet.open(player_id=stage.player_id, kind=DEMO, balance=500)
    async with Wallet(external_url) as before:
        player_id = str(uuid.uuid4())
        account_id = await before.open(player_id=player_id, balance=500)
    assert await stage.wallet.open(player_id=player_id) == account_id
    for ours in (demo_id, account_id):
        assert (await stage.wallet.settle(ours, stake=100, win=30)).balance_after.amount_minor == 430
    assert stage.line.sent == []


async def test_money_that_is_not_ours_is_neither_deposited_nor_withdrawn(stage: Stage) -> None:
    for move in (stage.wallet.deposit, stage.wallet.withdraw):
        with pytest.raises(DomainError, match="FIELD_INVALID") as refused:
            await move(stage.account_id, 10)
        assert "the operator's own wallet keeps its money" in refused.value.metadata["problem"]


async def test_an_account_shows_the_operators_balance_or_nothing(stage: Stage) -> None:
    assert await stage.wallet.balance(stage.account_id) == 1000
    asked = wallet_pb2.GetAccountBalanceRequest(operator_id=OPERATOR, account_id=stage.account_id)
    assert (await stage.wallet.handlers.GetAccountBalance(asked, CONTEXT)).balance == money(1000)
    with pytest.raises(DomainError, match="ACCOUNT_NOT_FOUND"):
        await stage.wallet.open(player_id="nobody-there")
    await stage.line.client.close()
    stage.line.client = OperatorWalletClient("127.0.0.1:1", token="t", insecure=True)
    with pytest.raises(DomainError, match="UNAVAILABLE"):
        await stage.wallet.balance(stage.account_id)
    with pytest.raises(DomainError, match="UNAVAILABLE"):
        await stage.wallet.handlers.GetAccountBalance(asked, CONTEXT)
    # A freeze waits for nobody, and claims nothing that it does not know.
    freeze = wallet_pb2.FreezeAccountRequest(
        operator_id=OPERATOR, account_id=stage.account_id, actor="ann", reason="stolen card"
    )
    frozen = (await stage.wallet.handlers.FreezeAccount(freeze, CONTEXT)).account
    assert frozen.frozen and not frozen.HasField("balance")
    await stage.line.client.close()


@pytest.mark.parametrize("win", [0, 70])
async def test_a_round_with_a_choice_is_a_stake_and_then_a_payout(stage: Stage, win: int) -> None:
    round_id = new_id()
    with pytest.raises(DomainError, match="STAKE_UNKNOWN"):
        await stage.settle(round_id=round_id, step=PAYOUT, win=win)
    staked = await stage.settle(round_id=round_id, step=STAKE, stake=100)
    paid = await stage.settle(round_id=round_id, step=PAYOUT, win=win)
    assert [(s.status, s.balance_after.amount_minor) for s in (staked, paid)] == [
        (APPLIED, 900),
        (APPLIED, 900 + win),
    ]
    await stage.quiet()
    assert (await stage.balance(), await stage.in_transit()) == (900 + win, 0)
    assert (await stage.calls(round_id))[2].outcome == 1
    with pytest.raises(DomainError, match="ID_REUSED"):
        await stage.settle(round_id=round_id, step=PAYOUT, win=win + 1)


@pytest.mark.parametrize("cut", ["cut_before", "cut_after"])
async def test_an_unknown_stake_is_sent_again_under_its_id_and_taken_once(stage: Stage, cut: str) -> None:
    round_id = new_id()
    getattr(stage.line, cut).add("stake")
    for _ in range(2):
        with pytest.raises(DomainError, match="UNAVAILABLE"):
            await stage.settle(round_id=round_id, stake=100, win=30)
    # Nothing of it can be read before the stake is known (R2).
    assert await stage.wallet.known(round_id) == []
    [call] = [call for call in await stage.stuck() if call.round_id == round_id]
    assert (call.step, call.amount, call.attempts) == (STAKE_CALL, money(100), 2)
    assert call.last_error == cut.replace("_", " ") and not call.HasField("next_time")
    getattr(stage.line, cut).clear()
    assert (await stage.settle(round_id=round_id, stake=100, win=30)).status == APPLIED
    await stage.quiet()
    assert (await stage.balance(), (await stage.calls(round_id))[1].attempts) == (930, 3)


async def test_repetitions_join_the_call_that_is_under_way(stage: Stage) -> None:
    round_id, sent, answered = new_id(), asyncio.Event(), asyncio.Event()

    async def tell_sent() -> None:
        sent.set()

    stage.line.before["stake"] = tell_sent
    stage.line.after["stake"] = answered.wait  # type: ignore[assignment]
    waiting = [asyncio.create_task(stage.settle(round_id=round_id, stake=100)) for _ in range(5)]
    await sent.wait()
    waiting[0].cancel()
    answered.set()
    rest = await asyncio.gather(*waiting[1:])
    assert [settled.status for settled in rest] == [APPLIED] * 4
    assert stage.line.sent == [("stake", round_id)]


async def test_a_void_of_a_round_that_was_never_sent_asks_nobody(stage: Stage) -> None:
    round_id = new_id()
    assert (await stage.wallet.void(stage.account_id, round_id)).status == VOID
    assert (await stage.settle(round_id=round_id, stake=100, win=5)).status == VOID
    assert stage.line.sent == [] and await stage.balance() == 1000


@pytest.mark.parametrize("cut", ["cut_before", "cut_after"])
async def test_a_void_of_an_unknown_stake_waits_for_the_operator_and_is_then_final(
    stage: Stage, cut: str
) -> None:
    round_id = new_id()
    getattr(stage.line, cut).update({"stake", "void"})
    with pytest.raises(DomainError, match="UNAVAILABLE"):
        await stage.settle(round_id=round_id, stake=100, win=30)
    for _ in range(2):
        with pytest.raises(DomainError, match="UNAVAILABLE"):
            await stage.wallet.void(stage.account_id, round_id)
    # From now on the void decides: a stake is not even sent.
    stage.line.sent.clear()
    with pytest.raises(DomainError, match="UNAVAILABLE"):
        await stage.settle(round_id=round_id, stake=100, win=30)
    assert stage.line.sent == []
    getattr(stage.line, cut).clear()
    assert await stage.due() == 1
    assert (await stage.wallet.void(stage.account_id, round_id)).status == VOID
    assert (await stage.settle(round_id=round_id, stake=100, win=30)).status == VOID
    assert await stage.balance() == 1000
    assert {row.state for row in (await stage.calls(round_id)).values()} == {2}


@pytest.mark.parametrize("first", ["stake", "void"])
async def test_a_stakes_answer_and_a_void_that_race_agree_in_both_orders(stage: Stage, first: str) -> None:
    """The stake has reached the operator, its answer has not reached us, and game voids the round."""
    round_id = new_id()
    stake_answered, void_written, void_answered = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def hold_stake() -> None:
        stake_answered.set()
        await (void_written if first == "stake" else void_answered).wait()

    async def hold_void() -> None:
        # Our void is written down and on its way.
        void_written.set()
        if first == "stake":
            await settling_done.wait()

    async def tell_void() -> None:
        void_answered.set()

    settling_done = asyncio.Event()
    stage.line.after["stake"], stage.line.before["void"] = hold_stake, hold_void
    settling = asyncio.create_task(stage.settle(round_id=round_id, stake=100, win=30))
    settling.add_done_callback(lambda _: settling_done.set())
    await stake_answered.wait()
    if first == "void":
        stage.line.after["void"] = tell_void
    voided = await stage.wallet.void(stage.account_id, round_id)
    [settled] = await asyncio.gather(settling, return_exceptions=True)
    assert voided.status == VOID
    # Never APPLIED: the void was under way. Not known, or the void's end, as the void was faster or not.
    if isinstance(settled, wallet_pb2.Settlement):
        assert settled.status == VOID
    else:
        assert isinstance(settled, DomainError) and settled.reason == "UNAVAILABLE"
    await stage.quiet()
    assert (await stage.balance(), await stage.in_transit()) == (1000, 0)
    assert sorted(await stage.calls(round_id)) == [1, 3]


async def test_settles_and_voids_at_once_through_two_replicas_end_alike_everywhere(
    stage: Stage, external_url: str
) -> None:
    async with Wallet(external_url, wallets={OPERATOR: stage.line}) as second:
        for _ in range(15):
            round_id = new_id()

            results = await at_once(
                stage.settle(round_id=round_id, stake=10, win=3),
                second.settle(stage.account_id, round_id=round_id, stake=10, win=3),
                stage.wallet.void(stage.account_id, round_id),
                second.void(stage.account_id, round_id),
            )
            told = {result.status for result in results if isinstance(result, wallet_pb2.Settlement)}
            while await stage.due():
                pass
            [settled] = await stage.wallet.known(round_id)
            assert told <= {settled.status}, results
            [round_] = await stage.operator.rows(
                "select outcome, payout_minor from round where round_id = cast(:id as uuid)", id=round_id
            ) or [None]
            await stage.quiet()
            applied = round_ is not None and round_.outcome == 1
            assert applied == (settled.status == APPLIED)
        assert await stage.in_transit() == 0


async def test_a_lost_round_is_rolled_back_at_the_operator_and_a_won_one_is_for_people(stage: Stage) -> None:
    lost, won = await stage.settle(stake=100), await stage.settle(stake=100, win=30)
    await stage.quiet()
    stage.line.cut_after.add("void")
    with pytest.raises(DomainError, match="UNAVAILABLE"):
        await stage.wallet.roll_back(stage.account_id, lost.round_id)
    stage.line.cut_after.clear()
    assert await stage.due() == 1
    given_back = await stage.wallet.roll_back(stage.account_id, lost.round_id)
    assert (given_back.status, given_back.balance_after.amount_minor) == (REVERSED, 930)
    assert (await stage.wallet.roll_back(stage.account_id, won.round_id)).status == NEEDS_REVIEW
    assert sorted(await stage.calls(won.round_id)) == [1, 2], "no void follows a payout"
    assert (await stage.balance(), await stage.in_transit()) == (930, 0)


async def test_a_round_that_is_given_back_pays_nothing_any_more(stage: Stage) -> None:
    round_id = new_id()
    await stage.settle(round_id=round_id, step=STAKE, stake=100)
    stage.line.cut_before.add("void")
    with pytest.raises(DomainError, match="UNAVAILABLE"):
        await stage.wallet.roll_back(stage.account_id, round_id)
    with pytest.raises(DomainError, match="UNAVAILABLE"):
        await stage.settle(round_id=round_id, step=PAYOUT, win=70)
    stage.line.cut_before.clear()
    assert await stage.due() == 1
    assert (await stage.settle(round_id=round_id, step=PAYOUT, win=70)).status == REVERSED
    assert (await stage.balance(), await stage.in_transit()) == (1000, 0)


async def test_a_payout_and_a_rollback_that_race_have_one_winner(stage: Stage) -> None:
    for _ in range(10):
        round_id = new_id()
        before = await stage.balance()
        await stage.settle(round_id=round_id, step=STAKE, stake=10)

        paid, back = await at_once(
            stage.settle(round_id=round_id, step=PAYOUT, win=7),
            stage.wallet.roll_back(stage.account_id, round_id),
        )
        await stage.quiet()
        while await stage.due():
            pass
        stake, *payouts = await stage.wallet.known(round_id)
        if stake.status == REVERSED:
            assert back.status == REVERSED and await stage.balance() == before
        else:
            assert (paid.status, back.status) == (APPLIED, NEEDS_REVIEW)
            assert [payout.status for payout in payouts] == [APPLIED]
            assert await stage.balance() == before - 3
    assert await stage.in_transit() == 0
