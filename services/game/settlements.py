"""Finish: what the wallet answered becomes the round's state (R7). The wallet's row is the only arbiter."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db
from services.common.errors import DomainError
from services.game import store
from services.game.errors import RoundNotFound
from services.game.minted import Minted
from services.game.records import Round, Settlement, SettleStep, State, Status, Wallet
from services.game.returns import Returns
from services.game.store import Ruling

log = logging.getLogger(__name__)

Finish = Callable[[Settlement], Awaitable[Round]]
Change = tuple[Round, Settlement, Ruling]


async def finish_batch(
    engine: AsyncEngine, returns: Returns, minted: Minted, items: Sequence[Settlement]
) -> list[Round | DomainError]:
    """Records the wallet's answers; each round as it stands then. At most one item per round.

    Read, judged, inserted: safe without locks, because every row is inserted once by key and none is changed.
    What a judgement saw can only be added to; who is second writes nothing and answers what is stored. Nor is
    a round read that was minted here: it was PENDING, and the insert's key tells whether it still is.
    Errors, per item: ROUND_NOT_FOUND.
    """
    async with db.hot_statements(engine, "game.finish") as conn:
        outcomes = any(item.outcome_wanted for item in items)
        found = {item.round_id: known for item in items if (known := minted.take(item.round_id))}
        unread = [item.round_id for item in items if item.round_id not in found]
        if unread:
            found |= await store.list_rounds_by_id(conn, unread, outcomes=outcomes)
        changes: dict[str, Change] = {}
        for item in items:
            ruling = judge(found[item.round_id], item) if item.round_id in found else None
            if ruling is not None:
                changes[item.round_id] = (found[item.round_id], item, ruling)
        overtaken = []
        if changes:
            times = await store.append_rulings(conn, list(changes.values()))
            for change, time in zip(list(changes.values()), times, strict=True):
                if time is None:
                    overtaken.append(change[0].round_id)
                    del changes[change[0].round_id]
                else:
                    found[change[0].round_id] = _changed(change, time)
        if overtaken:
            found |= await store.list_rounds_by_id(conn, overtaken, outcomes=outcomes)
    for change in changes.values():
        returns.record(change[0], change[2].state)
        if change[2].state is State.NEEDS_REVIEW:
            log.error("round %s needs review: %s", change[0].round_id, change[2].problem)
    return [found.get(item.round_id) or RoundNotFound() for item in items]


def judge(round_: Round, settlement: Settlement) -> Ruling | None:
    """What an answer of the wallet makes of a round. None: nothing, it stays as it is."""
    if round_.state is State.NEEDS_REVIEW or round_.birth is not State.PENDING:
        return None
    problem = contradiction(round_, settlement)
    if problem:
        return None if round_.review_problem else Ruling("REVIEW", State.NEEDS_REVIEW, problem=problem)
    match settlement.status:
        case Status.REVERSED if round_.state is State.SETTLED:
            return Ruling("REVERSAL", State.REVERSED)
        case Status.REVERSED if round_.state in (State.PENDING, State.SETTLING):
            return Ruling("END", State.REVERSED)
        case Status.REFUSED if round_.state is State.PENDING:
            return Ruling("END", State.REFUSED)
        case Status.VOID if round_.state is State.PENDING:
            return Ruling("END", State.VOID)
        case Status.APPLIED:
            return _applied(round_, settlement)
        case _:
            return None


def _applied(round_: Round, settlement: Settlement) -> Ruling | None:
    match settlement.step:
        case SettleStep.FUSED if round_.state is State.PENDING:
            return Ruling("END", State.SETTLED, round_.win_minor)
        # A round that won nothing has nothing to choose about, and needs no payout (R8).
        case SettleStep.STAKE if round_.state is State.PENDING and round_.win_minor == 0:
            return Ruling("END", State.SETTLED)
        case SettleStep.STAKE if round_.state is State.PENDING:
            return Ruling("STEP", State.OPEN, round_.win_minor)
        case SettleStep.PAYOUT if round_.state is State.SETTLING:
            return Ruling("END", State.SETTLED, round_.at_risk_minor)
        case _:
            return None


def contradiction(round_: Round, settlement: Settlement) -> str:
    """How the wallet's row disagrees with the round; "" when it does not. Names no hidden amount (R2)."""
    if settlement.status is Status.NEEDS_REVIEW:
        return "the wallet could not give the round back"
    if settlement.account_id != round_.account_id:
        return "the wallet has it under another account"
    if settlement.status is Status.VOID or settlement.step is SettleStep.NONE:
        return ""
    if settlement.currency_code != round_.currency_code:
        return "the wallet has it in another currency"
    if settlement.step is SettleStep.PAYOUT:
        return _payout_contradiction(round_, settlement)
    if (settlement.step is SettleStep.STAKE) != round_.offers_choice:
        return "the wallet has it with another kind of step"
    if settlement.stake_minor != round_.stake_minor:
        return "the wallet has it with another stake"
    if settlement.win_minor != (0 if round_.offers_choice else round_.win_minor):
        return "the wallet has it with another win"
    return ""


def _payout_contradiction(round_: Round, settlement: Settlement) -> str:
    if settlement.status is Status.REVERSED:
        return ""
    if round_.state not in (State.SETTLING, State.SETTLED, State.REVERSED):
        return "the wallet has a payout of a round that is not over"
    if settlement.win_minor != round_.at_risk_minor:
        return "the wallet has it with another payout"
    return ""


def _changed(change: Change, time: datetime) -> Round:
    """The round as round_view shows it after the change."""
    round_, settlement, ruling = change
    if ruling.place == "REVIEW":
        return replace(round_, state=ruling.state, review_problem=ruling.problem)
    applied = ruling.state in (State.OPEN, State.SETTLED, State.REVERSED)
    ended = ruling.state is not State.OPEN
    return replace(
        round_,
        state=ruling.state,
        stake_applied=round_.stake_applied or applied,
        paid_minor=ruling.amount_minor if ruling.place == "END" else round_.paid_minor,
        balance_after_minor=settlement.balance_after_minor,
        refusal=settlement.refusal,
        end_time=time if ended else None,
    )


async def ask_wallet(wallet: Wallet, finish: Finish, round_: Round) -> Round:
    """A PENDING round as the wallet knows it, recorded; as it is when the wallet knows nothing of it.

    Never voids: the settle may still be on its way. Errors: as the wallet's GetSettlements.
    """
    if round_.state is not State.PENDING:
        return round_
    known = await wallet.list_settlements(round_.round_id)
    return await finish(known[0]) if known else round_


async def read_round(wallet: Wallet, finish: Finish, round_: Round) -> Round:
    """The same for a reader, who is shown the PENDING round when the wallet is silent."""
    try:
        return await ask_wallet(wallet, finish, round_)
    except DomainError as error:
        log.warning("round %s stays pending: %s", round_.round_id, error.reason)
        return round_
