"""Reviews: an operator's verdict is executed at the wallet first, and its answer is recorded (R14)."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import db
from services.common.errors import DomainError
from services.game import seal, store
from services.game.errors import RoundNotFound, RoundNotInReview, VerdictNotAllowed
from services.game.records import Round, Settlement, SettleStep, State, Status, Verdict, Wallet
from services.game.settlements import Finish

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


class Reviews:
    """Ends reviews."""

    def __init__(self, engine: AsyncEngine, *, wallet: Wallet, finish: Finish, seal_key: bytes) -> None:
        self._engine, self._wallet, self._finish, self._seal_key = engine, wallet, finish, seal_key

    async def resolve(
        self, *, operator_id: str, round_id: str, verdict: Verdict, actor: str, reason: str, traceparent: str
    ) -> Round:
        """Executes a verdict and records what the wallet answers; a replay of the verdict finds the round.

        The round stays in review when the wallet cannot give it back. Errors: ROUND_NOT_FOUND,
        ROUND_NOT_IN_REVIEW, VERDICT_NOT_ALLOWED, and what the wallet's calls raise.
        """
        round_ = await self._find(round_id)
        if round_.operator_id != operator_id:
            raise RoundNotFound()
        if round_.state is not State.NEEDS_REVIEW:
            if round_.review_verdict == verdict:
                return round_
            raise RoundNotInReview(round_id=round_id, state=round_.state)
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
