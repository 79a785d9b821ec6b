"""The facts of a round as the services answered them, and what a check makes of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from reelmesh.events.v1 import events_pb2
from reelmesh.game.v1 import game_pb2
from reelmesh.gateway.v1 import gateway_pb2
from reelmesh.session.v1 import session_pb2
from reelmesh.type.v1 import money_pb2
from reelmesh.wallet.v1 import wallet_pb2

OK, OFF = gateway_pb2.CHECK_RESULT_OK, gateway_pb2.CHECK_RESULT_OFF
NOT_YET, UNKNOWN = gateway_pb2.CHECK_RESULT_NOT_YET, gateway_pb2.CHECK_RESULT_UNKNOWN
APPLIED = wallet_pb2.SETTLEMENT_STATUS_APPLIED
REVIEW = "make reconcile puts it in review, make review decides it"


class Verdict(NamedTuple):
    """What became of a promise."""

    result: gateway_pb2.CheckResult.ValueType
    detail: str = ""
    todo: str = ""


@dataclass(slots=True)
class Facts:
    """What each service answered. None: nothing, and `gaps` says why; game's is None also when it has no such
    round."""

    game: game_pb2.RoundRecord | None = None
    session: session_pb2.SpinRecord | None = None
    wallet: wallet_pb2.RoundBooks | None = None
    events: Sequence[events_pb2.Event] | None = None
    events_oldest: datetime | None = None
    """Events stored before this are archived."""
    gaps: dict[str, str] = field(default_factory=dict)

    def unknown(self, *parts: str) -> Verdict | None:
        """The verdict of a check that needs these parts, when one of them is missing."""
        for part in parts:
            if part in self.gaps:
                return Verdict(UNKNOWN, f"{part} did not answer: {self.gaps[part]}")
        if "game" in parts and self.game is None:
            return Verdict(UNKNOWN, "game does not know the round")
        if "wallet" in parts and self.wallet is not None and self.wallet.expired and not self.wallet.steps:
            return Verdict(UNKNOWN, "the wallet's month is archived", "look into the archive's files")
        return None


def booked_state(facts: Facts) -> str:
    """What the wallet's rows make of a round; "NONE" without any."""
    books = facts.wallet
    if books is None or not books.steps:
        return "NONE"
    stake = books.steps[0]
    if books.HasField("reversal"):
        return "REVERSED"
    if stake.status != APPLIED:
        return wallet_pb2.SettlementStatus.Name(stake.status).removeprefix("SETTLEMENT_STATUS_")
    paid = len(books.steps) > 1 and books.steps[1].status == APPLIED
    if stake.step == wallet_pb2.SETTLE_STEP_FUSED or paid:
        return "SETTLED"
    lost = facts.game is not None and facts.game.stake_applied and not facts.game.drawn_win.amount_minor
    return "SETTLED" if lost else "OPEN"


def movements(books: wallet_pb2.RoundBooks) -> Iterator[tuple[wallet_pb2.BookedStep, int]]:
    """What moved the account, and by how much."""
    for step in books.steps:
        if step.account_version:
            yield step, step.win.amount_minor - step.stake.amount_minor
    if books.HasField("reversal"):
        yield books.reversal, books.reversal.stake.amount_minor - books.reversal.win.amount_minor


def text_of(amount: money_pb2.Money) -> str:
    """An amount for people, in minor units."""
    return f"{amount.amount_minor} {amount.currency_code}"


def state_name(state: game_pb2.RoundState.ValueType) -> str:
    """A round's state without its prefix."""
    return game_pb2.RoundState.Name(state).removeprefix("ROUND_STATE_")
