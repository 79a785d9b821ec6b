"""The words of the model: what session, game and wallet have committed, and what is still in flight.

A state is a tuple of tuples, so that it can be hashed, compared and kept by the million.
"""

from typing import Literal, NamedTuple

SessionState = Literal["ABSENT", "OPEN", "CLOSED", "REPLACED"]
RoundState = Literal[
    "PENDING", "OPEN", "SETTLING", "SETTLED", "REFUSED", "VOID", "REVERSED", "NEEDS_REVIEW"
]  # fmt: skip
StakeRow = Literal["UNKNOWN", "APPLIED", "REFUSED", "VOID", "REVERSED"]  # UNKNOWN: the wallet has no row
PayoutRow = Literal["UNKNOWN", "PAID", "REVERSED"]

ENDED = ("SETTLED", "REFUSED", "VOID", "REVERSED")
ACCOUNTS = REAL, DEMO = (0, 1)
GATEWAYS = ("gateway 1", "gateway 2")
NOBODY = "nobody"  # waits for the answer: the caller has crashed, or the call is a second copy
DRAWS = (0, 2)  # a losing and a winning outcome: every rule must hold for both


class Request(NamedTuple):
    """What a client asks: play `id` for `stake`. `names` is the account field that R10 ignores."""

    id: str = "A"
    session: int = 0
    stake: int = 1
    names: int = REAL


class Authorisation(NamedTuple):
    """Session's row, one per (account, request id)."""

    request: int
    allowed: bool = True
    young: bool = True  # younger than the gateway deadline
    ended: bool = False


class Round(NamedTuple):
    """Game's row. A round inserted VOID or REFUSED drew nothing. `steps` are the wins after each choice."""

    request: int
    account: int
    state: RoundState
    win: int = 0
    drawn: bool = False
    steps: tuple[int, ...] = ()
    learnt: bool = False  # somebody outside game has read the outcome


class Entry(NamedTuple):
    """Wallet's row of a round, and what really moved: stakes taken (a count) and the amount paid."""

    stake: StakeRow = "UNKNOWN"
    payout: PayoutRow = "UNKNOWN"
    taken: int = 0
    paid: int = 0


class Call(NamedTuple):
    """A message in flight. Any may arrive next, so each may be late; its caller may be gone when it does."""

    step: str
    by: str
    request: int = 0
    round: int = -1
    win: int = 0
    stage: int = 0  # the choice it is about
    mint: bool = True
    sealed: bool = True
    note: str = ""  # what the step needs beside: a choice, the wallet's answer, "LATE"


class Told(NamedTuple):
    """An answer that a caller holds for ever."""

    account: int
    id: str
    stake: int
    answer: str
    win: int = 0
    stage: int = 0


class Budget(NamedTuple):
    """How often each thing may happen: this is the bound of the exploration."""

    sends: int
    crashes: int = 0
    copies: int = 0  # calls that a gateway sends twice
    deposits: int = 0
    withdrawals: int = 0
    paces: int = 0  # refusals for pace, before Play
    closes: int = 0
    replacements: int = 0  # of session 1 by session 2
    deadlines: int = 0  # an authorisation grows older than the gateway deadline
    endings: int = 0  # session ends an unused authorisation
    choices: int = 0
    peeks: int = 0
    forgeries: int = 0
    reviews: int = 0
    rollbacks: int = 0


class Scenario(NamedTuple):
    """A small world, explored to its end. `accounts` names the account of each session."""

    name: str
    budget: Budget
    requests: tuple[Request, ...] = (Request(),)
    accounts: tuple[int, ...] = (REAL,)
    sessions: tuple[SessionState, ...] = ("OPEN",)
    opening: int = 1
    stages: int = 0  # how many choices a winning round offers


class State(NamedTuple):
    """The three datastores, the calls in flight, what callers were told, and what may still happen."""

    calls: tuple[Call, ...]
    left: Budget
    sessions: tuple[SessionState, ...]
    authorisations: tuple[Authorisation, ...]
    rounds: tuple[Round, ...]
    entries: tuple[Entry, ...]
    balances: tuple[int, ...]
    told: frozenset[Told]
    wrong: str = ""  # the invariant that the last step itself broke


Move = tuple[str, State]  # one line of a trace, and the state after it
