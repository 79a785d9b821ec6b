"""REST: one route per operation of GatewayService, errors as RFC 9457 problem+json."""

import logging
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias
from urllib.parse import unquote

import httptools
import msgspec
from opentelemetry import trace
from reelmesh.gateway.v1 import gateway_pb2

from services.common import db, failpoints, telemetry
from services.common import telemetry_names as names
from services.common.errors import DomainError, FieldInvalid, Internal
from services.common.server import TRACE_ID_KEY
from services.gateway import errors
from services.gateway.edge import messages
from services.gateway.edge.exchange import Request, Response, problem
from services.gateway.handlers import bearer, is_api_key, player_token
from services.gateway.operators import Operators
from services.gateway.players import Players
from services.gateway.rounds import Rounds
from services.gateway.store import Operator

log = logging.getLogger(__name__)
Operation: TypeAlias = Callable[["Rest", Request], Awaitable[dict[str, Any]]]
Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]
_encode = msgspec.json.Encoder().encode


class Rest:
    """The REST operations over the same rules as gRPC."""

    def __init__(self, *, operators: Operators, players: Players, rounds: Rounds) -> None:
        self._operators = operators
        self._players = players
        self._rounds = rounds
        # A target without parameters and query is looked up; for others the patterns are searched.
        self._endpoints = {(route[0], route[1]): self._endpoint(*route) for route in ROUTES}
        self._patterns = [
            (method, _pattern(path), self._endpoints[method, path]) for method, path, _, _ in ROUTES
        ]

    def answer(self, request: Request) -> Awaitable[Response]:
        """What the request is answered with: never an exception."""
        endpoint = self._endpoints.get((request.method, request.target)) or self._find(request)
        return endpoint(request)

    def _find(self, request: Request) -> Endpoint:
        """The endpoint of the request's path, whose parameters it sets. There are no redirects."""
        request.path, request.query = _split(request.target)
        # Answered like GET; the server leaves the body out.
        wanted = "GET" if request.method == "HEAD" else request.method
        allowed: list[str] = []
        for method, pattern, endpoint in self._patterns:
            found = pattern.fullmatch(request.path)
            if found is not None:
                if method == wanted:
                    request.parameters = found.groupdict()
                    return endpoint
                allowed += ["GET", "HEAD"] if method == "GET" else [method]
        return partial(_unrouted, allowed)

    def _endpoint(self, method: str, path: str, name: str, operation: Operation) -> Endpoint:
        span_name = f"{method} {path}"
        attributes = {names.HTTP_REQUEST_METHOD: method, names.HTTP_ROUTE: path}

        async def endpoint(request: Request) -> Response:
            with telemetry.span(
                span_name,
                kind=trace.SpanKind.SERVER,
                parent=request.header(b"traceparent"),
                attributes=attributes,
            ) as span:
                try:
                    if request.refusal is not None:
                        raise request.refusal
                    response = Response(200, _encode(await operation(self, request)))
                except Exception as error:
                    response = problem(_translate(error))
                _trace(response, span)
            if failpoints.armed():
                response.after_reply = partial(failpoints.reach, "after_reply", name)
            return response

        return endpoint

    async def operator(self, request: Request) -> Operator:
        """The operator behind the request's API key."""
        return await self._operators.authenticate(bearer(request.header(b"authorization")))

    async def either(self, request: Request) -> tuple[str | None, Operator | None]:
        """The player's token, or the operator."""
        credential = bearer(request.header(b"authorization"))
        if is_api_key(credential):
            return None, await self._operators.authenticate(credential)
        return player_token(credential), None

    async def fund(self, request: Request) -> dict[str, Any]:
        """POST /v1/players/{player_id}/deposits"""
        operator = await self.operator(request)
        body = messages.decode(request.body, messages.Transfer)
        fund = gateway_pb2.FundPlayerRequest(
            request_id=body.request_id,
            player_id=_player_id(request),
            amount=messages.money(body.amount, "amount"),
            kind=messages.kind(body.kind),
        )
        return messages.transfer_json(await self._players.fund(operator, fund))

    async def withdraw(self, request: Request) -> dict[str, Any]:
        """POST /v1/players/{player_id}/withdrawals"""
        operator = await self.operator(request)
        body = messages.decode(request.body, messages.Transfer)
        withdraw = gateway_pb2.WithdrawPlayerRequest(
            request_id=body.request_id,
            player_id=_player_id(request),
            amount=messages.money(body.amount, "amount"),
            kind=messages.kind(body.kind),
        )
        return messages.transfer_json(await self._players.withdraw(operator, withdraw))

    async def create_session(self, request: Request) -> dict[str, Any]:
        """POST /v1/sessions"""
        operator = await self.operator(request)
        body = messages.decode(request.body, messages.NewSession)
        return messages.created_json(await self._players.create_session(operator, messages.new_session(body)))

    async def exchange_code(self, request: Request) -> dict[str, Any]:
        """POST /v1/sessions/exchange"""
        body = messages.decode(request.body, messages.Code)
        return messages.exchanged_json(
            await self._players.exchange_code(gateway_pb2.ExchangeCodeRequest(launch_code=body.launch_code))
        )

    async def close_session(self, request: Request) -> dict[str, Any]:
        """POST /v1/sessions/close (player) or /v1/sessions/{session_id}/close (operator)"""
        session_id = request.parameters.get("session_id", "")
        if session_id:
            token, operator = None, await self.operator(request)
        else:
            token, operator = player_token(bearer(request.header(b"authorization"))), None
        return messages.closed_json(
            await self._players.close_session(
                token=token,
                operator=operator,
                request=gateway_pb2.CloseSessionRequest(session_id=session_id),
            )
        )

    async def balance(self, request: Request) -> dict[str, Any]:
        """GET /v1/balance"""
        response = await self._players.balance(player_token(bearer(request.header(b"authorization"))))
        return {
            "balance": messages.amount_json(response.balance),
            "open_rounds_at_risk": messages.amount_json(response.open_rounds_at_risk),
        }

    async def spin(self, request: Request) -> dict[str, Any]:
        """POST /v1/spins"""
        self._rounds.require_room()
        token = player_token(bearer(request.header(b"authorization")))
        body = messages.decode(request.body, messages.Spin)
        stake = messages.money(body.stake, "stake")
        return messages.played_json(await self._rounds.spin(token, body.request_id, stake))

    async def act(self, request: Request) -> dict[str, Any]:
        """POST /v1/rounds/{round_id}/steps"""
        token = player_token(bearer(request.header(b"authorization")))
        body = messages.decode(request.body, messages.Choice)
        if not 0 <= body.step < 2**31:
            raise FieldInvalid(field="step", problem="must be 1 or more")
        act = gateway_pb2.ActRequest(
            round_id=request.parameters["round_id"], step=body.step, choice=body.choice
        )
        return messages.played_json(await self._rounds.act(token, act))

    async def round(self, request: Request) -> dict[str, Any]:
        """GET /v1/rounds/{round_id} or /v1/spins/{request_id}"""
        token, operator = await self.either(request)
        key = gateway_pb2.GetRoundRequest(**request.parameters)
        answer = await self._players.round(token=token, operator=operator, request=key)
        return messages.round_json(answer.round)

    async def rounds(self, request: Request) -> dict[str, Any]:
        """GET /v1/rounds?page_size=&page_token="""
        token = player_token(bearer(request.header(b"authorization")))
        size = request.query_value("page_size", "0")
        if not size.isdecimal() or len(size) > 6:
            raise FieldInvalid(field="page_size", problem="must be a number from 1 to 100")
        answer = await self._players.rounds(
            token,
            gateway_pb2.ListRoundsRequest(
                page_size=int(size), page_token=request.query_value("page_token", "")
            ),
        )
        return {
            "rounds": [messages.round_json(played) for played in answer.rounds],
            "next_page_token": answer.next_page_token or None,
        }

    async def games(self, request: Request) -> dict[str, Any]:
        """GET /v1/games"""
        answer = await self._players.games()
        return {"games": [messages.game_json(game) for game in answer.games]}


ROUTES: list[tuple[str, str, str, Operation]] = [
    ("POST", "/v1/players/{player_id}/deposits", "FundPlayer", Rest.fund),
    ("POST", "/v1/players/{player_id}/withdrawals", "WithdrawPlayer", Rest.withdraw),
    ("POST", "/v1/sessions", "CreateSession", Rest.create_session),
    ("POST", "/v1/sessions/exchange", "ExchangeCode", Rest.exchange_code),
    ("POST", "/v1/sessions/close", "CloseSession", Rest.close_session),
    ("POST", "/v1/sessions/{session_id}/close", "CloseSessionOfPlayer", Rest.close_session),
    ("GET", "/v1/balance", "GetBalance", Rest.balance),
    ("POST", "/v1/spins", "Spin", Rest.spin),
    ("GET", "/v1/spins/{request_id}", "GetRoundOfSpin", Rest.round),
    ("GET", "/v1/rounds", "ListRounds", Rest.rounds),
    ("GET", "/v1/rounds/{round_id}", "GetRound", Rest.round),
    ("POST", "/v1/rounds/{round_id}/steps", "Act", Rest.act),
    ("GET", "/v1/games", "ListGames", Rest.games),
]


def _player_id(request: Request) -> str:
    """The path's player. Bytes that are no UTF-8 all decode to one character, which joins two players."""
    player_id = request.parameters["player_id"]
    if "\N{REPLACEMENT CHARACTER}" in player_id:
        raise FieldInvalid(field="player_id", problem="not UTF-8")
    return player_id


def _pattern(path: str) -> re.Pattern[str]:
    """A route's path as an expression: a parameter is one segment, not empty."""
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))


def _split(target: str) -> tuple[str, str]:
    """Path, decoded, and query of a target; one that is no URL is all path."""
    try:
        url = httptools.parse_url(target.encode("latin-1"))
    except httptools.HttpParserInvalidURLError:
        return target, ""
    return unquote((url.path or b"/").decode("latin-1")), (url.query or b"").decode("latin-1")


def _trace(response: Response, span: trace.Span) -> None:
    """Gives the response its trace id, and the span its status."""
    span.set_attribute(names.HTTP_RESPONSE_STATUS_CODE, response.status)
    if response.status >= 500:
        span.set_status(trace.StatusCode.ERROR)
    response.headers[TRACE_ID_KEY] = telemetry.trace_id()


async def _unrouted(allowed: list[str], request: Request) -> Response:
    """What no route takes; it has a trace like every other answer."""
    with telemetry.span(
        request.method or "HTTP",
        kind=trace.SpanKind.SERVER,
        parent=request.header(b"traceparent"),
        attributes={names.HTTP_REQUEST_METHOD: request.method or "_OTHER"},
    ) as span:
        if request.refusal is not None:
            response = problem(request.refusal)
        elif allowed:
            response = problem(errors.MethodNotAllowed(method=request.method))
            # Which methods there are (RFC 9110, 15.5.6).
            response.headers["allow"] = ", ".join(allowed)
        else:
            response = problem(errors.RouteNotFound(path=request.path))
        _trace(response, span)
    return response


def _translate(error: Exception) -> DomainError:
    """What the caller is told; the unexpected is logged here, once, and never shown."""
    told = db.translate(error)
    if isinstance(told, Internal) and told is not error:
        log.error("a request failed", exc_info=error)
    return told
