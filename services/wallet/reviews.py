"""Reviews: rollbacks that could not be made, and what a person decides about them."""

from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import TextClause

from services.wallet import ledger, review_store, sql, store
from services.wallet.errors import RoundNotFound, RoundNotInReview
from services.wallet.external import reviews as external_reviews
from services.wallet.months import keeping
from services.wallet.records import RollbackOrder, Settlement, Verdict


async def resolve(
    conn: AsyncConnection,
    *,
    operator_id: str,
    round_id: str,
    verdict: Verdict,
    actor: str,
    reason: str,
    traceparent: str,
    lock: TextClause = sql.LOCK_ACCOUNT,
) -> Settlement:
    """Executes a verdict once; a replay of the same verdict finds what came of it.

    SETTLED is final: a later rollback leaves the round as it is, and who wants it otherwise adjusts. REVERSED
    tries the rollback again: NEEDS_REVIEW when the balance still does not cover it. Where an operator's own
    wallet has paid, REVERSED says that the operator has given it back by hand (external/reviews.py).
    Errors: ROUND_NOT_FOUND, for rounds of other operators too; ROUND_NOT_IN_REVIEW; ID_EXPIRED.
    """
    known = await store.list_settlements(conn, round_id=round_id)
    if not known:
        await keeping.require_unexpired(conn, round_id, "round_id")
        raise RoundNotFound()
    account = await store.lock_account(conn, account_id=known[0].account_id, statement=lock)
    if account is None or account.operator_id != operator_id:
        raise RoundNotFound()
    # Under the account's lock: another verdict or a rollback comes before us, or finds ours.
    review = await review_store.find_review(conn, round_id=round_id)
    if review is None or review.verdict not in (None, verdict):
        stake = (await store.list_settlements(conn, round_id=round_id))[0]
        raise RoundNotInReview(round_id=round_id, state=stake.status.name)
    order = RollbackOrder(
        round_id=round_id,
        account_id=account.account_id,
        actor=actor,
        reason=reason,
        traceparent=traceparent,
    )
    if account.external:
        return await external_reviews.resolve(conn, order, review, verdict=verdict)
    if verdict is Verdict.REVERSED:
        return await ledger.reverse_round(conn, order, lock=lock)
    if review.verdict is None:
        await review_store.close_review(conn, order, verdict=verdict)
    return (await store.list_settlements(conn, round_id=round_id))[-1]
