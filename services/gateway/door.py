"""Who may ask for which operation, and who does it: the same for every protocol."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any, NamedTuple, cast

from reelmesh.gateway.v1 import gateway_pb2, operator_pb2
from reelmesh.session.v1 import session_pb2

from services.gateway import errors
from services.gateway.back_office import CARRIED, BackOffice
from services.gateway.client.events import ClientEvents
from services.gateway.explain.explanations import Explanations
from services.gateway.limits import PlayLimits
from services.gateway.operations import BY_NAME, Credential, Operation
from services.gateway.operators.operators import API_KEY_PREFIX, Operators
from services.gateway.players import Players
from services.gateway.rounds import Rounds, played_round
from services.gateway.store import Operator

# Ours have 46 characters; a longer one would weigh on the batch it joins.
TOKEN_LENGTH_MAX = 128


class Caller(NamedTuple):
    """Who asks. Neither: nobody in particular."""

    token: str | None = None
    """A player's, not looked at yet: the operation's first hop does that."""
    operator: Operator | None = None


def bearer(authorization: str | None) -> str:
    """The credential of an Authorization header; empty when there is none."""
    scheme, _, credential = (authorization or "").partition(" ")
    return credential.strip() if scheme.lower() == "bearer" else ""


def player_token(credential: str) -> str:
    """A credential that can be a session token.

    Errors: UNAUTHENTICATED/TOKEN_INVALID
    """
    if not 0 < len(credential) <= TOKEN_LENGTH_MAX or credential.startswith(API_KEY_PREFIX):
        raise errors.TokenInvalid()
    return credential


def is_api_key(credential: str) -> bool:
    """Whether a credential is an operator's rather than a player's."""
    return credential.startswith(API_KEY_PREFIX)


class Door:
    """The operations that have one answer, by name, and the one that has many."""

    def __init__(
        self,
        *,
        operators: Operators,
        players: Players,
        rounds: Rounds,
        back_office: BackOffice,
        limits: PlayLimits,
        explanations: Explanations,
        client_events: ClientEvents,
    ) -> None:
        self.operators, self.rounds = operators, rounds
        self._back_office, self._players = back_office, players
        self._rules: Mapping[str, Callable[[Caller, Any], Awaitable[Any]]] = {
            "FundPlayer": lambda caller, request: players.fund(_operator(caller), request),
            "WithdrawPlayer": lambda caller, request: players.withdraw(_operator(caller), request),
            "CreateSession": lambda caller, request: players.create_session(_operator(caller), request),
            "ExchangeCode": lambda _, request: players.exchange_code(request),
            "CloseSession": lambda caller, request: players.close_session(
                token=caller.token, operator=caller.operator, request=request
            ),
            "GetSession": lambda caller, _: limits.session(_token(caller)),
            "KeepAlive": lambda caller, _: limits.keep_alive(_token(caller)),
            "AcknowledgeRealityCheck": lambda caller, request: limits.acknowledge(_token(caller), request),
            "SendClientEvents": lambda caller, request: client_events.send(_token(caller), request),
            "SetPlayerLimits": lambda caller, request: limits.set_limits(_operator(caller), request),
            "GetPlayerLimits": lambda caller, request: limits.get_limits(_operator(caller), request),
            "GetBalance": lambda caller, _: players.balance(_token(caller)),
            "Spin": self._spin,
            "Act": self._act,
            "GetRound": lambda caller, request: players.round(
                token=caller.token, operator=caller.operator, request=request
            ),
            "ListRounds": lambda caller, request: players.rounds(_token(caller), request),
            "ListGames": lambda *_: players.games(),
            "GetPlayerBalance": lambda caller, request: back_office.balance(_operator(caller), request),
            "ExplainRound": lambda caller, request: explanations.explain(_operator(caller), request),
            "AdjustBalance": lambda caller, request: back_office.adjust(_operator(caller), request),
            **{name: partial(self._carry, name) for name in CARRIED},
        }

    async def admit(self, credential: Credential, shown: str, scope: str) -> Caller:
        """Who shows this. `credential`: whose operation it is; `shown`: a token, or a key with the scope.

        Errors: UNAUTHENTICATED/API_KEY_INVALID, UNAUTHENTICATED/TOKEN_INVALID,
        PERMISSION_DENIED/SCOPE_MISSING
        """
        if credential is Credential.NONE:
            return Caller()
        if credential is Credential.OPERATOR or (credential is Credential.EITHER and is_api_key(shown)):
            return Caller(operator=await self.operators.authenticate(shown, scope))
        return Caller(token=player_token(shown))

    async def session(self, token: str) -> session_pb2.Session:
        """The session of a token, whatever has become of it. Errors: UNAUTHENTICATED/TOKEN_INVALID"""
        return await self._players.session(token)

    async def call(self, operation: Operation, caller: Caller, request: Any) -> Any:
        """The answer, as GatewayService has it. Errors: the operation's own."""
        return await self._rules[operation.name](caller, request)

    async def subscribe(
        self, api_key: str, request: operator_pb2.SubscribeEventsRequest
    ) -> AsyncIterator[operator_pb2.SubscribeEventsResponse]:
        """SubscribeEvents, for as long as the key may: one that was revoked gets nothing more.

        Errors: as admit, EventService.Subscribe
        """
        scope = BY_NAME["SubscribeEvents"].scope
        operator = await self.operators.authenticate(api_key, scope)
        async with aclosing(self._back_office.subscribe(operator, request)) as answers:
            async for answer in answers:
                await self.operators.authenticate(api_key, scope)
                yield answer

    async def _carry(self, name: str, caller: Caller, request: Any) -> Any:
        return await self._back_office.carry(name, _operator(caller), request)

    async def _spin(self, caller: Caller, request: gateway_pb2.SpinRequest) -> gateway_pb2.SpinResponse:
        played = await self.rounds.spin(
            _token(caller),
            request.request_id,
            request.stake,
            request.mode,
            autoplay=request.autoplay,
            turbo=request.turbo,
        )
        return gateway_pb2.SpinResponse(
            round=played_round(played.round), current_balance=played.current_balance
        )

    async def _act(self, caller: Caller, request: gateway_pb2.ActRequest) -> gateway_pb2.ActResponse:
        played = await self.rounds.act(_token(caller), request)
        return gateway_pb2.ActResponse(
            round=played_round(played.round), current_balance=played.current_balance
        )


def _operator(caller: Caller) -> Operator:
    return cast(Operator, caller.operator)


def _token(caller: Caller) -> str:
    return cast(str, caller.token)
