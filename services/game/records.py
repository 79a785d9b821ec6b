"""The words of a round: what is asked, drawn, answered and stored. No logic."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import NamedTuple, Protocol

import msgspec

from services.common.errors import DomainError


class Kind(IntEnum):
    """What the account holds. The numbers are those of the contract and of the table."""

    REAL = 1
    DEMO = 2


class State(StrEnum):
    """Where a round stands. The names are those of the contract and of the tables, here and below."""

    PENDING = "PENDING"
    OPEN = "OPEN"
    SETTLING = "SETTLING"
    SETTLED = "SETTLED"
    REFUSED = "REFUSED"
    VOID = "VOID"
    REVERSED = "REVERSED"
    NEEDS_REVIEW = "NEEDS_REVIEW"


class SettleStep(StrEnum):
    """What a settle does at the wallet. NONE: a tombstone of a round that the wallet never knew."""

    NONE = "NONE"
    FUSED = "FUSED"
    STAKE = "STAKE"
    PAYOUT = "PAYOUT"


class Status(StrEnum):
    """The wallet's verdict."""

    APPLIED = "APPLIED"
    REFUSED = "REFUSED"
    VOID = "VOID"
    REVERSED = "REVERSED"
    NEEDS_REVIEW = "NEEDS_REVIEW"


class DecidedBy(StrEnum):
    """Who made a choice."""

    PLAYER = "PLAYER"
    TIMEOUT = "TIMEOUT"
    CLOSE = "CLOSE"


class Verdict(StrEnum):
    """What an operator decided about a round in review."""

    VOID = "VOID"
    SETTLED = "SETTLED"
    REVERSED = "REVERSED"


class Authorization(msgspec.Struct, frozen=True):
    """One spin as session allowed it. Ids are lower-case text, the amount is in minor units."""

    request_id: str
    account_id: int
    session_id: str
    operator_id: str
    player_id: str
    kind: Kind
    game_id: str
    currency_code: str
    stake_minor: int
    mint: bool  # whether an id that game does not know may draw (R4)
    authorize_time: datetime
    traceparent: str = ""
    gateway: str = ""  # the process that asks, as its identity names it
    mode: str = "base"


class Step(NamedTuple):
    """A decided step of a round with a choice."""

    step: int  # from 1
    choice: str
    decided_by: str
    card: str  # RED or BLACK as drawn; empty for COLLECT
    at_risk_minor: int


class Round(msgspec.Struct, frozen=True):
    """A round as round_view derives it. `win_minor` and `outcome` were drawn, whoever may see them (R2).

    The fields are the columns that sql.py selects, in that order. A Struct: hundreds are made per batch.
    """

    kind: Kind
    birth: State  # PENDING, or REFUSED or VOID with nothing drawn
    state: State
    steps: Sequence[Step]
    round_id: str
    account_id: int
    request_id: str
    operator_id: str
    player_id: str
    session_id: str
    game_id: str
    game_version: int
    definition_hash: str
    currency_code: str
    stake_minor: int
    win_minor: int
    outcome: bytes | None  # JSON; None when nothing was drawn
    offers_choice: bool
    birth_reason: str
    birth_metadata: Mapping[str, str] | None
    authorize_time: datetime
    traceparent: str  # of the call that drew it
    gateway: str  # which process asked for the draw
    mode: str  # of the game
    create_time: datetime | None = None  # the database's; None before it is stored
    stake_applied: bool = False  # known to be: from then on the outcome may be seen
    paid_minor: int | None = None
    balance_after_minor: int | None = None
    end_time: datetime | None = None
    review_problem: str = ""
    review_verdict: str = ""
    refusal: str = ""  # why the wallet refused the stake; empty for funds, too, in rows of before this column

    def __repr__(self) -> str:
        """Names the round only: this text reaches logs, the outcome must not."""
        return f"Round({self.round_id}, {self.state})"

    @property
    def at_risk_minor(self) -> int:
        """What the player holds after the last decided step."""
        return self.steps[-1].at_risk_minor if self.steps else self.win_minor

    @property
    def step_next(self) -> int:
        """The number of the next step, from 1."""
        return len(self.steps) + 1


class Settle(msgspec.Struct, frozen=True):
    """What to send to the wallet, sealed. Amounts in minor units."""

    round_id: str
    step: SettleStep
    account_id: int
    game_id: str
    currency_code: str
    stake_minor: int
    win_minor: int
    seal: bytes

    def __repr__(self) -> str:
        """Names the round only: the win may still be hidden."""
        return f"Settle({self.round_id}, {self.step})"


class Settlement(msgspec.Struct, frozen=True):
    """What the wallet answered about one step of a round. Amounts in minor units."""

    round_id: str
    step: SettleStep
    status: Status
    account_id: int
    currency_code: str
    stake_minor: int
    win_minor: int
    balance_after_minor: int
    account_version: int  # 0 when nothing moved
    refusal: str = ""  # the reason of a REFUSED stake
    traceparent: str = ""
    outcome_wanted: bool = True  # whether who records it wants to see the outcome

    def __repr__(self) -> str:
        """Names the round only: the win may still be hidden."""
        return f"Settlement({self.round_id}, {self.step}, {self.status})"


class Wallet(Protocol):
    """The wallet as the rules see it: they may not import the contract. See wallet.py."""

    async def settle(self, settle: Settle) -> Settlement:
        """Carries out one step, or finds it. Errors: as WalletService.Settle."""
        ...

    async def void(self, rounds: Sequence[tuple[str, int]]) -> Sequence[Settlement | DomainError]:
        """Voids (round_id, account_id) unless known; an answer per round."""
        ...

    async def list_settlements(self, round_id: str) -> Sequence[Settlement]:
        """What the wallet knows of a round; nothing, the stake's, or the stake's and the payout's."""
        ...

    async def roll_back(self, round_id: str, account_id: int, *, actor: str, reason: str) -> Settlement:
        """Gives a whole round back. Errors: as WalletService.RollbackRound."""
        ...

    async def roll_back_bet(self, round_id: str, account_id: int, *, actor: str, reason: str) -> Settlement:
        """Gives the stake back of a round that is not settled; APPLIED: it is, and was left as it is.

        Errors: as WalletService.RollbackBet.
        """
        ...

    async def report_low(self, round_id_low: str) -> None:
        """Says that the rounds under smaller ids are over: none of them will be paid any more."""
        ...

    async def keep(self, round_id: str, *, operator_id: str, actor: str, reason: str) -> None:
        """Lets a round stand that the wallet has in review; nothing when it has no open review of it."""
        ...
