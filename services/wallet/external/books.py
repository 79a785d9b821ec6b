"""What an operator's wallet's answer does to our books. Everything here runs under the account's lock.

Our books mirror the operator's. A stake that the operator took comes in from the cashier and goes to the
house in one transaction; a win goes from the house to the account, and out to the cashier when the operator
has paid it. So the balance of such an account is what is on its way to the player, and the rules of the
books hold.
"""

import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncConnection

from services.common.errors import DomainError, FieldInvalid, IdReused
from services.common.fields import uuid7
from services.wallet import ledger, review_store, store
from services.wallet.external import store as external_store
from services.wallet.months import keeping
from services.wallet.records import (
    Account,
    Call,
    CallState,
    CallStep,
    Item,
    Outcome,
    Refusal,
    RollbackOrder,
    Settlement,
    Status,
    Step,
    Told,
    TransferOrder,
    TransferType,
    Verdict,
)

log = logging.getLogger(__name__)

# A call is due again after this long, longer than an attempt takes; then after twice as long each time.
WAIT_S = 1.0


@dataclass(frozen=True, slots=True)
class Round:
    """What is stored of a round, read under its account's lock."""

    account: Account
    stake: Settlement | None  # or the tombstone in its place
    payout: Settlement | None
    calls: Mapping[CallStep, Call]

    def show(self, settlement: Settlement) -> Settlement:
        """With the balance that the operator told, and what is due to it, instead of that of our books."""
        return _show(settlement, self.calls)


async def show(conn: AsyncConnection, settlements: Sequence[Settlement]) -> list[Settlement]:
    """The settlements of one round, with the balance that the operator told where it keeps the money."""
    if not settlements:
        return []
    calls = await external_store.list_calls(conn, round_id=settlements[0].round_id)
    return [_show(settlement, {call.step: call for call in calls}) for settlement in settlements]


async def record(conn: AsyncConnection, call: Call, told: Told) -> Call | None:
    """Does once what an answer calls for, and nothing where it comes too late; a payout that is due now."""
    round_ = await lock_round(conn, item_of(call))
    if round_.calls[call.step].state is CallState.DONE:
        return None
    if call.step is CallStep.STAKE:
        if round_.stake is not None or CallStep.VOID in round_.calls:
            return None
        return await _record_stake(conn, round_, call, told)
    if call.step is CallStep.PAYOUT:
        await _record_payout(conn, round_, call, told)
    else:
        await _record_void(conn, round_, call, told)
    return None


async def settle_by_hand(conn: AsyncConnection, call: Call) -> bool:
    """Records what a stopped call asks for as done, by a person; False where it was answered before.

    Of a stake: it was taken and stands, so a void that was stopped is not to come any more. Of a payout: it
    was paid. Of a void: the stake was given back, or never taken. A payout that a stake calls for is sent.
    Errors: FIELD_INVALID unless the call is stopped, and a void of its round too.
    """
    round_ = await lock_round(conn, item_of(call))
    call, void = round_.calls[call.step], round_.calls.get(CallStep.VOID)
    if call.state is CallState.DONE:
        return False
    under_way = call.step is CallStep.STAKE and void is not None and void.state is CallState.SENT
    if call.state is not CallState.STOPPED or under_way:
        raise FieldInvalid(field="action", problem="the call, or the void of its stake, is not stopped")
    if call.step is CallStep.STAKE:
        await _record_stake(conn, round_, call, Told(Outcome.APPLIED, None))
        if void is not None:
            await _finish(conn, void, Told(Outcome.APPLIED, None))
    elif call.step is CallStep.PAYOUT:
        await _record_payout(conn, round_, call, Told(Outcome.APPLIED, None))
    else:
        await _record_void(conn, round_, call, Told(Outcome.VOID, None))
    return True


async def _record_stake(conn: AsyncConnection, round_: Round, call: Call, told: Told) -> Call | None:
    """Makes the answer the round's verdict; the payout that it calls for."""
    item = item_of(call)
    transfer_id, payout = None, None
    if told.outcome is Outcome.APPLIED:
        transfer_id = await transfer(conn, call, amount_minor=call.amount_minor)
        await _settle(conn, item)
        if call.win_minor:
            payout = await insert_call(
                conn, round_.account, item, CallStep.PAYOUT, amount_minor=call.win_minor
            )
    elif told.outcome is Outcome.REFUSED:
        await _settle(conn, item, status=Status.REFUSED, refusal=Refusal.INSUFFICIENT_FUNDS)
    else:
        await _settle(conn, item._replace(step=Step.VOID, stake_minor=0, win_minor=0, game_id=""))
    await _finish(conn, call, told, transfer_id=transfer_id)
    return payout


async def _record_payout(conn: AsyncConnection, round_: Round, call: Call, told: Told) -> None:
    if told.outcome is not Outcome.APPLIED:
        await _stop(conn, call, f"answered {told.outcome.name}, but the stake was applied")
        return
    transfer_id = None
    if call.amount_minor:
        transfer_id = await transfer(conn, call, amount_minor=-call.amount_minor)
    await _finish(conn, call, told, transfer_id=transfer_id)


async def _record_void(conn: AsyncConnection, round_: Round, call: Call, told: Told) -> None:
    if told.outcome is Outcome.APPLIED or (round_.stake is not None and told.outcome is not Outcome.VOID):
        await _stop(conn, call, f"answered {told.outcome.name}, which the other calls of the round exclude")
        return
    transfer_id = None
    if round_.stake is None:
        await _settle(conn, item_of(call))
        sent = round_.calls[CallStep.STAKE]
        # A refusal that was not heard is a void as well: the stake was never taken.
        await _finish(conn, sent, Told(Outcome.VOID, told.balance_after_minor))
    elif round_.stake.status is Status.APPLIED:
        done = await store.insert_reversal(
            conn,
            stake=round_.stake,
            win_minor=0,
            actor=call.actor,
            reason=call.reason,
            traceparent=call.traceparent,
        )
        assert done is not None, "a reversal is only written under the account's lock"
        transfer_id = await transfer(conn, call, amount_minor=-call.amount_minor)
        # Where there is one: it was stopped, went to review, and was forced.
        order = RollbackOrder(
            round_id=call.round_id,
            account_id=call.account_id,
            actor=call.actor,
            reason=call.reason,
            traceparent=call.traceparent,
        )
        await review_store.close_review(conn, order, verdict=Verdict.REVERSED)
    await _finish(conn, call, told, transfer_id=transfer_id)


async def lock_round(conn: AsyncConnection, item: Item) -> Round:
    """The item's round, under its account's lock. Errors: ID_REUSED for a round of another account."""
    account = await store.lock_account(conn, account_id=item.account_id)
    settlements = await store.list_settlements(conn, round_id=item.round_id)
    calls = await external_store.list_calls(conn, round_id=item.round_id)
    owners = {one.account_id for one in settlements} | {one.account_id for one in calls}
    if account is None or not account.external or owners - {item.account_id}:
        raise IdReused(request_id=item.round_id)
    stake, payout = [*settlements, None, None][:2]
    return Round(account, stake, payout, {call.step: call for call in calls})


async def find_settled(conn: AsyncConnection, item: Item) -> Settlement | None:
    """What was just decided about an item; None when nothing was."""
    settlements = await show(conn, await store.list_settlements(conn, round_id=item.round_id))
    at_key = settlements[1:] if item.step is Step.PAYOUT else settlements[:1]
    if not at_key:
        return None
    answer = ledger.replay(item, at_key[0])
    if isinstance(answer, DomainError):
        raise answer
    return replace(answer, replayed=False)


async def _settle(conn: AsyncConnection, item: Item, **verdict: Any) -> None:
    settled = await external_store.settle(conn, item, **verdict)
    assert settled, "the round's key was looked for under the account's lock"


async def insert_call(
    conn: AsyncConnection, account: Account, item: Item, step: CallStep, *, amount_minor: int, **who: str
) -> Call:
    """Writes a call that is about to be made; `who`: actor and reason of a rollback.

    Errors: ID_REUSED, ID_EXPIRED.
    """
    stake = step is CallStep.STAKE
    inserted = await external_store.insert_call(
        conn,
        round_id=item.round_id,
        step=step,
        operator_id=account.operator_id,
        account_id=account.account_id,
        amount_minor=amount_minor,
        game_id=item.game_id,
        traceparent=item.traceparent,
        wait_s=WAIT_S,
        settle_step=item.step if stake else None,
        win_minor=item.win_minor if stake else 0,
        **who,
    )
    if not inserted:
        # At the same time for another account, whose lock is not ours.
        raise IdReused(request_id=item.round_id)
    # Only now: whoever closes the round's month waits for us from here on, or we have waited for it. A stake
    # that the operator took for a closed month could never be recorded.
    await keeping.require_unexpired(conn, item.round_id, "round_id")
    calls = await external_store.list_calls(conn, round_id=item.round_id)
    return next(call for call in calls if call.step is step)


async def transfer(conn: AsyncConnection, call: Call, *, amount_minor: int) -> uuid.UUID:
    """Between account and cashier: what the operator's wallet has done. Returns its id."""
    transfer_id = uuid7()
    order = TransferOrder(
        operator_id=call.operator_id,
        request_id=transfer_id,
        account_id=call.account_id,
        currency_code=call.currency_code,
        type=TransferType.DEPOSIT if amount_minor > 0 else TransferType.WITHDRAWAL,
        amount_minor=amount_minor,
        traceparent=call.traceparent,
    )
    inserted = await store.insert_transfer(conn, order, transfer_id=transfer_id, refusal="")
    assert inserted, "the id is new"
    return transfer_id


async def _finish(
    conn: AsyncConnection, call: Call, told: Told, *, transfer_id: uuid.UUID | None = None
) -> None:
    await external_store.finish_call(
        conn,
        call,
        outcome=told.outcome,
        balance_after_minor=told.balance_after_minor,
        transfer_id=transfer_id,
    )


async def _stop(conn: AsyncConnection, call: Call, contradiction: str) -> None:
    log.error(
        "round %s: operator %s's %s is stopped, a person has to look: %s",
        *(call.round_id, call.operator_id, call.step.name, contradiction),
    )
    await external_store.stop_call(conn, call, last_error=contradiction)


def item_of(call: Call) -> Item:
    """What is settled when a stake or a void is answered; of a payout, what was settled before it."""
    if call.step is CallStep.VOID:
        return Item(call.round_id, Step.VOID, call.account_id, traceparent=call.traceparent)
    stake = call.step is CallStep.STAKE
    return Item(
        call.round_id,
        call.settle_step or Step.PAYOUT,
        call.account_id,
        call.currency_code,
        call.amount_minor if stake else 0,
        call.win_minor if stake else call.amount_minor,
        call.game_id,
        call.traceparent,
    )


def _show(settlement: Settlement, calls: Mapping[CallStep, Call]) -> Settlement:
    stake, void = calls.get(CallStep.STAKE), calls.get(CallStep.VOID)
    told = void if void is not None and void.balance_after_minor is not None else stake
    if told is None or told.balance_after_minor is None:
        return settlement
    due_minor = settlement.win_minor if settlement.status is Status.APPLIED else 0
    balance_minor = told.balance_after_minor + due_minor
    return replace(settlement, balance_after_minor=balance_minor, current_balance_minor=balance_minor)
