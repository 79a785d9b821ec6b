"""ExternalWalletService as the cases see it: one funded player, whose balance is put back."""

from typing import Any

from google.protobuf.message import Message
from reelmesh.client import CallError
from reelmesh.conformance.channels import ATTEMPTS_MAX, Channels, Unreachable, text_of
from reelmesh.conformance.trial import FUNDS_MINOR, Answer, Bet, Mismatch, Player, Skip, new_id
from reelmesh.external_wallet.v1 import external_wallet_pb2 as pb2
from reelmesh.type.v1.money_pb2 import Money

SERVICE = "reelmesh.external_wallet.v1.ExternalWalletService"


class ExternalWallet:
    """An ExternalWalletService under test. The contract cannot fund a player, so it is given one."""

    dialect, given_back = "external", "VOID"

    def __init__(self, channels: Channels, *, player_id: str, currency_code: str, token: str = "") -> None:
        self.channels, self.token = channels, token
        self._player = Player(player_id, currency_code)
        # Applied and not paid out: given back when their case is over.
        self._open: dict[str, Bet] = {}
        self._first_minor: int | None = None

    async def call(
        self,
        method: str,
        request: Message | bytes,
        *,
        credential: str | None = None,
        lane: int = 0,
        timeout_s: float = 10.0,
        attempts: int = ATTEMPTS_MAX,
    ) -> Any:
        """One call with the token, sent again while it is not answered. Errors: CallError."""
        token = self.token if credential is None else credential
        return await self.channels.call(
            f"/{SERVICE}/{method}",
            request if isinstance(request, bytes) else request.SerializeToString(),
            getattr(pb2, f"{method}Response"),
            metadata=(("authorization", f"Bearer {token}"),) if token else (),
            lane=lane,
            timeout_s=timeout_s,
            attempts=attempts,
        )

    async def player(self, funds_minor: int = FUNDS_MINOR) -> Player:
        """The one player, with the balance of the beginning."""
        await self.put_back()
        balance_minor = await self.balance(self._player)
        if balance_minor < funds_minor:
            raise Skip(f"player {self._player.player_id} owns {balance_minor}, this needs {funds_minor}")
        return self._player

    async def balance(self, player: Player) -> int:
        request = pb2.BalanceRequest(player_id=player.player_id, currency_code=player.currency_code)
        return int((await self.call("Balance", request)).balance.amount_minor)

    async def stake(self, bet: Bet, *, lane: int = 0) -> Answer:
        self._open.setdefault(bet.round_id, bet)
        return await self._outcome("Stake", pb2.StakeRequest(**_fields(bet)), lane=lane)

    async def payout(self, bet: Bet, win_minor: int, *, lane: int = 0) -> Answer:
        request = pb2.PayoutRequest(**{**_fields(bet), "amount": _money(bet.currency_code, win_minor)})
        answer = await self._outcome("Payout", request, lane=lane)
        if answer.word == "APPLIED":
            self._open.pop(bet.round_id, None)
        return answer

    async def roll_back(self, bet: Bet, *, lane: int = 0) -> Answer:
        return await self._outcome("Void", pb2.VoidRequest(**_fields(bet)), lane=lane)

    def stake_body(self, bet: Bet) -> bytes:
        return pb2.StakeRequest(**_fields(bet)).SerializeToString()

    async def send_stake(
        self, body: bytes, *, credential: str | None = None, lane: int = 0, timeout_s: float = 10.0
    ) -> Answer:
        try:
            response = await self.call(
                "Stake", body, credential=credential, lane=lane, timeout_s=timeout_s, attempts=1
            )
        except CallError as error:
            return Answer(error.code().name)
        return _answer_of(response)

    async def restored(self, player: Player) -> None:
        try:
            await self.channels.reconnect()
            await self.balance(player)
        except Unreachable as problem:
            raise Mismatch(f"expected an answer after the restart: {problem}") from None
        except CallError as error:
            raise Mismatch(f"expected an answer after the restart, seen {text_of(error)}") from None

    async def block(self, player: Player) -> None:
        raise Skip("needs --player-command: the contract cannot end a session or block a player")

    async def unblock(self, player: Player) -> None:
        """Never blocked here."""

    async def put_back(self) -> bool:
        """Gives back what is open; then one round more wins or loses what is missing from the beginning.

        Whether the balance is that of the beginning.
        """
        try:
            for bet in list(self._open.values()):
                await self.roll_back(bet)
                del self._open[bet.round_id]
            balance_minor = await self.balance(self._player)
            if self._first_minor is None:
                self._first_minor = balance_minor
            more_minor = self._first_minor - balance_minor
            if more_minor:
                bet = Bet(self._player, new_id(), max(1, -more_minor), self._player.currency_code)
                await self.stake(bet)
                await self.payout(bet, more_minor + 1 if more_minor > 0 else 0)
            return await self.balance(self._player) == self._first_minor
        except CallError:
            # Without a first balance there is nobody to put anything back to.
            if self._first_minor is None:
                raise
            return False

    async def _outcome(self, method: str, request: Message, *, lane: int) -> Answer:
        try:
            return _answer_of(await self.call(method, request, lane=lane))
        except CallError as error:
            return Answer(error.code().name)


def _fields(bet: Bet) -> dict[str, Any]:
    return {
        "round_id": bet.round_id,
        "player_id": bet.player.player_id,
        "amount": _money(bet.currency_code, bet.amount_minor),
        "game_id": bet.game_id,
    }


def _money(currency_code: str, amount_minor: int) -> Money:
    return Money(currency_code=currency_code, amount_minor=amount_minor)


def _answer_of(response: Any) -> Answer:
    outcome = pb2.Outcome.Name(response.outcome).removeprefix("OUTCOME_")
    return Answer(outcome, response.balance_after.amount_minor)
