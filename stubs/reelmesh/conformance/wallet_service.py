"""WalletService as the cases see it: identities of its callers, game's seal, fresh players with money."""

import hashlib
import hmac
import time
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import Message
from reelmesh.client import CallError
from reelmesh.conformance.channels import ATTEMPTS_MAX, Channels, Unreachable, text_of
from reelmesh.conformance.trial import FUNDS_MINOR, Answer, Bet, Mismatch, Player, Skip, Trial, new_id
from reelmesh.type.v1 import account_kind_pb2
from reelmesh.type.v1.money_pb2 import Money
from reelmesh.wallet.v1 import wallet_pb2

SERVICE = "reelmesh.wallet.v1.WalletService"
# In whose name it is called, and the DNS name of its certificate over mutual TLS.
CALLERS, SERVER = ("gateway", "game"), "wallet"
FUSED, STAKE = wallet_pb2.SETTLE_STEP_FUSED, wallet_pb2.SETTLE_STEP_STAKE
PAYOUT = wallet_pb2.SETTLE_STEP_PAYOUT
# Only game may call these.
_OF_GAME = frozenset({"Void", "BatchVoid", "GetSettlements", "RollbackRound", "RollbackBet"})
_ACTOR = "conformance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What the platform's services share: who calls is signed with the one, what game drew with the other."""

    identity_key: str = field(repr=False)
    seal_key: str = field(repr=False)

    def identity(self, caller: str, *, ttl_s: float = 3600.0) -> str:
        """A token that says "I am that service"."""
        claim = f"{caller}/conformance.{int(time.time() + ttl_s)}"
        return f"{claim}.{hmac.new(self.identity_key.encode(), claim.encode(), hashlib.sha256).hexdigest()}"

    def seal(self, request: wallet_pb2.SettleRequest) -> bytes:
        """Game's seal over a settle."""
        currency_code = request.stake.currency_code or request.win.currency_code
        text = (
            f"{request.round_id}|{wallet_pb2.SettleStep.Name(request.step).removeprefix('SETTLE_STEP_')}"
            f"|{request.account_id}|{request.game_id}|{currency_code}"
            f"|{request.stake.amount_minor}|{request.win.amount_minor}"
        )
        return hmac.digest(self.seal_key.encode(), text.encode(), "sha256")


class WalletService:
    """A WalletService under test; the players and the operator are its own."""

    dialect, given_back = "wallet", "REVERSED"

    def __init__(
        self, channels: Channels, keys: Keys, *, operator_id: str, kind: str, currency_code: str
    ) -> None:
        self.channels, self.keys, self.operator_id = channels, keys, operator_id
        self.kind = account_kind_pb2.AccountKind.Value(f"ACCOUNT_KIND_{kind.upper()}")
        self.currency_code = currency_code
        self._served: dict[str, bool] = {}

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
        """One call under the identity that may make it, again while not answered. Errors: CallError."""
        caller = "game" if method in _OF_GAME else "gateway"
        # Over mutual TLS the certificate says it.
        token = "" if self.channels.mtls else self.keys.identity(caller)
        token = token if credential is None else credential
        return await self.channels.call(
            f"/{SERVICE}/{method}",
            request if isinstance(request, bytes) else request.SerializeToString(),
            getattr(wallet_pb2, f"{method}Response"),
            metadata=(("x-reelmesh-identity", token),) if token else (),
            caller=caller,
            lane=lane,
            timeout_s=timeout_s,
            attempts=attempts,
        )

    async def serves(self, method: str) -> bool:
        """Whether the method is there: whatever else it says to an empty request."""
        if method not in self._served:
            try:
                await self.call(method, b"")
                self._served[method] = True
            except CallError as error:
                self._served[method] = error.code() is not grpc.StatusCode.UNIMPLEMENTED
        return self._served[method]

    async def player(self, funds_minor: int = FUNDS_MINOR, currency_code: str = "") -> Player:
        """A new player with exactly so much."""
        player_id, currency_code = f"conformance-{new_id()}", currency_code or self.currency_code
        request = wallet_pb2.OpenAccountRequest(
            operator_id=self.operator_id, player_id=player_id, currency_code=currency_code, kind=self.kind
        )
        account = (await self.call("OpenAccount", request)).account
        player = Player(player_id, currency_code, account.account_id)
        if funds_minor:
            await self.call("Deposit", self.deposit(player, funds_minor))
        return player

    def deposit(self, player: Player, amount_minor: int) -> wallet_pb2.DepositRequest:
        """Money in, under a new id."""
        return wallet_pb2.DepositRequest(
            operator_id=self.operator_id,
            request_id=new_id(),
            account_id=player.account_id,
            amount=Money(currency_code=player.currency_code, amount_minor=amount_minor),
        )

    async def balance(self, player: Player) -> int:
        request = wallet_pb2.GetAccountRequest(account_id=player.account_id, operator_id=self.operator_id)
        return int((await self.call("GetAccount", request)).account.balance.amount_minor)

    async def stake(self, bet: Bet, *, lane: int = 0) -> Answer:
        return await self.settle(bet, STAKE, lane=lane)

    async def payout(self, bet: Bet, win_minor: int, *, lane: int = 0) -> Answer:
        return await self.settle(bet, PAYOUT, win_minor, lane=lane)

    async def settle(
        self, bet: Bet, step: wallet_pb2.SettleStep.ValueType, win_minor: int = 0, *, lane: int = 0
    ) -> Answer:
        """One sealed step; of a payout the bet's amount is left out."""
        return await self._verdict("Settle", self.settle_request(bet, step, win_minor), lane=lane)

    def settle_request(
        self, bet: Bet, step: wallet_pb2.SettleStep.ValueType, win_minor: int = 0
    ) -> wallet_pb2.SettleRequest:
        """The step as game would write it."""
        stake_minor = 0 if step == PAYOUT else bet.amount_minor
        request = wallet_pb2.SettleRequest(
            round_id=bet.round_id,
            step=step,
            account_id=bet.player.account_id,
            stake=Money(currency_code=bet.currency_code, amount_minor=stake_minor),
            win=Money(currency_code=bet.currency_code, amount_minor=win_minor),
            game_id=bet.game_id,
        )
        request.seal = self.keys.seal(request)
        return request

    async def roll_back(self, bet: Bet, *, lane: int = 0) -> Answer:
        """By RollbackBet; a bet without a payout is given back by RollbackRound alike."""
        method = "RollbackBet" if await self.serves("RollbackBet") else "RollbackRound"
        return await self.roll_back_by(method, bet, lane=lane)

    async def roll_back_by(self, method: str, bet: Bet, *, actor: str = _ACTOR, lane: int = 0) -> Answer:
        """By this method."""
        request = getattr(wallet_pb2, f"{method}Request")(
            round_id=bet.round_id, account_id=bet.player.account_id, actor=actor, reason="conformance"
        )
        return await self._verdict(method, request, lane=lane)

    def stake_body(self, bet: Bet) -> bytes:
        return self.settle_request(bet, STAKE).SerializeToString()

    async def send_stake(
        self, body: bytes, *, credential: str | None = None, lane: int = 0, timeout_s: float = 10.0
    ) -> Answer:
        try:
            response = await self.call(
                "Settle", body, credential=credential, lane=lane, timeout_s=timeout_s, attempts=1
            )
        except CallError as error:
            return Answer(error.code().name, reason=error.reason)
        return answer_of(response.settlement)

    async def restored(self, player: Player) -> None:
        try:
            await self.channels.reconnect()
            await self.balance(player)
        except Unreachable as problem:
            raise Mismatch(f"expected an answer after the restart: {problem}") from None
        except CallError as error:
            raise Mismatch(f"expected an answer after the restart, seen {text_of(error)}") from None

    async def block(self, player: Player) -> None:
        await self._freeze("FreezeAccount", player)

    async def unblock(self, player: Player) -> None:
        await self._freeze("UnfreezeAccount", player)

    async def _freeze(self, method: str, player: Player) -> None:
        if not await self.serves(method):
            raise Skip(f"needs {method}, which is not served, or --player-command")
        request = getattr(wallet_pb2, f"{method}Request")(
            operator_id=self.operator_id, account_id=player.account_id, actor=_ACTOR, reason="conformance"
        )
        await self.call(method, request)

    async def _verdict(self, method: str, request: Message, *, lane: int) -> Answer:
        try:
            return answer_of((await self.call(method, request, lane=lane)).settlement)
        except CallError as error:
            return Answer(error.code().name, reason=error.reason)


def service_of(trial: Trial) -> WalletService:
    """The wallet of a case that is for this contract only."""
    assert isinstance(trial.wallet, WalletService)
    return trial.wallet


def answer_of(settlement: wallet_pb2.Settlement) -> Answer:
    """A verdict with the balance right after it."""
    status = wallet_pb2.SettlementStatus.Name(settlement.status).removeprefix("SETTLEMENT_STATUS_")
    return Answer(status, settlement.balance_after.amount_minor)
