"""Reviews: an operator's verdict is executed at the wallet first, and its answer is recorded (R14)."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db
from services.common.errors import DomainError
from services.game import review_store, seal, store
from services.game.errors import RoundNotFound, RoundNotInReview, VerdictNotAllowed
from services.game.records import Round, Settlement, SettleStep, State, Status, Verdict, Wallet
from services.game.settlements import Finish, ask_wallet

log = logging.getLogger(__name__)

# What the wallet knows of the stake, and what may then be asked. None: it knows nothing.
ALLOWED: dict[Status | None, frozenset[Verdict]] = {
    None: frozenset({Verdict.VOID}),
    Status.VOID: frozenset({Verdict.VOID}),
    Status.REFUSED: frozenset({Verdict.VOID}),
    Status.APPLIED: frozenset({Verdict.SETTLED, Verdict.REVERSED}),
    Status.REVERSED: frozenset({Verdict.REVERSED}),
}

RECORDED = {
    Status.APPLIED: State.SETTLED,
    Status.REFUSED: State.REFUSED,
    Status.VOID: State.VOID,
    Status.REVERSED: State.REVERSED,
}


class Decided(NamedTuple):
    """What became of a stray in review."""

    problem: str
    state: State


class Reviews:
    """Opens and ends reviews."""

    def __init__(self, engine: AsyncEngine, *, wallet: Wallet, finish: Finish, seal_key: bytes) -> None:
        self._engine, self._wallet, self._finish, self._seal_key = engine, wallet, finish, seal_key

    async def resolve(
        self, *, operator_id: str, round_id: str, verdict: Verdict, actor: str, reason: str, traceparent: str
    ) -> Round | Decided:
        """Executes a verdict and records what the wallet answers; a replay of the verdict finds the round.

        The round stays in review when the wallet cannot give it back. Errors: ROUND_NOT_FOUND,
        ROUND_NOT_IN_REVIEW, VERDICT_NOT_ALLOWED, and what the wallet's calls raise.
        """
        async with self._engine.connect() as conn:
            round_ = await store.find_round(conn, round_id)
        if round_ is None:
            return await self._resolve_stray(
                operator_id=operator_id, round_id=round_id, verdict=verdict, actor=actor, reason=reason
            )
        if round_.operator_id != operator_id:
            raise RoundNotFound()
        if round_.state is not State.NEEDS_REVIEW:
            return await self._resolve_later(round_, verdict, actor=actor, reason=reason)
        answer = await self._execute(round_, verdict, actor=actor, reason=reason)
        open_choice = answer.status is Status.APPLIED and answer.step is SettleStep.STAKE
        if answer.status is Status.NEEDS_REVIEW or (open_choice and round_.win_minor > 0):
            # Given back later perhaps; or the stake turned out to be taken, and the payout is to be decided.
            return round_
        async with db.transaction(self._engine, "game.resolve_review") as conn:
            resolved = await store.resolve_review(
                conn,
                answer,
                verdict=verdict,
                actor=actor,
                reason=reason,
                state=RECORDED[answer.status],
                paid_minor=answer.win_minor if answer.status is Status.APPLIED else 0,
                traceparent=traceparent,
            )
        if not resolved:
            # Another verdict was first; what the wallet did for this one still counts (SETTLED -> REVERSED).
            return await self._finish(answer)
        return await self._find(round_id)

    async def open(
        self, *, operator_id: str, round_id: str, problem: str, traceparent: str
    ) -> tuple[bool, review_store.Review | None]:
        """Puts a round in review: whether this did, and the review; None: what the wallet answered ended it.

        Also a stray, which game does not know. Errors: ROUND_NOT_FOUND when it is another operator's, and
        what the wallet's calls raise.
        """
        async with self._engine.connect() as conn:
            round_ = await store.find_round(conn, round_id)
        if round_ is not None and round_.operator_id != operator_id:
            raise RoundNotFound()
        if round_ is not None and round_.state is State.PENDING:
            round_ = await ask_wallet(self._wallet, self._finish, round_)
            if round_.state not in (State.PENDING, State.NEEDS_REVIEW):
                return False, None
        async with db.transaction(self._engine, "game.open_review") as conn:
            if round_ is None:
                opened = await review_store.insert_stray(
                    conn, round_id=round_id, operator_id=operator_id, problem=problem
                )
            else:
                ruling = store.Ruling("REVIEW", State.NEEDS_REVIEW, problem=problem)
                (time,) = await store.append_rulings(conn, [(round_, _nothing(round_, traceparent), ruling)])
                opened = time is not None
            # It was in review before: what differs in another way since then has to be decided, too.
            opened = opened or await review_store.insert_later(
                conn, round_id=round_id, operator_id=operator_id, problem=problem
            )
            review = await review_store.find_review(conn, round_id=round_id, problem=problem)
        if review is not None and review.operator_id != operator_id:
            raise RoundNotFound()
        if opened:
            log.error("round %s needs review: %s", round_id, problem)
        return opened, review

    async def _resolve_later(self, round_: Round, verdict: Verdict, *, actor: str, reason: str) -> Round:
        """Ends a review of a round that had one before: the wallet's answer changes it as any other does."""
        async with self._engine.connect() as conn:
            review = await review_store.find_review(conn, round_id=round_.round_id)
        if review is None or not review.later or review.resolve_time is not None:
            if verdict in (round_.review_verdict, review and review.verdict):
                return round_
            raise RoundNotInReview(round_id=round_.round_id, state=round_.state)
        answer = await self._execute(round_, verdict, actor=actor, reason=reason)
        if answer.status is Status.NEEDS_REVIEW:
            return replace(round_, state=State.NEEDS_REVIEW, review_problem=review.problem)
        left = await self._finish(answer)
        async with db.transaction(self._engine, "game.resolve_later_review") as conn:
            await review_store.resolve(
                conn,
                round_id=round_.round_id,
                later=True,
                verdict=verdict,
                actor=actor,
                reason=reason,
                state=left.state,
            )
        return left

    async def _resolve_stray(
        self, *, operator_id: str, round_id: str, verdict: Verdict, actor: str, reason: str
    ) -> Decided:
        """The same for a round that game does not know: the wallet's row is all there is to decide about."""
        async with self._engine.connect() as conn:
            review = await review_store.find_review(conn, round_id=round_id)
        if review is None or review.operator_id != operator_id:
            raise RoundNotFound()
        if review.resolve_time is not None:
            if review.verdict == verdict:
                return Decided(review.problem, State(review.state))
            raise RoundNotInReview(round_id=round_id, state=review.state)
        if verdict is Verdict.SETTLED:
            await self._wallet.keep(round_id, operator_id=operator_id, actor=actor, reason=reason)
        known = await self._wallet.list_settlements(round_id)
        if verdict not in ALLOWED.get(known[0].status if known else None, frozenset()):
            raise VerdictNotAllowed(verdict=verdict)
        status = known[-1].status if known else Status.VOID
        if verdict is Verdict.REVERSED:
            given_back = await self._wallet.roll_back(
                round_id, known[0].account_id, actor=actor, reason=reason
            )
            status = given_back.status
        if status is Status.NEEDS_REVIEW:
            return Decided(review.problem, State.NEEDS_REVIEW)
        state = RECORDED[status]
        async with db.transaction(self._engine, "game.resolve_stray") as conn:
            resolved = await review_store.resolve(
                conn,
                round_id=round_id,
                later=review.later,
                verdict=verdict,
                actor=actor,
                reason=reason,
                state=state,
            )
        if not resolved:
            return await self._resolve_stray(
                operator_id=operator_id, round_id=round_id, verdict=verdict, actor=actor, reason=reason
            )
        return Decided(review.problem, state)

    async def roll_back(
        self, *, operator_id: str, round_id: str, actor: str, reason: str, bet_only: bool
    ) -> tuple[Round, bool]:
        """Gives a round back at the wallet and records its answer; and whether the round was left as it is.

        `bet_only`: not when the round is settled. Errors: ROUND_NOT_FOUND, and what the wallet's calls raise.
        """
        round_ = await self._find(round_id)
        if round_.operator_id != operator_id:
            raise RoundNotFound()
        ask = self._wallet.roll_back_bet if bet_only else self._wallet.roll_back
        answer = await ask(round_id, round_.account_id, actor=actor, reason=reason)
        if answer.status is not Status.APPLIED:
            await self._finish(answer)
        return await self._find(round_id), answer.status is Status.APPLIED

    async def _find(self, round_id: str) -> Round:
        async with self._engine.connect() as conn:
            round_ = await store.find_round(conn, round_id)
        if round_ is None:
            raise RoundNotFound()
        return round_

    async def _execute(self, round_: Round, verdict: Verdict, *, actor: str, reason: str) -> Settlement:
        if verdict is Verdict.SETTLED:
            # A rollback that could not be made waits at the wallet too. Ended before what stands is read:
            # afterwards no other verdict can change it.
            await self._wallet.keep(
                round_.round_id, operator_id=round_.operator_id, actor=actor, reason=reason
            )
        known = await self._wallet.list_settlements(round_.round_id)
        if verdict not in ALLOWED.get(known[0].status if known else None, frozenset()):
            raise VerdictNotAllowed(verdict=verdict)
        match verdict:
            case Verdict.VOID:
                return await self._void(round_)
            case Verdict.REVERSED:
                return await self._wallet.roll_back(
                    round_.round_id, round_.account_id, actor=actor, reason=reason
                )
            case Verdict.SETTLED:
                return await self._settle(round_, known)

    async def _void(self, round_: Round) -> Settlement:
        (answer,) = await self._wallet.void([(round_.round_id, round_.account_id)])
        if isinstance(answer, DomainError):
            raise answer
        return answer

    async def _settle(self, round_: Round, known: Sequence[Settlement]) -> Settlement:
        """The round stands: its last movement at the wallet, for a choice the payout of what was at risk."""
        stake = known[0]
        if stake.step is not SettleStep.STAKE or round_.win_minor == 0:
            return stake
        if len(known) > 1:
            return known[1]
        return await self._wallet.settle(seal.payout_of(round_, key=self._seal_key))


def _nothing(round_: Round, traceparent: str) -> Settlement:
    """In the place of a wallet's answer where nobody asked it."""
    return Settlement(
        round_id=round_.round_id,
        step=SettleStep.NONE,
        status=Status.NEEDS_REVIEW,
        account_id=round_.account_id,
        currency_code=round_.currency_code,
        stake_minor=0,
        win_minor=0,
        balance_after_minor=0,
        account_version=0,
        traceparent=traceparent,
    )
