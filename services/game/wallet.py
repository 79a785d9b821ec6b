"""The wallet over the wire: records.Wallet, spoken in the contract."""

from collections.abc import Sequence
from typing import Any

from reelmesh.type.v1 import error_pb2
from reelmesh.wallet.v1 import wallet_pb2, wallet_pb2_grpc

from services.common import telemetry
from services.common.errors import DomainError, Internal, from_proto
from services.game.records import Settle, Settlement, SettleStep, Status

_STEPS = {
    wallet_pb2.SETTLE_STEP_UNSPECIFIED: SettleStep.NONE,
    wallet_pb2.SETTLE_STEP_FUSED: SettleStep.FUSED,
    wallet_pb2.SETTLE_STEP_STAKE: SettleStep.STAKE,
    wallet_pb2.SETTLE_STEP_PAYOUT: SettleStep.PAYOUT,
}
_STEP_VALUES = {step: value for value, step in _STEPS.items()}
_STATUSES = {
    wallet_pb2.SETTLEMENT_STATUS_APPLIED: Status.APPLIED,
    wallet_pb2.SETTLEMENT_STATUS_REFUSED: Status.REFUSED,
    wallet_pb2.SETTLEMENT_STATUS_VOID: Status.VOID,
    wallet_pb2.SETTLEMENT_STATUS_REVERSED: Status.REVERSED,
    wallet_pb2.SETTLEMENT_STATUS_NEEDS_REVIEW: Status.NEEDS_REVIEW,
}
# A wallet of before this field says nothing: then it can only have been the funds.
_REFUSALS = {
    error_pb2.ERROR_REASON_UNSPECIFIED: "",
    error_pb2.ERROR_REASON_INSUFFICIENT_FUNDS: "INSUFFICIENT_FUNDS",
    error_pb2.ERROR_REASON_ACCOUNT_FROZEN: "ACCOUNT_FROZEN",
}


class WalletClient:
    """One per process. Errors: RemoteError as the wallet answered, UNAVAILABLE, DEADLINE_EXCEEDED."""

    def __init__(self, stub: "wallet_pb2_grpc.WalletServiceAsyncStub") -> None:
        self._stub = stub

    async def settle(self, settle: Settle) -> Settlement:
        """Carries out one step, or finds it."""
        answer = await self._stub.Settle(settle_request(settle))
        return settlement_of(answer.settlement)

    async def void(self, rounds: Sequence[tuple[str, int]]) -> Sequence[Settlement | DomainError]:
        """Voids (round_id, account_id) unless known; an answer per round, in order."""
        traceparent = telemetry.traceparent()
        requests = [
            wallet_pb2.VoidRequest(round_id=round_id, account_id=account_id, traceparent=traceparent)
            for round_id, account_id in rounds
        ]
        answer = await self._stub.BatchVoid(wallet_pb2.BatchVoidRequest(requests=requests))
        if len(answer.results) != len(rounds):
            raise Internal()
        return [
            from_proto(result.error) if result.HasField("error") else settlement_of(result.settlement)
            for result in answer.results
        ]

    async def list_settlements(self, round_id: str) -> Sequence[Settlement]:
        """What the wallet knows of a round."""
        answer = await self._stub.GetSettlements(wallet_pb2.GetSettlementsRequest(round_id=round_id))
        return [settlement_of(settlement) for settlement in answer.settlements]

    async def roll_back(self, round_id: str, account_id: int, *, actor: str, reason: str) -> Settlement:
        """Gives a whole round back."""
        request = wallet_pb2.RollbackRoundRequest(
            round_id=round_id, account_id=account_id, actor=actor, reason=reason
        )
        answer = await self._stub.RollbackRound(request)
        return settlement_of(answer.settlement)

    async def roll_back_bet(self, round_id: str, account_id: int, *, actor: str, reason: str) -> Settlement:
        """Gives the stake of a round back that is not settled."""
        request = wallet_pb2.RollbackBetRequest(
            round_id=round_id, account_id=account_id, actor=actor, reason=reason
        )
        answer = await self._stub.RollbackBet(request)
        return settlement_of(answer.settlement)

    async def report_low(self, round_id_low: str) -> None:
        """Says that the rounds under smaller ids are over; what was said before is said already."""
        await self._stub.ReportOpenRounds(wallet_pb2.ReportOpenRoundsRequest(round_id_low=round_id_low))

    async def keep(self, round_id: str, *, operator_id: str, actor: str, reason: str) -> None:
        """Lets a round stand that the wallet has in review; nothing when it has no open review of it."""
        request = wallet_pb2.ResolveReviewRequest(
            operator_id=operator_id,
            round_id=round_id,
            verdict=wallet_pb2.REVIEW_VERDICT_SETTLED,
            actor=actor,
            reason=reason,
        )
        try:
            await self._stub.ResolveReview(request)
        except DomainError as error:
            if error.reason not in ("ROUND_NOT_FOUND", "ROUND_NOT_IN_REVIEW"):
                raise


def settle_request(settle: Settle) -> wallet_pb2.SettleRequest:
    """What takes this to the wallet, whoever carries it."""
    return wallet_pb2.SettleRequest(**settle_fields(settle))


def settle_fields(settle: Settle) -> dict[str, Any]:
    """The same as the fields of its message."""
    code = settle.currency_code
    return {
        "round_id": settle.round_id,
        "step": _STEP_VALUES[settle.step],
        "account_id": settle.account_id,
        "stake": {"currency_code": code, "amount_minor": settle.stake_minor},
        "win": {"currency_code": code, "amount_minor": settle.win_minor},
        "game_id": settle.game_id,
        "seal": settle.seal,
    }


def settlement_of(
    message: wallet_pb2.Settlement, *, traceparent: str = "", outcome_wanted: bool = True
) -> Settlement:
    """The wallet's answer. Errors: KeyError for a step, status or refusal that this version does not know."""
    return Settlement(
        round_id=message.round_id.lower(),
        step=_STEPS[message.step],
        status=_STATUSES[message.status],
        account_id=message.account_id,
        currency_code=message.stake.currency_code,
        stake_minor=message.stake.amount_minor,
        win_minor=message.win.amount_minor,
        balance_after_minor=message.balance_after.amount_minor,
        account_version=message.account_version,
        refusal=_REFUSALS[message.refusal],
        traceparent=traceparent,
        outcome_wanted=outcome_wanted,
    )
