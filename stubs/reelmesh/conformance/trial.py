"""What a case is given: the wallet behind either contract, hooks into its operation, words to judge by."""

import asyncio
import os
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

T = TypeVar("T")
# What each call moves, minor units, and what a player of a case owns at least.
STAKE_MINOR = 10
FUNDS_MINOR = 1_000
CLIENTS = 64


class Skip(Exception):
    """The case cannot be run here; the text says what it needs."""


class Mismatch(Exception):
    """The wallet did something else; the text says what was expected and what was seen."""


@dataclass(frozen=True, slots=True)
class Player:
    """Whose money it is. `account_id` is 0 where the contract knows no accounts."""

    player_id: str
    currency_code: str
    account_id: int = 0


@dataclass(frozen=True, slots=True)
class Bet:
    """A stake as it is sent; a case changes it by dataclasses.replace."""

    player: Player
    round_id: str
    amount_minor: int
    currency_code: str
    game_id: str = "conformance"


@dataclass(frozen=True, slots=True)
class Answer:
    """`word`: the verdict ("APPLIED"), or the gRPC code of an error, with its `reason` if it told one."""

    word: str
    balance_minor: int | None = None
    reason: str = ""

    def __str__(self) -> str:
        told = f"{self.word}/{self.reason}" if self.reason else self.word
        return told if self.balance_minor is None else f"{told} with balance {self.balance_minor}"


class Wallet(Protocol):
    """A wallet under test. What is not answered is sent again, as the contracts ask; not by `send_stake`."""

    dialect: str
    # The verdict of a bet that was given back, and of a payout whose stake is not applied.
    given_back: str

    async def player(self, funds_minor: int = FUNDS_MINOR) -> Player:
        """A player who owns at least so much, and whom nobody else uses meanwhile. Errors: Skip."""

    async def balance(self, player: Player) -> int:
        """What the player owns."""

    async def stake(self, bet: Bet, *, lane: int = 0) -> Answer:
        """Takes the stake; `lane` chooses the channel."""

    async def payout(self, bet: Bet, win_minor: int, *, lane: int = 0) -> Answer:
        """Pays the win of a bet."""

    async def roll_back(self, bet: Bet, *, lane: int = 0) -> Answer:
        """Gives the bet back, or sees to it that it is never taken."""

    def stake_body(self, bet: Bet) -> bytes:
        """The stake as it travels."""

    async def send_stake(
        self, body: bytes, *, credential: str | None = None, lane: int = 0, timeout_s: float = 10.0
    ) -> Answer:
        """Sends these bytes as a stake, once. `credential` replaces the right one; "" sends none."""

    async def restored(self, player: Player) -> None:
        """Waits until the wallet answers after a restart. Errors: Mismatch when it does not."""

    async def block(self, player: Player) -> None:
        """Ends the player's session, or disables the player, where the contract can. Errors: Skip."""

    async def unblock(self, player: Player) -> None:
        """Takes that back."""


# Called with arguments, e.g. ("block", player_id); a command of the command line behind it, or a function.
Hook = Callable[..., Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Hooks:
    """What is done to the wallet's operation beside its contract, where somebody can.

    `restart`: kills the wallet hard and starts it again, without arguments. `player`: called with
    ("block", account or player id), later with ("unblock", ...).
    """

    restart: Hook | None = None
    player: Hook | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """One run against one wallet. `other`: the same through another replica. `races`: turns of case 45."""

    wallet: Wallet
    hooks: Hooks = field(default_factory=Hooks)
    other: Wallet | None = None
    races: int = 20

    async def bet(self, *, amount_minor: int = STAKE_MINOR, player: Player | None = None) -> Bet:
        """A bet that was not sent yet, of a player with FUNDS_MINOR unless one is given."""
        player = player or await self.wallet.player()
        return Bet(player, new_id(), amount_minor, player.currency_code)

    async def block(self, player: Player) -> None:
        """No more stakes of this player: session over, or disabled. Errors: Skip."""
        if self.hooks.player is None:
            await self.wallet.block(player)
        else:
            await self.hooks.player("block", str(player.account_id or player.player_id))

    async def unblock(self, player: Player) -> None:
        """Takes `block` back."""
        if self.hooks.player is None:
            await self.wallet.unblock(player)
        else:
            await self.hooks.player("unblock", str(player.account_id or player.player_id))


def new_id() -> str:
    """A UUIDv7."""
    milliseconds = time.time_ns() // 1_000_000
    number = milliseconds << 80 | int.from_bytes(os.urandom(10), "big")
    number = number & ~(0xF << 76) | 0x7 << 76
    return str(uuid.UUID(int=number & ~(0x3 << 62) | 0x2 << 62))


async def at_once(calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """Starts them all behind a barrier and lets them go together."""
    gate = asyncio.Event()

    async def run(call: Callable[[], Awaitable[T]]) -> T:
        await gate.wait()
        return await call()

    tasks = [asyncio.ensure_future(run(call)) for call in calls]
    await asyncio.sleep(0)
    gate.set()
    return await asyncio.gather(*tasks)


def expect(what: str, answer: Answer, *words: str, balance_minor: int | None = None) -> None:
    """The answer is one of the words, with this balance where one is given. Errors: Mismatch."""
    if answer.word not in words or (balance_minor is not None and answer.balance_minor != balance_minor):
        wanted = " or ".join(words) + ("" if balance_minor is None else f" with balance {balance_minor}")
        raise Mismatch(f"{what}: expected {wanted}, seen {answer}")


async def expect_balance(wallet: Wallet, player: Player, balance_minor: int, what: str) -> None:
    """The player owns exactly this. Errors: Mismatch."""
    expect_equal(f"balance {what}", await wallet.balance(player), balance_minor)


def expect_equal(what: str, seen: object, expected: object) -> None:
    """The two are equal. Errors: Mismatch."""
    if seen != expected:
        raise Mismatch(f"{what}: expected {expected}, seen {seen}")
