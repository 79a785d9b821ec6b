"""What wallet, game and events each say of one round. Amounts in minor units, ids lower-case text."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple


class Owner(NamedTuple):
    """Whose round it is."""

    operator_id: str
    account_id: int
    kind: int  # 1 real, 2 demo
    currency_code: str


class Change(NamedTuple):
    """What game recorded of a round after its draw."""

    place: str  # STEP, END, REVERSAL, REVIEW, VERDICT; step 0 alone of the steps: the others tell nobody
    state: str
    amount_minor: int  # at risk, or paid
    balance_after_minor: int
    account_version: int  # 0 when nothing moved
    time: datetime


class GameRound(NamedTuple):
    """A round as game has it."""

    round_id: str
    owner: Owner
    birth: str
    offers_choice: bool
    stake_minor: int
    win_minor: int | None  # as drawn; None while its stake is not known to be applied (R2)
    at_risk_minor: int | None  # after the last choice; None as above, or without one
    settling: bool  # the last choice is made
    create_time: datetime
    changes: Sequence[Change]
    problem: str  # of its review, open or decided; empty when there never was one
    verdict: str  # empty while it waits

    @property
    def state(self) -> str:
        """Where it stands, an open review left aside."""
        states = [change.state for change in self.changes if change.place != "REVIEW"]
        if any(change.place == "REVERSAL" for change in self.changes):
            return "REVERSED"
        if states and states[-1] == "OPEN" and self.settling:
            return "SETTLING"
        return states[-1] if states else self.birth

    @property
    def time(self) -> datetime:
        """When something was last recorded of it."""
        return max([self.create_time, *(change.time for change in self.changes)])


class Entry(NamedTuple):
    """A verdict of the wallet, or what gave a round back."""

    step: int  # 0 tombstone, 1 fused, 2 stake, 3 payout
    status: int  # 1 applied, 2 refused, 3 void, 4 reversed
    stake_minor: int
    win_minor: int  # 0 unless it was applied
    balance_after_minor: int
    account_version: int  # 0 when nothing moved
    told: bool  # whether it has an event
    time: datetime
    account_id: int


class WalletRound(NamedTuple):
    """A round as the wallet has it."""

    round_id: str
    owner: Owner
    entries: Sequence[Entry]  # the stake's first
    reversal: Entry | None
    external: bool = False
    """Whether an operator's own wallet keeps the money: balances that game was told are of that one."""

    @property
    def state(self) -> str:
        """What the verdicts make of it; OPEN when a payout may be to come."""
        if self.reversal is not None:
            return "REVERSED"
        stake = self.entries[0]
        if stake.status != 1:
            return {2: "REFUSED", 3: "VOID", 4: "REVERSED"}[stake.status]
        return "SETTLED" if stake.step == 1 or any(one.step == 3 for one in self.entries) else "OPEN"

    @property
    def all_entries(self) -> Sequence[Entry]:
        """With the reversal."""
        return [*self.entries, *([self.reversal] if self.reversal else [])]

    @property
    def time(self) -> datetime:
        """When it was last moved."""
        return max(entry.time for entry in self.all_entries)


class Told(NamedTuple):
    """An event about a round."""

    event_type: str
    operator_id: str
    account_id: int
    account_version: int
    currency_code: str
    kind: int
    step: str  # of wallet.settled
    status: str  # of wallet.settled
    stake_minor: int
    win_minor: int | None
    balance_after_minor: int | None
    time: datetime


class Sides(NamedTuple):
    """A round from all three sides. None, or no event: that side does not know it."""

    round_id: str
    game: GameRound | None
    wallet: WalletRound | None
    events: Sequence[Told]

    @property
    def owner(self) -> Owner:
        """Whose it is, as the first side says that knows it."""
        if self.game is not None:
            return self.game.owner
        if self.wallet is not None:
            return self.wallet.owner
        first = self.events[0]
        return Owner(first.operator_id, first.account_id, first.kind, first.currency_code)


class Settled(NamedTuple):
    """Up to when what was written must be everywhere, by each service's own clock."""

    game: datetime
    wallet: datetime
    game_told: datetime  # what game wrote before this, its relay has delivered
    wallet_told: datetime


class Difference(NamedTuple):
    """What does not agree. `problem` names no amount (R2)."""

    kind: str
    problem: str
