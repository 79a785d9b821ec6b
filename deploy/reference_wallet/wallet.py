"""The wallet of an operator who keeps the players' money, as small as it can be and right: copy from here.

Every call is one transaction that locks the player's row first, so that the calls of one player, and a call
that is delivered twice at once, come one after the other. All that became of a round is in one row, where a
repetition finds its answer.
"""

import asyncio
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from reelmesh.external_wallet.v1 import external_wallet_pb2, external_wallet_pb2_grpc
from reelmesh.type.v1 import money_pb2
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

APPLIED = external_wallet_pb2.OUTCOME_APPLIED
REFUSED = external_wallet_pb2.OUTCOME_REFUSED
VOID = external_wallet_pb2.OUTCOME_VOID
# Sums stay exact in every language that reads them.
AMOUNT_MINOR_MAX = 2**53

SCHEMA = """
create table if not exists player (
  player_id text not null,
  currency_code text not null,
  balance_minor bigint not null check (balance_minor >= 0),
  primary key (player_id, currency_code)
);
create table if not exists round (
  round_id uuid primary key,
  player_id text not null,
  currency_code text not null,
  game_id text not null,
  stake_minor bigint not null,
  outcome smallint not null,               -- of the stake: 1 applied, 2 refused, 3 void
  balance_after_stake_minor bigint not null,
  payout_minor bigint,                     -- null until it is paid
  balance_after_payout_minor bigint,
  foreign key (player_id, currency_code) references player
)
"""
_LOCK_PLAYER = text("""
select balance_minor from player where (player_id, currency_code) = (:player_id, :currency_code) for update
""")
_MOVE = text("""
update player set balance_minor = balance_minor + :amount_minor
where (player_id, currency_code) = (:player_id, :currency_code) returning balance_minor
""")
_FIND_ROUND = text("select * from round where round_id = cast(:round_id as uuid)")
_INSERT_ROUND = text("""
insert into round (round_id, player_id, currency_code, game_id, stake_minor, outcome,
  balance_after_stake_minor)
values (cast(:round_id as uuid), :player_id, :currency_code, :game_id, :amount_minor, :outcome,
  :balance_minor)
on conflict (round_id) do nothing returning round_id
""")
_PAY = text("""
update round set payout_minor = :amount_minor, balance_after_payout_minor = :balance_minor
where round_id = cast(:round_id as uuid)
""")
_VOID = text("""
update round set outcome = 3, balance_after_stake_minor = :balance_minor
where round_id = cast(:round_id as uuid)
""")


class Wallet(external_wallet_pb2_grpc.ExternalWalletServiceServicer):
    """ExternalWalletService on one PostgreSQL database."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def create_tables(self) -> None:
        """At the first start."""
        async with self._engine.begin() as conn:
            for statement in SCHEMA.split(";"):
                await conn.execute(text(statement))

    async def Stake(self, request: Any, context: Any) -> Any:
        async with self._round(request, context) as (conn, balance_minor, found):
            outcome = APPLIED if balance_minor >= request.amount.amount_minor else REFUSED
            if found is not None:
                await _require_same(found, request, context)
                outcome, balance_minor = found.outcome, found.balance_after_stake_minor
            else:
                if outcome == APPLIED:
                    balance_minor = await _move(conn, request, -request.amount.amount_minor)
                await _insert(conn, request, context, outcome=outcome, balance_minor=balance_minor)
            return external_wallet_pb2.StakeResponse(
                outcome=outcome, balance_after=_money(request, balance_minor)
            )

    async def Payout(self, request: Any, context: Any) -> Any:
        async with self._round(request, context, zero=True) as (conn, balance_minor, found):
            outcome = VOID
            if found is not None and found.outcome == APPLIED:
                # What has to be the same is the round; the amount is the win's.
                await _require_same(found, request, context, payout=True)
                outcome = APPLIED
                if found.payout_minor is None:
                    balance_minor = await _move(conn, request, request.amount.amount_minor)
                    await conn.execute(_PAY, {**_values(request), "balance_minor": balance_minor})
                else:
                    balance_minor = found.balance_after_payout_minor
            return external_wallet_pb2.PayoutResponse(
                outcome=outcome, balance_after=_money(request, balance_minor)
            )

    async def Void(self, request: Any, context: Any) -> Any:
        async with self._round(request, context) as (conn, balance_minor, found):
            outcome = VOID
            if found is None:
                # Remembered, so that the stake is not taken when it comes after all.
                await _insert(conn, request, context, outcome=VOID, balance_minor=balance_minor)
            else:
                await _require_same(found, request, context)
                outcome = found.outcome
                if outcome == APPLIED and found.payout_minor is None:
                    balance_minor = await _move(conn, request, found.stake_minor)
                    await conn.execute(_VOID, {**_values(request), "balance_minor": balance_minor})
                    outcome = VOID
            return external_wallet_pb2.VoidResponse(
                outcome=outcome, balance_after=_money(request, balance_minor)
            )

    async def Balance(self, request: Any, context: Any) -> Any:
        async with self._engine.connect() as conn:
            player = {"player_id": request.player_id, "currency_code": request.currency_code}
            balance_minor = (await conn.execute(_LOCK_PLAYER, player)).scalar_one_or_none()
        if balance_minor is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such player")
        assert balance_minor is not None
        return external_wallet_pb2.BalanceResponse(
            balance=money_pb2.Money(currency_code=request.currency_code, amount_minor=balance_minor)
        )

    @asynccontextmanager
    async def _round(
        self, request: Any, context: Any, *, zero: bool = False
    ) -> AsyncIterator[tuple[AsyncConnection, int, Row[Any] | None]]:
        """A transaction with the player locked, the balance, and what is known of the round."""
        amount_minor = request.amount.amount_minor
        if not (
            request.round_id and request.game_id and (0 if zero else 1) <= amount_minor <= AMOUNT_MINOR_MAX
        ):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "round, game or amount is missing")
        async with self._engine.begin() as conn:
            balance_minor = (await conn.execute(_LOCK_PLAYER, _values(request))).scalar_one_or_none()
            if balance_minor is None:
                await context.abort(grpc.StatusCode.NOT_FOUND, "no such player")
            assert balance_minor is not None
            found = (await conn.execute(_FIND_ROUND, _values(request))).one_or_none()
            yield conn, balance_minor, found


class Credentials(grpc.aio.ServerInterceptor):
    """Lets nobody in who does not show the bearer token."""

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()

        async def refuse(request: Any, context: Any) -> None:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the bearer token is not ours")

        self._refusal: Any = grpc.unary_unary_rpc_method_handler(refuse)

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        shown = dict(handler_call_details.invocation_metadata).get("authorization", "")
        if not hmac.compare_digest(shown.encode(), self._expected):
            return self._refusal
        return await continuation(handler_call_details)


async def serve(
    servicer: Any, *, listen: str, tls: tuple[bytes, bytes], token: str, stop: asyncio.Event
) -> None:
    """Serves over TLS on `listen` (host:port) until `stop`; `tls` is private key and certificates, PEM."""
    server = grpc.aio.server(interceptors=[Credentials(token)], options=[("grpc.so_reuseport", 0)])
    external_wallet_pb2_grpc.add_ExternalWalletServiceServicer_to_server(servicer, server)
    server.add_secure_port(listen, grpc.ssl_server_credentials([tls]))
    await server.start()
    await stop.wait()
    await server.stop(2)


def _values(request: Any) -> dict[str, Any]:
    return {
        "round_id": request.round_id,
        "player_id": request.player_id,
        "currency_code": request.amount.currency_code,
        "game_id": request.game_id,
        "amount_minor": request.amount.amount_minor,
    }


def _money(request: Any, amount_minor: int) -> money_pb2.Money:
    return money_pb2.Money(currency_code=request.amount.currency_code, amount_minor=amount_minor)


async def _move(conn: AsyncConnection, request: Any, amount_minor: int) -> int:
    moved = await conn.execute(_MOVE, {**_values(request), "amount_minor": amount_minor})
    return int(moved.scalar_one())


async def _insert(conn: AsyncConnection, request: Any, context: Any, **what: int) -> None:
    inserted = await conn.execute(_INSERT_ROUND, {**_values(request), **what})
    if inserted.one_or_none() is None:
        # At the same time for another player, whose lock is not ours.
        await context.abort(grpc.StatusCode.ALREADY_EXISTS, "the round is known with another body")


async def _require_same(found: Row[Any], request: Any, context: Any, *, payout: bool = False) -> None:
    asked = (request.player_id, request.amount.currency_code, request.game_id)
    known_minor = found.payout_minor if payout else found.stake_minor
    same = (found.player_id, found.currency_code, found.game_id) == asked
    if not same or known_minor not in (None, request.amount.amount_minor):
        await context.abort(grpc.StatusCode.ALREADY_EXISTS, "the round is known with another body")
