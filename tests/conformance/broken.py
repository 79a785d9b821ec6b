"""Ten operators' wallets with one defect each, and the case that names it."""

import asyncio

import grpc
from reelmesh.external_wallet.v1 import external_wallet_pb2 as pb2

from tests.conformance.operator_wallet import REFUSED, VOID, Context, OperatorWallet, Request, Round


class ReexecutesADuplicate(OperatorWallet):
    """A known stake is taken again."""

    def _again(self, request: pb2.StakeRequest, known: Round) -> Round:
        if known.outcome in (REFUSED, VOID):
            return known
        self.memory.balances[request.player_id] -= request.amount.amount_minor
        return self._write(request.round_id, known)


class AcceptsAnAlteredBody(OperatorWallet):
    """The id alone decides."""

    def _same(self, known: Round, request: Request) -> bool:
        return True


class ForgetsRefusals(OperatorWallet):
    """A refused id may be used again."""

    def _write(self, round_id: str, decided: Round) -> Round:
        return decided if decided.outcome == REFUSED else super()._write(round_id, decided)


class BetAfterTombstone(OperatorWallet):
    """The rollback of an unknown bet leaves nothing behind."""

    async def _unknown(self, request: pb2.VoidRequest, context: Context) -> Round:
        return self._round(request, VOID)


class ErrorOnUnknownRollback(OperatorWallet):
    """The rollback of an unknown bet is remembered, but answered by an error."""

    async def _unknown(self, request: pb2.VoidRequest, context: Context) -> Round:
        await super()._unknown(request, context)
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such bet")


class RefusesAWinAfterExpiry(OperatorWallet):
    """No payout without a session."""

    async def _may_be_paid(self, request: pb2.PayoutRequest, context: Context) -> None:
        if request.player_id in self.blocked:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "session expired")


class OverdraftUnderARace(OperatorWallet):
    """The look at the balance and the taking are two trips to a database; others are served between."""

    async def _take(self, request: pb2.StakeRequest) -> bool:
        covered = self.memory.balances[request.player_id] >= request.amount.amount_minor
        await asyncio.sleep(0.05)
        if covered:
            self.memory.balances[request.player_id] -= request.amount.amount_minor
        return covered


class ForgetsIdsOnRestart(OperatorWallet):
    """Balances are on the disk, ids in a cache."""

    async def restart(self) -> None:
        await super().restart()
        self.memory.rounds.clear()


class RollsBackTwice(OperatorWallet):
    """A repeated rollback gives the stake again."""

    def __init__(self) -> None:
        super().__init__()
        self._given_back: set[str] = set()

    def _give_back(self, request: pb2.VoidRequest, known: Round) -> Round:
        self._given_back.add(request.round_id)
        return super()._give_back(request, known)

    def _void_again(self, request: pb2.VoidRequest, known: Round) -> Round:
        return self._give_back(request, known) if request.round_id in self._given_back else known


class AcksBeforeCommit(OperatorWallet):
    """The disk is written when the next one comes."""

    def __init__(self) -> None:
        super().__init__()
        self._late: tuple[str, Round, int] | None = None

    def _commit(self, round_id: str, decided: Round) -> None:
        if self._late is not None:
            late_id, late, balance_minor = self._late
            self.disk.rounds[late_id] = late
            self.disk.balances[late.player_id] = balance_minor
        self._late = (round_id, decided, self.memory.balances[decided.player_id])

    async def restart(self) -> None:
        self._late = None
        await super().restart()


# The case that names the defect, and what it sees.
CAUGHT_BY: dict[type[OperatorWallet], tuple[str, str]] = {
    ReexecutesADuplicate: ("31", "after a repeated stake: expected 990, seen 980"),
    AcceptsAnAlteredBody: ("32", "another amount: expected ALREADY_EXISTS, seen APPLIED"),
    ForgetsRefusals: ("35", "now covered: expected REFUSED, seen APPLIED"),
    BetAfterTombstone: ("40", "a bet after its tombstone: expected VOID, seen APPLIED"),
    ErrorOnUnknownRollback: ("39", "unknown bet: expected VOID, seen NOT_FOUND"),
    RefusesAWinAfterExpiry: ("24", "payout after expiry: expected APPLIED, seen FAILED_PRECONDITION"),
    OverdraftUnderARace: ("F6", "stakes applied: expected 8, seen "),
    ForgetsIdsOnRestart: ("34", "a stake again, restart: expected APPLIED with balance 9"),
    RollsBackTwice: ("38", "after a repeated rollback: expected 1000, seen 1010"),
    AcksBeforeCommit: ("34", "after the restart, 8 stakes answered: expected 920, seen 930"),
}
