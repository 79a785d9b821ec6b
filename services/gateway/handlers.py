"""gRPC <-> the gateway's operations, and its outbox rows <-> events."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import grpc
import msgspec
from reelmesh.events.v1 import events_pb2
from reelmesh.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from sqlalchemy.ext.asyncio import AsyncConnection

from services.common.outbox import OutboxRow
from services.gateway import errors
from services.gateway.operators import Operators
from services.gateway.players import Players
from services.gateway.rounds import Rounds, played_round
from services.gateway.store import Operator

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
_API_KEY_PREFIX = "rk_"
# Ours have 46 characters; a longer one would weigh on the batch it joins.
TOKEN_LENGTH_MAX = 128


def bearer(authorization: str | None) -> str:
    """The credential of an Authorization header; empty when there is none."""
    scheme, _, credential = (authorization or "").partition(" ")
    return credential.strip() if scheme.lower() == "bearer" else ""


def player_token(credential: str) -> str:
    """A credential that can be a session token.

    Errors: UNAUTHENTICATED/TOKEN_INVALID
    """
    if not 0 < len(credential) <= TOKEN_LENGTH_MAX or credential.startswith(_API_KEY_PREFIX):
        raise errors.TokenInvalid()
    return credential


def is_api_key(credential: str) -> bool:
    """Whether a credential is an operator's rather than a player's."""
    return credential.startswith(_API_KEY_PREFIX)


class Handlers(gateway_pb2_grpc.GatewayServiceServicer):
    """GatewayService."""

    def __init__(self, *, operators: Operators, players: Players, rounds: Rounds) -> None:
        self._operators = operators
        self._players = players
        self._rounds = rounds

    async def FundPlayer(
        self, request: gateway_pb2.FundPlayerRequest, context: Context
    ) -> gateway_pb2.FundPlayerResponse:
        return await self._players.fund(await self._operator(context), request)

    async def WithdrawPlayer(
        self, request: gateway_pb2.WithdrawPlayerRequest, context: Context
    ) -> gateway_pb2.WithdrawPlayerResponse:
        return await self._players.withdraw(await self._operator(context), request)

    async def CreateSession(
        self, request: gateway_pb2.CreateSessionRequest, context: Context
    ) -> gateway_pb2.CreateSessionResponse:
        return await self._players.create_session(await self._operator(context), request)

    async def ExchangeCode(
        self, request: gateway_pb2.ExchangeCodeRequest, context: Context
    ) -> gateway_pb2.ExchangeCodeResponse:
        return await self._players.exchange_code(request)

    async def GetBalance(
        self, request: gateway_pb2.GetBalanceRequest, context: Context
    ) -> gateway_pb2.GetBalanceResponse:
        return await self._players.balance(player_token(_credential(context)))

    async def Spin(self, request: gateway_pb2.SpinRequest, context: Context) -> gateway_pb2.SpinResponse:
        played = await self._rounds.spin(
            player_token(_credential(context)), request.request_id, request.stake
        )
        return gateway_pb2.SpinResponse(
            round=played_round(played.round), current_balance=played.current_balance
        )

    async def Act(self, request: gateway_pb2.ActRequest, context: Context) -> gateway_pb2.ActResponse:
        played = await self._rounds.act(player_token(_credential(context)), request)
        return gateway_pb2.ActResponse(
            round=played_round(played.round), current_balance=played.current_balance
        )

    async def GetRound(
        self, request: gateway_pb2.GetRoundRequest, context: Context
    ) -> gateway_pb2.GetRoundResponse:
        token, operator = await self._either(context)
        return await self._players.round(token=token, operator=operator, request=request)

    async def ListRounds(
        self, request: gateway_pb2.ListRoundsRequest, context: Context
    ) -> gateway_pb2.ListRoundsResponse:
        return await self._players.rounds(player_token(_credential(context)), request)

    async def CloseSession(
        self, request: gateway_pb2.CloseSessionRequest, context: Context
    ) -> gateway_pb2.CloseSessionResponse:
        token, operator = await self._either(context)
        return await self._players.close_session(token=token, operator=operator, request=request)

    async def ListGames(
        self, request: gateway_pb2.ListGamesRequest, context: Context
    ) -> gateway_pb2.ListGamesResponse:
        return await self._players.games()

    async def _operator(self, context: Context) -> Operator:
        return await self._operators.authenticate(_credential(context))

    async def _either(self, context: Context) -> tuple[str | None, Operator | None]:
        credential = _credential(context)
        if is_api_key(credential):
            return None, await self._operators.authenticate(credential)
        return player_token(credential), None


def _credential(context: Context) -> str:
    metadata = {str(key): value for key, value in context.invocation_metadata() or ()}
    value = metadata.get("authorization")
    return bearer(value if isinstance(value, str) else None)


async def to_events(
    _conn: AsyncConnection, rows: Sequence[OutboxRow]
) -> Sequence[Sequence[events_pb2.Event]]:
    """One event for each outbox row: what an operator asked for."""
    return [[_requested(row)] for row in rows]


def _requested(row: OutboxRow) -> events_pb2.Event:
    facts = {key: row.payload[key] for key in ("action", "request_id", "player_id")}
    return events_pb2.Event(
        event_type=row.kind,
        operator_id=row.payload["operator_id"],
        payload_json=msgspec.json.encode(facts),
        traceparent=row.payload["traceparent"],
    )
