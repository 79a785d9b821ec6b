"""Somebody else's wallet: an ExternalWalletService in memory, with a disk that survives its restarts."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import grpc
from grpc_reflection.v1alpha import reflection
from reelmesh.conformance.external_wallet import SERVICE
from reelmesh.external_wallet.v1 import external_wallet_pb2 as pb2
from reelmesh.external_wallet.v1 import external_wallet_pb2_grpc
from reelmesh.type.v1.money_pb2 import Money

PLAYER, CURRENCY, TOKEN = "pat", "EUR", "token-of-the-operator"
FUNDS_MINOR = 1_000
APPLIED, REFUSED, VOID = pb2.OUTCOME_APPLIED, pb2.OUTCOME_REFUSED, pb2.OUTCOME_VOID
Request = pb2.StakeRequest | pb2.PayoutRequest | pb2.VoidRequest
Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True)
class Round:
    """What was decided. `paid_minor` is None before the payout."""

    player_id: str
    currency_code: str
    game_id: str
    amount_minor: int
    outcome: pb2.Outcome.ValueType
    balance_after_minor: int
    paid_minor: int | None = None
    paid_after_minor: int = 0


@dataclass
class State:
    """Balances and rounds."""

    balances: dict[str, int]
    rounds: dict[str, Round]

    def copy(self) -> "State":
        """The same at this moment."""
        return State(dict(self.balances), dict(self.rounds))


class OperatorWallet(external_wallet_pb2_grpc.ExternalWalletServiceServicer):
    """A correct one. tests/conformance/broken.py overrides one method at a time."""

    def __init__(self) -> None:
        self.memory = State({PLAYER: FUNDS_MINOR}, {})
        self.disk = self.memory.copy()
        self.blocked: set[str] = set()
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def restart(self) -> None:
        """kill -9: what is not on the disk is gone."""
        self.memory = self.disk.copy()

    async def block(self, action: str, player_id: str) -> None:
        """The player's session ends, or goes on."""
        (self.blocked.add if action == "block" else self.blocked.discard)(player_id)

    async def Stake(self, request: pb2.StakeRequest, context: Context) -> pb2.StakeResponse:
        await self._check(request, context, least_minor=1)
        async with self._locks[request.round_id]:
            known = self.memory.rounds.get(request.round_id)
            if known is None:
                known = await self._new(request, context)
            elif not self._same(known, request):
                await context.abort(grpc.StatusCode.ALREADY_EXISTS, "another stake")
            else:
                known = self._again(request, known)
        return pb2.StakeResponse(outcome=known.outcome, balance_after=_money(known.balance_after_minor))

    async def Payout(self, request: pb2.PayoutRequest, context: Context) -> pb2.PayoutResponse:
        await self._check(request, context, least_minor=0)
        async with self._locks[request.round_id]:
            known = self.memory.rounds.get(request.round_id)
            if known is None or known.outcome != APPLIED:
                balance = _money(self.memory.balances[request.player_id])
                return pb2.PayoutResponse(outcome=VOID, balance_after=balance)
            if known.paid_minor is None:
                await self._may_be_paid(request, context)
                known = self._pay(request, known)
            elif known.paid_minor != request.amount.amount_minor:
                await context.abort(grpc.StatusCode.ALREADY_EXISTS, "another payout")
        return pb2.PayoutResponse(outcome=APPLIED, balance_after=_money(known.paid_after_minor))

    async def Void(self, request: pb2.VoidRequest, context: Context) -> pb2.VoidResponse:
        await self._check(request, context, least_minor=1)
        async with self._locks[request.round_id]:
            known = self.memory.rounds.get(request.round_id)
            if known is None:
                known = await self._unknown(request, context)
            elif not self._same(known, request):
                await context.abort(grpc.StatusCode.ALREADY_EXISTS, "another stake")
            elif known.outcome == APPLIED and known.paid_minor is None:
                known = self._give_back(request, known)
            elif known.outcome == VOID:
                known = self._void_again(request, known)
        return pb2.VoidResponse(outcome=known.outcome, balance_after=_money(known.balance_after_minor))

    async def Balance(self, request: pb2.BalanceRequest, context: Context) -> pb2.BalanceResponse:
        await self._authenticate(context)
        if request.player_id not in self.memory.balances or request.currency_code != CURRENCY:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such player")
        return pb2.BalanceResponse(balance=_money(self.memory.balances[request.player_id]))

    async def _authenticate(self, context: Context) -> None:
        metadata: Any = context.invocation_metadata()
        if ("authorization", f"Bearer {TOKEN}") not in [tuple(pair) for pair in metadata]:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")

    async def _check(self, request: Request, context: Context, *, least_minor: int) -> None:
        await self._authenticate(context)
        if not (request.round_id and request.player_id and request.game_id):
            await _invalid(context, "a field is missing")
        if (
            not least_minor <= request.amount.amount_minor <= 2**53
            or request.amount.currency_code != CURRENCY
        ):
            await _invalid(context, "amount")
        if request.player_id not in self.memory.balances:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such player")

    def _same(self, known: Round, request: Request) -> bool:
        body = (request.player_id, request.amount.currency_code, request.game_id, request.amount.amount_minor)
        return body == (known.player_id, known.currency_code, known.game_id, known.amount_minor)

    async def _new(self, request: pb2.StakeRequest, context: Context) -> Round:
        covered = request.player_id not in self.blocked and await self._take(request)
        outcome = APPLIED if covered else REFUSED
        return self._write(request.round_id, self._round(request, outcome))

    async def _take(self, request: pb2.StakeRequest) -> bool:
        """Whether the balance covered the stake, which is taken then: without a pause between."""
        if self.memory.balances[request.player_id] < request.amount.amount_minor:
            return False
        self.memory.balances[request.player_id] -= request.amount.amount_minor
        return True

    def _again(self, request: pb2.StakeRequest, known: Round) -> Round:
        return known

    async def _may_be_paid(self, request: pb2.PayoutRequest, context: Context) -> None:
        """Always: a win is never refused."""

    def _pay(self, request: pb2.PayoutRequest, known: Round) -> Round:
        self.memory.balances[request.player_id] += request.amount.amount_minor
        balance_minor = self.memory.balances[request.player_id]
        paid = replace(known, paid_minor=request.amount.amount_minor, paid_after_minor=balance_minor)
        return self._write(request.round_id, paid)

    async def _unknown(self, request: pb2.VoidRequest, context: Context) -> Round:
        return self._write(request.round_id, self._round(request, VOID))

    def _give_back(self, request: pb2.VoidRequest, known: Round) -> Round:
        self.memory.balances[request.player_id] += known.amount_minor
        return self._write(request.round_id, self._round(request, VOID))

    def _void_again(self, request: pb2.VoidRequest, known: Round) -> Round:
        return known

    def _round(self, request: Request, outcome: pb2.Outcome.ValueType) -> Round:
        return Round(
            request.player_id,
            request.amount.currency_code,
            request.game_id,
            request.amount.amount_minor,
            outcome,
            self.memory.balances[request.player_id],
        )

    def _write(self, round_id: str, decided: Round) -> Round:
        """To the memory, and to the disk before anybody is told."""
        self.memory.rounds[round_id] = decided
        self._commit(round_id, decided)
        return decided

    def _commit(self, round_id: str, decided: Round) -> None:
        self.disk.rounds[round_id] = decided
        self.disk.balances[decided.player_id] = self.memory.balances[decided.player_id]


async def _invalid(context: Context, text: str) -> NoReturn:
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)


def _money(amount_minor: int) -> Money:
    return Money(currency_code=CURRENCY, amount_minor=amount_minor)


@asynccontextmanager
async def serving(
    wallet: OperatorWallet, credentials: grpc.ServerCredentials | None = None
) -> AsyncIterator[str]:
    """The wallet listens at the target that this gives, with TLS where credentials are given."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    external_wallet_pb2_grpc.add_ExternalWalletServiceServicer_to_server(wallet, server)
    reflection.enable_server_reflection([SERVICE, reflection.SERVICE_NAME], server)  # type: ignore[no-untyped-call]
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)
