"""Calls that are not answered, or not as they should be: repeated, listed, forced, stopped."""

import asyncio
from pathlib import Path

import pytest
from reelmesh.wallet.v1 import wallet_pb2
from sqlalchemy import text

from services.common import db, fields
from services.common.errors import DomainError
from services.wallet import watches
from services.wallet.external import stuck
from services.wallet.records import CallStep, Outcome, Unanswered
from tests.integration.wallet.external.stage import Stage, at_once
from tests.integration.wallet.harness import (
    APPLIED,
    CONTEXT,
    NEEDS_REVIEW,
    OPERATOR,
    REFUSED,
    VOID,
    Wallet,
    money,
    new_id,
    settle_request,
)
from tests.operators import certificate

pytestmark = pytest.mark.tool("openssl")

ANSWER_SECONDS_MAX = 20.0
STAKE_CALL, PAYOUT_CALL = wallet_pb2.EXTERNAL_STEP_STAKE, wallet_pb2.EXTERNAL_STEP_PAYOUT
VOID_CALL = wallet_pb2.EXTERNAL_STEP_VOID
FORCE, STOP = wallet_pb2.STUCK_ACTION_FORCE, wallet_pb2.STUCK_ACTION_STOP


async def test_a_payout_is_repeated_until_it_is_taken_and_can_be_stopped_and_forced(stage: Stage) -> None:
    stage.line.cut_before.add("payout")
    settled = await stage.settle(stake=100, win=30)
    # Neither verdict nor reply depends on whether the win can be paid (R3).
    assert (settled.status, settled.balance_after.amount_minor) == (APPLIED, 930)
    await stage.quiet()
    assert (await stage.balance(), await stage.in_transit()) == (900, 30)
    for _ in range(2):
        assert await stage.due() == 1
    [call] = await stage.stuck()
    assert (call.round_id, call.step, call.attempts) == (
        settled.round_id,
        PAYOUT_CALL,
        3,
    )
    assert (call.amount, call.last_error, call.stopped) == (money(30), "cut before", False)
    stopped = await stage.resolve(settled.round_id, PAYOUT_CALL, STOP)
    assert stopped.stopped and not stopped.HasField("next_time")
    stage.line.cut_before.clear()
    assert await stage.due() == 0
    assert [call.stopped for call in await stage.stuck()] == [True]
    forced = await stage.resolve(settled.round_id, PAYOUT_CALL, FORCE)
    assert (forced.attempts, forced.stopped, await stage.stuck()) == (4, False, [])
    assert (await stage.balance(), await stage.in_transit()) == (930, 0)
    # Answered: neither does anything any more, and nothing is recorded.
    for action in (STOP, FORCE):
        assert (await stage.resolve(settled.round_id, PAYOUT_CALL, action)).attempts == 4
    query = "select count(*) from external_call_action where round_id = cast(:id as uuid)"
    assert await stage.wallet.scalar(query, id=settled.round_id) == 2


async def test_a_stopped_void_sends_the_round_to_review_until_it_is_forced(stage: Stage) -> None:
    round_id = new_id()
    stage.line.cut_before.update({"stake", "void"})
    with pytest.raises(DomainError, match="UNAVAILABLE"):
        await stage.settle(round_id=round_id, stake=100, win=30)
    with pytest.raises(DomainError, match="UNAVAILABLE"):
        await stage.wallet.void(stage.account_id, round_id)
    await stage.resolve(round_id, VOID_CALL, STOP)
    assert (await stage.wallet.void(stage.account_id, round_id)).status == NEEDS_REVIEW
    stage.line.cut_before.clear()
    await stage.resolve(round_id, VOID_CALL, FORCE)
    assert (await stage.wallet.void(stage.account_id, round_id)).status == VOID


async def test_stuck_calls_come_in_pages_and_only_to_their_operator(stage: Stage) -> None:
    stage.line.cut_before.add("payout")
    rounds = {(await stage.settle(stake=10, win=1)).round_id for _ in range(5)}
    await stage.quiet()
    seen: list[str] = []
    token = ""
    while True:
        request = wallet_pb2.ListStuckCallsRequest(operator_id=OPERATOR, page_size=2, page_token=token)
        page = await stage.wallet.handlers.ListStuckCalls(request, CONTEXT)
        seen += [call.round_id for call in page.calls]
        token = page.next_page_token
        if not token:
            break
    assert sorted(seen) == sorted(rounds)
    # Tried once, and one of them stopped.
    await stage.resolve(seen[0], PAYOUT_CALL, STOP)
    assert [one.value for one in await watches.reviews(stage.wallet.engine).read()][2] == 1
    other = wallet_pb2.ListStuckCallsRequest(operator_id="other")
    assert not (await stage.wallet.handlers.ListStuckCalls(other, CONTEXT)).calls
    with pytest.raises(DomainError, match="PAGE_TOKEN_INVALID"):
        request.page_token = "x"
        await stage.wallet.handlers.ListStuckCalls(request, CONTEXT)
    resolve = wallet_pb2.ResolveStuckCallRequest(
        operator_id="other", round_id=seen[0], step=PAYOUT_CALL, action=FORCE, actor="ann", reason="seen"
    )
    with pytest.raises(DomainError, match="ROUND_NOT_FOUND"):
        await stage.wallet.handlers.ResolveStuckCall(resolve, CONTEXT)
    stage.line.cut_before.clear()
    assert await stage.due() == 4
    await stage.resolve(seen[0], PAYOUT_CALL, FORCE)


async def test_two_replicas_do_not_send_one_due_call_both(stage: Stage, external_url: str) -> None:
    stage.line.cut_before.add("payout")
    rounds = {(await stage.settle(stake=10, win=1)).round_id for _ in range(8)}
    await stage.quiet()
    stage.line.cut_before.clear()
    stage.line.sent.clear()
    async with Wallet(external_url, wallets={OPERATOR: stage.line}) as second:
        async with db.transaction(stage.wallet.engine, "test") as conn:
            await conn.execute(text("update external_call set next_time = clock_timestamp()"))
        counts = await asyncio.gather(
            *(replica.external.send_due(OPERATOR) for replica in (stage.wallet, second) for _ in range(3))
        )
    assert sum(counts) == 8
    assert sorted(stage.line.sent) == sorted(("payout", round_id) for round_id in rounds)
    assert (await stage.balance(), await stage.in_transit()) == (928, 0)


async def test_an_answer_that_contradicts_what_we_know_is_for_people(stage: Stage) -> None:
    stage.line.answers["payout"] = Outcome.VOID
    settled = await stage.settle(stake=100, win=30)
    await stage.quiet()
    [call] = await stage.stuck()
    assert call.stopped and call.last_error == "answered VOID, but the stake was applied"
    assert await stage.in_transit() == 30
    stage.line.answers = {"void": Outcome.APPLIED}
    lost = await stage.settle(stake=100)
    assert (await stage.wallet.roll_back(stage.account_id, lost.round_id)).status == NEEDS_REVIEW
    stage.line.answers.clear()
    for round_id, step in ((settled.round_id, PAYOUT_CALL), (lost.round_id, VOID_CALL)):
        await stage.resolve(round_id, step, FORCE)
    assert (await stage.balance(), await stage.in_transit(), await stage.stuck()) == (930, 0, [])


async def test_frozen_accounts_and_broken_books_send_no_stake_but_know_what_was_sent(stage: Stage) -> None:
    round_id = new_id()
    stage.line.cut_after.add("stake")
    with pytest.raises(DomainError, match="UNAVAILABLE"):
        await stage.settle(round_id=round_id, stake=100, win=30)
    stage.line.cut_after.clear()
    stage.line.sent.clear()
    async with db.transaction(stage.wallet.engine, "test") as conn:
        await conn.execute(text("insert into ledger_break (invariant, detail) values ('I3', 'test')"))
    with pytest.raises(DomainError, match="LEDGER_HALTED"):
        await stage.settle(stake=100)
    async with db.transaction(stage.wallet.engine, "test") as conn:
        await conn.execute(text("delete from ledger_break"))
    await stage.wallet.freeze(stage.account_id)
    refused = await stage.settle(stake=100)
    assert (refused.status, refused.refusal) == (REFUSED, 49) and stage.line.sent == []
    assert (await stage.settle(round_id=round_id, stake=100, win=30)).status == APPLIED
    await stage.quiet()
    assert await stage.balance() == 930


async def test_a_silent_operator_does_not_hold_up_others_of_the_batch(stage: Stage) -> None:
    inside = [await stage.wallet.open(operator_id="with-us", balance=1000) for _ in range(3)]
    silent = asyncio.Event()
    stage.line.before["stake"] = silent.wait  # type: ignore[assignment]
    requests = [settle_request(account_id, stake=100) for account_id in (*inside, stage.account_id)]
    batch = wallet_pb2.BatchSettleRequest(requests=requests)
    results = (await stage.wallet.handlers.BatchSettle(batch, CONTEXT)).results
    # It returned although the operator is silent; the item is unknown, and is asked again.
    assert [result.settlement.status for result in results[:3]] == [APPLIED] * 3
    assert results[3].error.message and not results[3].HasField("settlement")
    silent.set()
    async with asyncio.timeout(ANSWER_SECONDS_MAX):
        while not (again := (await stage.wallet.handlers.BatchSettle(batch, CONTEXT)).results[3]).HasField(
            "settlement"
        ):
            pass
    assert again.settlement.status == APPLIED
    voids = [wallet_pb2.VoidRequest(round_id=new_id(), account_id=i) for i in (inside[0], stage.account_id)]
    answered = await stage.wallet.handlers.BatchVoid(wallet_pb2.BatchVoidRequest(requests=voids), CONTEXT)
    assert [result.settlement.status for result in answered.results] == [VOID, VOID]


async def test_a_wrong_token_and_a_wrong_certificate_are_refused_and_told_clearly(
    stage: Stage, tmp_path: Path
) -> None:
    _, stranger = certificate(tmp_path, "stranger")
    for client, told in (
        (stage.operator.client(token="wrong-token"), "UNAUTHENTICATED: the bearer token is not ours"),
        (stage.operator.client(ca=stranger), "CERTIFICATE_VERIFY_FAILED"),
    ):
        with pytest.raises(Unanswered) as refused:
            await client.balance_minor(player_id=stage.player_id, currency_code="EUR")
        assert told in str(refused.value) and "wrong-token" not in str(refused.value)
        stage.line.client, right = client, stage.line.client
        with pytest.raises(DomainError, match="UNAVAILABLE"):
            await stage.settle(stake=100)
        assert any(told in call.last_error for call in await stage.stuck())
        stage.line.client = right
        await client.close()
    assert await stage.balance() == 1000


async def test_a_call_that_fails_by_a_defect_does_not_keep_the_others_from_being_sent(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.line.cut_before.add("payout")
    rounds = [(await stage.settle(stake=100, win=30)).round_id for _ in range(2)]
    await stage.quiet()
    stage.line.cut_before.clear()

    async def fail_once() -> None:
        del stage.line.before["payout"]
        raise RuntimeError("a defect")

    stage.line.before["payout"] = fail_once
    assert await stage.due() == 2
    assert [record.levelname for record in caplog.records if "not recorded" in record.message] == ["ERROR"]
    await stage.due()
    assert {(await stage.calls(round_id))[2].state for round_id in rounds} == {2}
    assert await stage.balance() == 860


@pytest.mark.parametrize(
    "parts",
    [(10**30, new_id(), 1), (2**31, new_id(), 1), (-1, new_id(), 1), (1, "x", 1), (1, new_id(), 10**9), (1,)],
)
async def test_a_page_token_that_we_did_not_make_is_refused(stage: Stage, parts: tuple[object, ...]) -> None:
    token = fields.encode_page_token(f"stuck/{OPERATOR}", *parts)
    request = wallet_pb2.ListStuckCallsRequest(operator_id=OPERATOR, page_token=token)
    with pytest.raises(DomainError, match="PAGE_TOKEN_INVALID"):
        await stage.wallet.handlers.ListStuckCalls(request, CONTEXT)


async def test_the_reply_does_not_wait_for_the_payout(stage: Stage) -> None:
    payable = asyncio.Event()
    stage.line.before["payout"] = payable.wait  # type: ignore[assignment]
    async with asyncio.timeout(ANSWER_SECONDS_MAX):
        settled = await stage.settle(stake=100, win=30)
    assert settled.status == APPLIED and await stage.in_transit() == 30
    payable.set()
    await stage.quiet()
    assert (await stage.balance(), await stage.in_transit()) == (930, 0)


async def test_a_payout_that_is_answered_three_times_at_once_is_recorded_once(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.line.cut_before.add("payout")
    round_id = (await stage.settle(stake=100, win=30)).round_id
    await stage.quiet()
    stage.line.cut_before.clear()
    async with stage.wallet.engine.connect() as conn:
        call = await stuck.get_call(conn, operator_id=OPERATOR, round_id=round_id, step=CallStep.PAYOUT)
    barrier = asyncio.Barrier(3)

    async def answered() -> None:
        await barrier.wait()

    stage.line.after["payout"] = answered
    assert await at_once(*(stage.wallet.external.deliver(call) for _ in range(3))) == [None] * 3
    # Not because the database refused the second and third.
    assert "not recorded" not in caplog.text
    assert (await stage.balance(), await stage.in_transit()) == (930, 0)
    query = "select count(*) from transfer where account_id = :id"
    assert await stage.wallet.scalar(query, id=stage.account_id) == 2
