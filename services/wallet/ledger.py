"""The rules of settles, voids and rollbacks: who gets which answer. The verdict is made by sql.SETTLE."""

from collections.abc import Sequence

from msgspec.structs import replace
from psycopg.errors import CheckViolation
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql.elements import TextClause

from services.common import db, telemetry
from services.common.errors import CurrencyMismatch, DomainError, IdReused, Unavailable
from services.wallet import review_store, sql, store
from services.wallet.errors import AccountNotFound, IdExpired, LedgerHalted, StakeUnknown
from services.wallet.months import keeping
from services.wallet.records import (
    Account,
    External,
    Item,
    Known,
    RollbackOrder,
    Settlement,
    Status,
    Step,
    Verdict,
)

Answer = Settlement | External | DomainError


async def settle_batch(
    engine: AsyncEngine, items: Sequence[Item], *, statement: TextClause = sql.SETTLE
) -> list[Answer]:
    """Settles items in one statement, answers duplicates from what is stored. One answer per item, in order.

    The batcher sends one item per account. Where two come all the same, the statement leaves the second, and
    it is settled by the next one: a deferral is never a verdict. Every statement is a transaction of its own;
    the batcher may run the same items again, and then finds those that were settled.
    """
    answers: dict[int, Answer] = {}
    waiting = list(range(len(items)))
    # Each statement settles at least the first item of every account, so this many are always enough.
    for _ in range(len(items) + 1):
        if not waiting:
            break
        batch = [items[i] for i in waiting]
        links = [
            link
            for item in batch
            if not item.traceparent.endswith("-00") and (link := telemetry.link(item.traceparent))
        ]
        try:
            async with db.hot_statements(engine, "wallet.settle", links=links) as conn:
                settled = await store.settle(conn, batch, statement=statement)
        except CheckViolation:
            refusals = await _refuse_outside(engine, items, waiting)
            if not refusals:
                raise
            answers.update(refusals)
            waiting = [i for i in waiting if i not in refusals]
            continue
        answers.update((i, found) for i, found in zip(waiting, settled, strict=True) if found)
        waiting = [i for i, found in zip(waiting, settled, strict=True) if not found]
        if waiting:
            waiting = await _answer_known(engine, items, waiting, answers)
    return [answers.get(i) or Unavailable() for i in range(len(items))]


async def _refuse_outside(
    engine: AsyncEngine, items: Sequence[Item], waiting: Sequence[int]
) -> dict[int, DomainError]:
    """The items whose month has no partition, each with its error.

    Handlers refuse such ids before they come here, but by months that may have changed since.
    """
    kept = keeping.Kept()
    await kept.refresh(engine)
    refusals = {}
    for i in waiting:
        try:
            kept.require(items[i].round_id)
        except DomainError as error:
            refusals[i] = error
    return refusals


async def _answer_known(
    engine: AsyncEngine, items: Sequence[Item], waiting: Sequence[int], answers: dict[int, Answer]
) -> list[int]:
    """Answers duplicates from a fresh snapshot: it sees what committed while the statement waited."""
    async with engine.connect() as conn:
        known = await store.find_known(conn, [items[i] for i in waiting])
    deferred = []
    for i, row in zip(waiting, known, strict=True):
        answer = answer_known(items[i], row)
        if answer is None:
            deferred.append(i)
        else:
            answers[i] = answer
    return deferred


def answer_known(item: Item, known: Known) -> Answer | None:
    """The answer of an item that the statement did not settle; None: it was deferred, settle it again."""
    if known.expired:
        return IdExpired(field="round_id")
    if known.external:
        return External(item)
    if known.settlement is not None:
        return replay(item, known.settlement)
    if known.account_currency_code is None:
        return AccountNotFound()
    if known.called_elsewhere:
        return IdReused(request_id=item.round_id)
    if item.step is Step.VOID:
        return None
    if item.currency_code != known.account_currency_code:
        return CurrencyMismatch(
            currency_code=item.currency_code, currency_code_expected=known.account_currency_code
        )
    if item.step is Step.PAYOUT:
        if known.stake_step is None:
            return StakeUnknown(round_id=item.round_id)
        if known.stake_step is Step.FUSED or known.stake_account_id != item.account_id:
            return IdReused(request_id=item.round_id)
        return None
    return LedgerHalted() if known.halted else None


def replay(item: Item, stored: Settlement) -> Settlement | DomainError:
    """The answer of an item whose key is decided: what is stored, or ID_REUSED for another body."""
    if stored.account_id != item.account_id:
        return IdReused(request_id=item.round_id)
    if item.step is Step.VOID:
        return stored
    if stored.step is Step.VOID:
        # A tombstone knows the account only; the answer names what was asked for.
        return replace(
            stored,
            step=item.step,
            stake_minor=item.stake_minor,
            win_minor=item.win_minor,
            game_id=item.game_id,
        )
    if _body(item) != _body(stored):
        return IdReused(request_id=item.round_id)
    return stored


def _body(of: Item | Settlement) -> tuple[object, ...]:
    return (of.step, of.stake_minor, of.win_minor, of.currency_code, of.game_id)


async def list_settlements(conn: AsyncConnection, *, round_id: str) -> list[Settlement]:
    """What the wallet knows of a round: the stake's row first, then the payout's."""
    rows = await store.list_settlements(conn, round_id=round_id)
    # The tombstone of a payout has the key of a payout and is read as one.
    return [replace(row, step=Step.PAYOUT) if place == 1 else row for place, row in enumerate(rows)]


async def reverse_round(
    conn: AsyncConnection, order: RollbackOrder, *, lock: TextClause = sql.LOCK_ACCOUNT
) -> Settlement:
    """Gives a known round back, payout first, then stake. The caller made sure that the round is known.

    Nothing moves, and the answer is what stands there, when its stake was not applied or was given back
    before, or when a review decided that the round stands. NEEDS_REVIEW, and a stored review, when the win
    was spent: asking again later may succeed, and ends the review.
    Errors: ACCOUNT_NOT_FOUND, ID_REUSED when the round is another account's, ID_EXPIRED when its month was
    closed meanwhile.
    """
    account, stake, payouts = await _lock_round(conn, order, lock)
    if stake.status is not Status.APPLIED:
        return stake
    review = await review_store.find_review(conn, round_id=order.round_id)
    if review is not None and review.verdict is Verdict.SETTLED:
        # The last movement of the round, as game records it when a review lets it stand.
        return payouts[-1] if payouts else stake
    win_minor = stake.win_minor + sum(p.win_minor for p in payouts if p.status is Status.APPLIED)
    missing_minor = win_minor - stake.stake_minor
    if account.balance_minor < missing_minor:
        opened = await review_store.open_review(conn, order, missing_minor=missing_minor)
        # Only now: whoever closes the month waits for us from here on, or we have waited for it.
        await keeping.require_unexpired(conn, order.round_id, "round_id")
        return replace(
            stake,
            status=Status.NEEDS_REVIEW,
            balance_after_minor=account.balance_minor,
            account_version=0,
            replayed=not opened,
        )
    reversal = await _reverse(conn, order, stake, win_minor=win_minor)
    if review is not None:
        await review_store.close_review(conn, order, verdict=Verdict.REVERSED)
    return reversal


async def reverse_bet(
    conn: AsyncConnection, order: RollbackOrder, *, lock: TextClause = sql.LOCK_ACCOUNT
) -> Settlement:
    """Gives a known stake back while its payout is still to come, and tombstones that payout.

    APPLIED, and nothing moves, when the round is settled: fused, or paid out. Otherwise as reverse_round; it
    never needs a review, because a stake that goes back only adds. The wallet cannot tell a lost round, which
    needs no payout (R8), from one whose payout is still to come: game asks for rounds that have not ended.
    """
    _, stake, payouts = await _lock_round(conn, order, lock)
    if stake.status is not Status.APPLIED or stake.step is Step.FUSED or payouts:
        return stake
    return await _reverse(conn, order, stake, win_minor=0)


async def _lock_round(
    conn: AsyncConnection, order: RollbackOrder, lock: TextClause
) -> tuple[Account, Settlement, list[Settlement]]:
    """The account, locked, and what is stored of the round under that lock: its stake, its payout if any."""
    account = await store.lock_account(conn, account_id=order.account_id, statement=lock)
    if account is None:
        raise AccountNotFound()
    # Read under the lock: a payout that is on its way comes before us, or finds our tombstone.
    found = await store.list_settlements(conn, round_id=order.round_id)
    if not found:
        raise IdExpired(field="round_id")
    stake, *payouts = found
    if stake.account_id != order.account_id:
        raise IdReused(request_id=order.round_id)
    return account, stake, payouts


async def _reverse(
    conn: AsyncConnection, order: RollbackOrder, stake: Settlement, *, win_minor: int
) -> Settlement:
    done = await store.insert_reversal(
        conn,
        stake=stake,
        win_minor=win_minor,
        actor=order.actor,
        reason=order.reason,
        traceparent=order.traceparent,
    )
    # Not because it was there: it is only written under the account's lock, and was looked for under it.
    if done is None:
        raise IdExpired(field="round_id")
    balance_minor, version = done
    return replace(
        stake,
        status=Status.REVERSED,
        balance_after_minor=balance_minor,
        account_version=version,
        current_balance_minor=balance_minor,
        replayed=False,
    )
