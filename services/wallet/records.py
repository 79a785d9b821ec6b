"""The words of the ledger: what is asked, and what is stored. No logic."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple, Protocol

import msgspec


class Kind(IntEnum):
    """What an account holds. The numbers are those of the contract and of the tables, here and below."""

    REAL = 1
    DEMO = 2


class Type(IntEnum):
    """Whose account it is. Counter-accounts: HOUSE of stakes and wins, CASHIER of other money in and out."""

    PLAYER = 1
    HOUSE = 2
    CASHIER = 3


class Step(IntEnum):
    """What an item does to the account. VOID does nothing, and keeps a later stake from doing anything."""

    VOID = 0
    FUSED = 1
    STAKE = 2
    PAYOUT = 3


class Status(IntEnum):
    """The verdict."""

    APPLIED = 1
    REFUSED = 2
    VOID = 3
    REVERSED = 4
    NEEDS_REVIEW = 5


class Refusal(IntEnum):
    """Why a stake was refused."""

    NONE = 0
    INSUFFICIENT_FUNDS = 1
    ACCOUNT_FROZEN = 2


class Verdict(IntEnum):
    """How a rollback that could not be made ended: the round stands, or was given back after all."""

    SETTLED = 1
    REVERSED = 2


class TransferType(IntEnum):
    """What a transfer is. ADJUSTMENT: an operator's correction, with actor and reason."""

    DEPOSIT = 1
    WITHDRAWAL = 2
    ADJUSTMENT = 3


class MovementType(IntEnum):
    """What moved an account. BET: stake and win of a round without a choice."""

    BET = 1
    STAKE = 2
    PAYOUT = 3
    ROLLBACK = 4
    DEPOSIT = 5
    WITHDRAWAL = 6
    ADJUSTMENT = 7


class Item(NamedTuple):
    """One settle or void as it enters the batch. A void has neither currency nor amounts nor game."""

    round_id: str  # lower case
    step: Step
    account_id: int
    currency_code: str = ""
    stake_minor: int = 0
    win_minor: int = 0
    game_id: str = ""
    traceparent: str = ""


class External(NamedTuple):
    """No answer: an operator's own wallet keeps the account's money, so external/rounds.py has the word."""

    item: Item


class Settlement(msgspec.Struct, frozen=True):
    """A stored step of a round. `step` VOID: a tombstone. A Struct: hundreds are made per batch."""

    round_id: str
    step: Step
    status: Status
    account_id: int
    currency_code: str
    stake_minor: int
    win_minor: int
    game_id: str
    balance_after_minor: int
    account_version: int  # 0 when nothing moved
    current_balance_minor: int
    replayed: bool
    refusal: Refusal = Refusal.NONE


@dataclass(frozen=True, slots=True)
class Known:
    """What is stored about an item that the statement did not settle."""

    settlement: Settlement | None
    account_currency_code: str | None  # None: no such account
    stake_step: Step | None  # of a payout's round; None: its stake is unknown
    stake_account_id: int | None
    halted: bool  # the auditor found the books broken: no stake is judged
    expired: bool  # its month is closed: nothing is done under its id any more
    external: bool  # an operator's own wallet keeps the account's money
    called_elsewhere: bool  # another account's: an operator's wallet was asked for it


@dataclass(frozen=True, slots=True)
class Account:
    """An account with its balance; of a counter-account the balance is derived."""

    account_id: int
    operator_id: str
    player_id: str
    currency_code: str
    kind: Kind
    type: Type
    balance_minor: int
    version: int
    frozen: bool
    external: bool  # the operator's own wallet keeps the money; the balance is what is on its way there


@dataclass(frozen=True, slots=True)
class Balance:
    """A balance and the version that it belongs to."""

    currency_code: str
    balance_minor: int
    version: int


@dataclass(frozen=True, slots=True)
class Movement:
    """One movement of a player's account."""

    account_id: int
    account_version: int  # right after it
    create_time: datetime
    type: int  # of MovementType
    transaction_id: uuid.UUID  # the round or the transfer
    amount_minor: int  # what the account got; below zero what it gave
    stake_minor: int  # of a rollback what came back
    win_minor: int  # of a rollback what was taken back
    balance_after_minor: int
    round_id: uuid.UUID | None  # None: a deposit, a withdrawal, or an adjustment about no round
    game_id: str
    request_id: uuid.UUID | None  # of a transfer
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class Posting:
    """One side of an entry."""

    transaction_id: uuid.UUID
    leg: int  # 1 stake or transfer, 2 win, 3 win back, 4 stake back
    account_id: int
    amount_minor: int


@dataclass(frozen=True, slots=True)
class DayPosting:
    """One side of an entry, with what it is of: the movement of the player's account."""

    transaction_id: uuid.UUID
    leg: int
    account_id: int
    amount_minor: int
    type: int  # of MovementType, like the rest of the movement
    create_time: datetime
    account_version: int
    round_id: uuid.UUID | None
    game_id: str
    request_id: uuid.UUID | None
    actor: str
    reason: str
    player_id: str
    currency_code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementQuery:
    """What is wanted of an account's statement."""

    operator_id: str
    account_id: int
    start_time: datetime | None  # from here on
    end_time: datetime | None  # up to before here
    types: tuple[MovementType, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyTotals:
    """Sums of an operator's real money in one currency on one UTC day."""

    currency_code: str
    round_count: int  # whose stake was applied
    stake_minor: int
    win_minor: int
    stake_reversed_minor: int
    win_reversed_minor: int
    deposit_minor: int
    withdrawal_minor: int  # as a positive amount
    adjustment_minor: int  # signed
    posting_count: int  # both sides
    hash_sum: int  # of all postings; statements.checksum shows it


@dataclass(frozen=True, slots=True)
class AccountNames:
    """What an event says about its account beside the id."""

    operator_id: str
    currency_code: str
    kind: Kind
    player_id: str


@dataclass(frozen=True, slots=True)
class Transfer:
    """A stored deposit (amount above zero), withdrawal (below) or adjustment (either)."""

    transfer_id: uuid.UUID
    operator_id: str
    request_id: uuid.UUID
    account_id: int
    currency_code: str
    type: int  # of TransferType
    amount_minor: int
    refusal: str  # the reason; empty when it was applied
    balance_after_minor: int
    account_version: int  # 0 when it was refused
    create_time: datetime
    actor: str
    reason: str
    round_id: str | None
    current_balance_minor: int
    replayed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferOrder:
    """What an operator asks for: `amount_minor` above zero brings money in, below zero takes it out."""

    operator_id: str
    request_id: uuid.UUID
    account_id: int
    currency_code: str
    type: TransferType
    amount_minor: int
    traceparent: str
    actor: str = ""  # of an adjustment, like reason and, where there is one, round
    reason: str = ""
    round_id: str = ""  # lower case


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeOrder:
    """What an operator decides about an account: refuse its stakes and withdrawals, or no longer."""

    operator_id: str
    account_id: int
    frozen: bool
    actor: str
    reason: str
    traceparent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackOrder:
    """A round or a stake to give back; `account_id` is the account it was drawn for."""

    round_id: str  # lower case
    account_id: int
    actor: str
    reason: str
    traceparent: str


@dataclass(frozen=True, slots=True)
class Review:
    """A rollback that could not be made; open while it has no verdict."""

    round_id: str
    account_id: int
    currency_code: str
    missing_minor: int  # what the rollback takes from the player: win less stake
    balance_minor: int  # of the account in our books, when it was last tried
    actor: str  # who asked for the rollback first
    reason: str
    create_time: datetime
    external: bool  # the operator's own wallet has paid; else the balance would be negative
    verdict: Verdict | None


class CallStep(IntEnum):
    """What a call to an operator's own wallet asks for."""

    STAKE = 1
    PAYOUT = 2
    VOID = 3


class CallState(IntEnum):
    """SENT: not answered yet. STOPPED: a person gave it up, or its answer contradicts what we know."""

    SENT = 1
    DONE = 2
    STOPPED = 3


class Outcome(IntEnum):
    """What an operator's wallet says became of a call."""

    APPLIED = 1
    REFUSED = 2
    VOID = 3


@dataclass(frozen=True, slots=True)
class Call:
    """A stored call; its key is (round_id, step)."""

    round_id: str  # lower case
    step: CallStep
    operator_id: str
    player_id: str
    account_id: int
    currency_code: str
    amount_minor: int  # of a void the stake
    game_id: str
    settle_step: Step | None  # of a stake what it is part of, and what is due when it is applied
    win_minor: int
    traceparent: str
    actor: str  # of a void that gives an applied stake back
    reason: str
    state: CallState
    outcome: Outcome | None
    balance_after_minor: int | None
    attempts: int
    last_error: str
    next_time: datetime
    create_time: datetime


class Told(NamedTuple):
    """An operator's wallet's answer, or a person's in its place."""

    outcome: Outcome
    balance_after_minor: int | None  # None: a person's


class Unanswered(Exception):
    """A call that may have taken effect or not; the text says in one line what happened instead."""


class OperatorWallet(Protocol):
    """An operator's own wallet: external/operator_wallet.py speaks its contract, rules know only this.

    Errors of every call: Unanswered.
    """

    async def stake(self, call: Call) -> Told:
        """Takes a stake: APPLIED, REFUSED or VOID."""

    async def payout(self, call: Call) -> Told:
        """Pays a win: APPLIED or VOID."""

    async def void(self, call: Call) -> Told:
        """Gives a stake back, or sees to it that it is never taken: VOID, REFUSED or APPLIED."""

    async def balance_minor(self, *, player_id: str, currency_code: str) -> int | None:
        """A player's balance; None when the operator has no such player."""
