"""Reviews of rounds that an operator's own wallet has paid: only the operator can take the money back.

Nothing is sent. SETTLED: the round stands, there and here. REVERSED: the operator has given it back in its
own books by hand, and ours follow. A call that may be answered at any moment has to end first.
"""

from collections.abc import Sequence

from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncConnection

from services.wallet import review_store, store
from services.wallet.external import books
from services.wallet.external import store as external_store
from services.wallet.external.books import Round
from services.wallet.months import keeping
from services.wallet.records import (
    Call,
    CallState,
    CallStep,
    Item,
    Outcome,
    Review,
    RollbackOrder,
    Settlement,
    Status,
    Step,
    Verdict,
)


async def open_review(
    conn: AsyncConnection, round_: Round, stake: Settlement, order: RollbackOrder
) -> Settlement:
    """Stores once that a rollback waits for a person: NEEDS_REVIEW, or what a review let stand.

    Under the account's lock. Errors: ID_EXPIRED when the round's month was closed meanwhile.
    """
    review = await review_store.find_review(conn, round_id=order.round_id)
    if review is not None and review.verdict is Verdict.SETTLED:
        return round_.show(round_.payout or stake)
    missing_minor = _won_minor(round_, stake) - stake.stake_minor
    opened = await review_store.open_review(conn, order, missing_minor=missing_minor, external=True)
    # Only now: whoever closes the month waits for us from here on, or we have waited for it.
    await keeping.require_unexpired(conn, order.round_id, "round_id")
    return _waits(round_, stake, replayed=not opened)


async def resolve(
    conn: AsyncConnection, order: RollbackOrder, review: Review, *, verdict: Verdict
) -> Settlement:
    """Ends a review, under the account's lock; NEEDS_REVIEW while a call of the round is under way."""
    round_ = await books.lock_round(conn, Item(order.round_id, Step.VOID, order.account_id))
    stake = round_.stake
    assert stake is not None, "a review is of a round whose stake was applied"
    if review.verdict is None:
        later = [round_.calls[step] for step in (CallStep.PAYOUT, CallStep.VOID) if step in round_.calls]
        sent = {call.step for call in later if call.state is CallState.SENT}
        if CallStep.VOID in sent or (sent and verdict is Verdict.REVERSED):
            return _waits(round_, stake, replayed=True)
        stopped = [call for call in later if call.state is CallState.STOPPED]
        if verdict is Verdict.REVERSED:
            await _reverse(conn, round_, stake, order)
            await _end(conn, stopped, Outcome.VOID)
        else:
            # The round is not given back, so its void will not be. A payout that was stopped is still owed.
            await _end(conn, [call for call in stopped if call.step is CallStep.VOID], Outcome.APPLIED)
        await review_store.close_review(conn, order, verdict=verdict)
    settlements = await books.show(conn, await store.list_settlements(conn, round_id=order.round_id))
    return settlements[0] if verdict is Verdict.REVERSED else settlements[-1]


async def _reverse(conn: AsyncConnection, round_: Round, stake: Settlement, order: RollbackOrder) -> None:
    """The win comes back in, where it had gone out; the round is reversed; the stake goes out."""
    sent, payout = round_.calls[CallStep.STAKE], round_.calls.get(CallStep.PAYOUT)
    won_minor = _won_minor(round_, stake)
    if won_minor and payout is not None and payout.state is CallState.DONE:
        await books.transfer(conn, sent, amount_minor=won_minor)
    done = await store.insert_reversal(
        conn,
        stake=stake,
        win_minor=won_minor,
        actor=order.actor,
        reason=order.reason,
        traceparent=order.traceparent,
    )
    # It is only written under the account's lock, and an open review keeps the month from being closed.
    assert done is not None, "a round in review was not given back"
    await books.transfer(conn, sent, amount_minor=-stake.stake_minor)


async def _end(conn: AsyncConnection, calls: Sequence[Call], outcome: Outcome) -> None:
    for call in calls:
        await external_store.finish_call(conn, call, outcome=outcome, balance_after_minor=None)


def _won_minor(round_: Round, stake: Settlement) -> int:
    payout = round_.payout
    return stake.win_minor + (payout.win_minor if payout and payout.status is Status.APPLIED else 0)


def _waits(round_: Round, stake: Settlement, *, replayed: bool) -> Settlement:
    return replace(round_.show(stake), status=Status.NEEDS_REVIEW, account_version=0, replayed=replayed)
