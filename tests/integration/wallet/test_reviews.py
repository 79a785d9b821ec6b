"""Rollbacks that would make a balance negative: stored, told, ended by a person. 42 (Beexar fixture 0019)."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from reelmesh.wallet.v1 import wallet_pb2

from services.archiving.dropping import ArchiveError
from services.common.errors import DomainError
from services.wallet import review_store, watches
from services.wallet.months import archive
from tests.integration.wallet.barrier import until_waiting
from tests.integration.wallet.harness import (
    APPLIED,
    CONTEXT,
    GIVE_BACK,
    KEEP,
    NEEDS_REVIEW,
    OPERATOR,
    PAYOUT,
    REVERSED,
    STAKE,
    VOID,
    Wallet,
    new_id,
)
from tests.integration.wallet.months import find_month, ids_in, lay_months, month_at
from tests.integration.wallet.test_events import told


async def spent_win(
    wallet: Wallet, *, operator_id: str = OPERATOR, step: wallet_pb2.SettleStep.ValueType = STAKE
) -> tuple[int, str]:
    """An account with nothing on it, and its round: 400 won with 100, all of it withdrawn, in review."""
    account_id, round_id = await wallet.open(balance=100, operator_id=operator_id), new_id()
    if step == STAKE:
        await wallet.settle(account_id, round_id=round_id, step=STAKE, stake=100)
        await wallet.settle(account_id, round_id=round_id, step=PAYOUT, win=400)
    else:
        await wallet.settle(account_id, round_id=round_id, stake=100, win=400)
    await wallet.withdraw(account_id, 400, operator_id=operator_id)
    assert (await wallet.roll_back(account_id, round_id, actor="game")).status == NEEDS_REVIEW
    return account_id, round_id


async def refused(wallet: Wallet, round_id: str, verdict: wallet_pb2.ReviewVerdict.ValueType) -> DomainError:
    """Why a verdict is not executed."""
    with pytest.raises(DomainError) as caught:
        await wallet.resolve(round_id, verdict)
    return caught.value


async def test_a_rollback_of_a_spent_win_is_stored_once_and_says_what_is_missing(wallet: Wallet) -> None:
    account_id, round_id = await spent_win(wallet)
    await wallet.deposit(account_id, 120)
    again = await wallet.roll_back(account_id, round_id, actor="another")
    assert (again.status, again.replayed) == (NEEDS_REVIEW, True)
    [review] = [review for review in await wallet.reviews() if review.round_id == round_id]
    assert (review.account_id, review.actor, review.reason) == (account_id, "game", "test")
    assert (review.missing.amount_minor, review.missing.currency_code) == (300, "EUR")
    # The balance of the last try, whoever made it.
    assert review.balance.amount_minor == await wallet.balance(account_id) == 120
    assert [row.status for row in await wallet.known(round_id)] == [APPLIED, APPLIED]


@pytest.mark.parametrize("step", [STAKE, wallet_pb2.SETTLE_STEP_FUSED])
async def test_a_round_that_may_stand_stands_for_good(
    wallet: Wallet, step: wallet_pb2.SettleStep.ValueType
) -> None:
    account_id, round_id = await spent_win(wallet, step=step)
    first = await wallet.resolve(round_id, KEEP)
    assert first == await wallet.resolve(round_id, KEEP, actor="bert")
    # The round's last movement, as game records it.
    assert (first.status, first.win.amount_minor) == (APPLIED, 400)
    assert first.step == (PAYOUT if step == STAKE else step)
    await wallet.deposit(account_id, 1000)
    later = await wallet.roll_back(account_id, round_id)
    assert (later.status, later.step, later.win.amount_minor) == (APPLIED, first.step, 400)
    assert await wallet.balance(account_id) == 1000
    problem = await refused(wallet, round_id, GIVE_BACK)
    assert (problem.reason, problem.metadata["state"]) == ("ROUND_NOT_IN_REVIEW", "APPLIED")
    decided = await wallet.scalar(
        "select verdict_actor from review where round_id = cast(:id as uuid)", id=round_id
    )
    assert decided == "anna"


async def test_a_round_is_given_back_when_the_balance_covers_it_and_not_before(wallet: Wallet) -> None:
    account_id, round_id = await spent_win(wallet)
    await wallet.deposit(account_id, 299)
    assert (await wallet.resolve(round_id, GIVE_BACK)).status == NEEDS_REVIEW
    [review] = [review for review in await wallet.reviews() if review.round_id == round_id]
    assert (review.balance.amount_minor, review.actor) == (299, "game")
    await wallet.deposit(account_id, 1)
    done = await wallet.resolve(round_id, GIVE_BACK)
    assert (done.status, done.balance_after.amount_minor, done.replayed) == (REVERSED, 0, False)
    again = await wallet.resolve(round_id, GIVE_BACK)
    assert (again.status, again.replayed) == (REVERSED, True)
    assert round_id not in {review.round_id for review in await wallet.reviews()}
    problem = await refused(wallet, round_id, KEEP)
    assert (problem.reason, problem.metadata["state"]) == ("ROUND_NOT_IN_REVIEW", "REVERSED")


async def test_a_later_rollback_that_succeeds_ends_the_review(wallet: Wallet) -> None:
    account_id, round_id = await spent_win(wallet)
    await wallet.deposit(account_id, 300)
    assert (await wallet.roll_back(account_id, round_id)).status == REVERSED
    assert round_id not in {review.round_id for review in await wallet.reviews()}
    assert (await wallet.resolve(round_id, GIVE_BACK)).status == REVERSED
    assert (await refused(wallet, round_id, KEEP)).reason == "ROUND_NOT_IN_REVIEW"


async def test_a_round_in_review_is_settled_to_a_rollback_of_its_bet(wallet: Wallet) -> None:
    account_id, round_id = await spent_win(wallet)
    answer = await wallet.roll_back_bet(account_id, round_id)
    assert answer.unchanged == wallet_pb2.UNCHANGED_ROUND_SETTLED
    assert (await wallet.resolve(round_id, KEEP)).status == APPLIED


async def test_only_the_operator_of_a_round_in_review_decides(wallet: Wallet) -> None:
    _, round_id = await spent_win(wallet, operator_id="other")
    assert (await refused(wallet, round_id, KEEP)).reason == "ROUND_NOT_FOUND"
    assert (await refused(wallet, new_id(), KEEP)).reason == "ROUND_NOT_FOUND"
    assert round_id not in {review.round_id for review in await wallet.reviews()}
    assert [review.round_id for review in await wallet.reviews(operator_id="other")] == [round_id]
    assert (await wallet.resolve(round_id, KEEP, operator_id="other")).status == APPLIED


async def test_a_round_without_a_review_has_no_verdict(wallet: Wallet) -> None:
    account_id = await wallet.open(balance=100)
    settled, voided = new_id(), new_id()
    await wallet.settle(account_id, round_id=settled, stake=100)
    await wallet.void(account_id, voided)
    for round_id, state in ((settled, "APPLIED"), (voided, "VOID")):
        for verdict in (KEEP, GIVE_BACK):
            problem = await refused(wallet, round_id, verdict)
            assert (problem.reason, problem.metadata["state"]) == ("ROUND_NOT_IN_REVIEW", state)
    assert (await wallet.void(account_id, voided)).status == VOID


async def test_open_reviews_are_paged_oldest_first(database: Callable[[str], str]) -> None:
    async with Wallet(database("wallet")) as wallet:
        rounds = [(await spent_win(wallet))[1] for _ in range(5)]
        await wallet.resolve(rounds.pop(1), KEEP)
        found, request = [], wallet_pb2.ListReviewsRequest(operator_id=OPERATOR, page_size=3)
        while True:
            page = await wallet.handlers.ListReviews(request, CONTEXT)
            found += [review.round_id for review in page.reviews]
            request.page_token = page.next_page_token
            if not request.page_token:
                break
        assert found == rounds
        reviews, age, calls = [one.value for one in await watches.reviews(wallet.engine).read()]
        assert (reviews, calls) == (4, 0) and age > 0
        request.page_token, request.operator_id = "", "nobody"
        assert not (await wallet.handlers.ListReviews(request, CONTEXT)).reviews
        request.page_token = "AAAA"
        with pytest.raises(DomainError, match="PAGE_TOKEN_INVALID"):
            await wallet.handlers.ListReviews(request, CONTEXT)
        await wallet.check()


async def test_a_review_is_told_when_it_opens_and_when_it_ends(
    database: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    async with Wallet(database("wallet")) as wallet:
        account_id, round_id = await spent_win(wallet)
        await wallet.roll_back(account_id, round_id)
        await wallet.resolve(round_id, KEEP)
        await wallet.resolve(round_id, KEEP)
        opened, resolved = (await told(wallet))[-2:]
        await wallet.check()
    assert (opened.event_type, resolved.event_type) == ("review.opened", "review.resolved")
    assert {opened.round_id, resolved.round_id} == {round_id}
    assert (opened.account_version, opened.operator_id) == (0, OPERATOR)
    facts = {
        "account_kind": "REAL",
        "currency_code": "EUR",
        "balance_after_minor": 0,
        "round_id": round_id,
        "missing_minor": 300,
    }
    assert json.loads(opened.payload_json) == {**facts, "actor": "game", "reason": "test"}
    assert json.loads(resolved.payload_json) == {
        **facts,
        "actor": "anna",
        "reason": "looked at it",
        "verdict": "SETTLED",
    }
    [line] = [record.getMessage() for record in caplog.records if "needs review" in record.getMessage()]
    assert round_id in line


async def test_a_review_that_is_being_opened_keeps_its_month_open(
    database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, commit, open_review = asyncio.Event(), asyncio.Event(), review_store.open_review

    async def slowly(*args: Any, **kwargs: Any) -> bool:
        done = await open_review(*args, **kwargs)
        opened.set()
        await commit.wait()
        return done

    monkeypatch.setattr(review_store, "open_review", slowly)
    old = month_at(-2)
    async with Wallet(database("wallet")) as wallet:
        await lay_months(wallet.engine, first=old, last=month_at(1))
        account_id, round_id = await wallet.open(balance=100), ids_in(old)()
        await wallet.settle(account_id, round_id=round_id, stake=100, win=500)
        await wallet.withdraw(account_id, 500)
        rolling_back = asyncio.create_task(wallet.roll_back(account_id, round_id))
        await opened.wait()
        month = await find_month(wallet.engine, old)
        closing = asyncio.create_task(archive.close_month(wallet.engine, month))
        async with wallet.engine.connect() as watcher:
            await until_waiting(watcher)
        commit.set()
        assert (await rolling_back).status == NEEDS_REVIEW
        with pytest.raises(ArchiveError, match=f"{round_id}: in review"):
            await closing
        await wallet.check()
