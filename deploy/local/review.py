"""`make review`: the rounds of the running mesh that wait for a person, and a verdict on one of them.

Reviews have no public API: this speaks to game and the wallet as the gateway does, with the mesh's own key.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reelmesh.game.v1 import game_pb2, game_pb2_grpc
from reelmesh.type.v1 import money_pb2
from reelmesh.wallet.v1 import wallet_pb2, wallet_pb2_grpc
from rich.console import Console

from deploy.local import reach
from deploy.local.errors import LocalError, NobodyAnswers
from services.common.currencies import CURRENCIES
from services.common.errors import DomainError

if TYPE_CHECKING:  # the names exist in the type stubs only
    from reelmesh.game.v1.game_pb2_grpc import GameServiceAsyncStub
    from reelmesh.wallet.v1.wallet_pb2_grpc import WalletServiceAsyncStub

_GAME_VERDICTS = {
    "settled": game_pb2.VERDICT_SETTLED,
    "reversed": game_pb2.VERDICT_REVERSED,
    "void": game_pb2.VERDICT_VOID,
}
_WALLET_VERDICTS = {
    "settled": wallet_pb2.REVIEW_VERDICT_SETTLED,
    "reversed": wallet_pb2.REVIEW_VERDICT_REVERSED,
}
# What a service answers that has nothing to decide about a round.
_NOT_HERE = ("ROUND_NOT_FOUND", "ROUND_NOT_IN_REVIEW")
_USAGE = "make review ROUND=... VERDICT=settled|reversed|void ACTOR=... REASON=..."


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A verdict on a round, by whom and why."""

    round_id: str
    verdict: str
    actor: str
    reason: str


def decision(*, round_id: str, verdict: str, actor: str, reason: str) -> Decision | None:
    """What was asked for; None: the list. Raises LocalError for half a verdict."""
    if not (round_id or verdict or actor or reason):
        return None
    if not (round_id and actor and reason and verdict in _GAME_VERDICTS):
        raise LocalError(f"a verdict needs all of it: {_USAGE}")
    return Decision(round_id=round_id, verdict=verdict, actor=actor, reason=reason)


def review(
    console: Console,
    decided: Decision | None,
    *,
    keys_path: Path,
    game_target: str,
    wallet_target: str,
    operator_id: str,
) -> None:
    """Lists what waits, or carries a decision out. Raises LocalError, also when the round stays in review."""
    if not keys_path.exists():
        raise NobodyAnswers("no mesh has run here: start it with `make run` first")
    directory = keys_path.parent

    async def run() -> None:
        async with _desk(directory, game_target, wallet_target, operator_id) as desk:
            for line in [await desk.resolve(decided)] if decided else await desk.waiting():
                console.print(line, soft_wrap=True, markup=False)

    try:
        asyncio.run(run())
    except DomainError as error:
        if error.reason in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
            raise NobodyAnswers("game or the wallet does not answer: is `make run` running?") from None
        raise LocalError(f"{error.reason}: {error.message} {_details(error)}".rstrip()) from None


@asynccontextmanager
async def _desk(
    directory: Path, game_target: str, wallet_target: str, operator_id: str
) -> AsyncIterator["Desk"]:
    channels = [
        reach.channel(directory, target, service=service, instance="review")
        for service, target in (("game", game_target), ("wallet", wallet_target))
    ]
    try:
        yield Desk(
            channels[0].stub(game_pb2_grpc.GameServiceStub),
            channels[1].stub(wallet_pb2_grpc.WalletServiceStub),
            operator_id,
        )
    finally:
        for channel in channels:
            await channel.close()


@dataclass(frozen=True, slots=True)
class Desk:
    """Where one operator's reviews come in."""

    game: "GameServiceAsyncStub"
    wallet: "WalletServiceAsyncStub"
    operator_id: str

    async def waiting(self) -> list[str]:
        """What waits, a line per service that has it, oldest first."""
        found: dict[str, list[str]] = {}
        for round_ in await self._rounds():
            problem = round_.reason_metadata["problem"]
            line = f"  game: {problem}"
            if round_.account_id:  # else game does not know it, and keeps its review only
                line += f" (account {round_.account_id}, stake {_text(round_.stake)})"
            found.setdefault(round_.round_id, []).append(line)
        for asked in await self._reviews():
            who = f"(account {asked.account_id}, asked by {asked.actor}: {asked.reason})"
            problem = f"its rollback takes {_text(asked.missing)}, the balance was {_text(asked.balance)}"
            if asked.external:
                problem = (
                    f"the operator's own wallet has paid, its rollback takes {_text(asked.missing)} there:"
                    " reversed once the operator has given it back by hand, settled if it stands"
                )
            found.setdefault(asked.round_id, []).append(f"  wallet: {problem} {who}")
        if not found:
            return ["no round waits for a person"]
        lines = [line for round_id, said in found.items() for line in (round_id, *said)]
        return [*lines, f"\n{len(found)} waiting: {_USAGE}"]

    async def resolve(self, decided: Decision) -> str:
        """Carries it out at game, which asks the wallet first, or at the wallet that alone has a review.

        What an operator has given back in a wallet of its own is told to ours first.
        """
        if decided.verdict == "reversed" and await self._is_external(decided.round_id):
            await self._ask_wallet(decided)
        request = game_pb2.ResolveReviewRequest(
            operator_id=self.operator_id,
            round_id=decided.round_id,
            verdict=_GAME_VERDICTS[decided.verdict],
            actor=decided.actor,
            reason=decided.reason,
        )
        try:
            round_ = (await self.game.ResolveReview(request)).round
        except DomainError as error:
            if error.reason not in _NOT_HERE or decided.verdict not in _WALLET_VERDICTS:
                raise
            return await self._resolve_at_wallet(decided, error)
        if round_.state == game_pb2.ROUND_STATE_NEEDS_REVIEW:
            raise _stays(decided.round_id)
        state = game_pb2.RoundState.Name(round_.state).removeprefix("ROUND_STATE_")
        return f"{decided.round_id} is {state}"

    async def _is_external(self, round_id: str) -> bool:
        return any(asked.external and asked.round_id == round_id for asked in await self._reviews())

    async def _resolve_at_wallet(self, decided: Decision, not_at_game: DomainError) -> str:
        try:
            settlement = await self._ask_wallet(decided)
        except DomainError as error:
            # Neither has it. Game says more of a round that it knows.
            raise (error if not_at_game.reason == "ROUND_NOT_FOUND" else not_at_game) from None
        if settlement.status == wallet_pb2.SETTLEMENT_STATUS_REVERSED:
            await self._tell_game(settlement)
        status = wallet_pb2.SettlementStatus.Name(settlement.status).removeprefix("SETTLEMENT_STATUS_")
        return f"{decided.round_id} is {status} at the wallet"

    async def _ask_wallet(self, decided: Decision) -> wallet_pb2.Settlement:
        request = wallet_pb2.ResolveReviewRequest(
            operator_id=self.operator_id,
            round_id=decided.round_id,
            verdict=_WALLET_VERDICTS[decided.verdict],
            actor=decided.actor,
            reason=decided.reason,
        )
        settlement = (await self.wallet.ResolveReview(request)).settlement
        if settlement.status == wallet_pb2.SETTLEMENT_STATUS_NEEDS_REVIEW:
            raise _stays(decided.round_id)
        return settlement

    async def _tell_game(self, settlement: wallet_pb2.Settlement) -> None:
        """SETTLED becomes REVERSED there. A round that only the wallet knows is nothing to game."""
        try:
            await self.game.Finish(game_pb2.FinishRequest(settlement=settlement))
        except DomainError as error:
            if error.reason != "ROUND_NOT_FOUND":
                raise

    async def _rounds(self) -> list[game_pb2.Round]:
        request = game_pb2.ListReviewsRequest(operator_id=self.operator_id)
        found: list[game_pb2.Round] = []
        while True:
            page = await self.game.ListReviews(request)
            found += page.rounds
            request.page_token = page.next_page_token
            if not request.page_token:
                return found

    async def _reviews(self) -> list[wallet_pb2.Review]:
        request = wallet_pb2.ListReviewsRequest(operator_id=self.operator_id)
        found: list[wallet_pb2.Review] = []
        while True:
            page = await self.wallet.ListReviews(request)
            found += page.reviews
            request.page_token = page.next_page_token
            if not request.page_token:
                return found


def _stays(round_id: str) -> LocalError:
    return LocalError(f"{round_id} stays in review: it cannot be given back now, see `make review`")


def _details(error: DomainError) -> str:
    return ", ".join(f"{key} {value}" for key, value in error.metadata.items())


def _text(amount: money_pb2.Money) -> str:
    # Text only: amounts are never calculated with as a fraction.
    scale = CURRENCIES[amount.currency_code]
    digits = f"{abs(amount.amount_minor):0{scale + 1}d}"
    whole, part = (digits[:-scale], f".{digits[-scale:]}") if scale else (digits, "")
    sign = "-" if amount.amount_minor < 0 else ""
    return f"{sign}{whole}{part} {amount.currency_code}"
