"""REST: one route per operation of GatewayService, errors as RFC 9457 problem+json."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from opentelemetry import trace
from reelmesh.gateway.v1 import gateway_pb2
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from services.common import db, failpoints, telemetry
from services.common import telemetry_names as names
from services.common.errors import BodyTooLarge, DomainError, FieldInvalid, Internal
from services.common.server import TRACE_ID_KEY
from services.gateway import errors
from services.gateway.edge import messages
from services.gateway.handlers import bearer, is_api_key, player_token
from services.gateway.operators import Operators
from services.gateway.players import Players
from services.gateway.rounds import Rounds
from services.gateway.store import Operator

log = logging.getLogger(__name__)
Operation = Callable[["Rest", Request], Awaitable[dict[str, Any]]]
# uvicorn takes headers of any size. Browsers and proxies stay well below.
HEADERS_SIZE_BYTES_MAX = 16 * 1024
_encode = msgspec.json.Encoder().encode


class Rest:
    """The REST operations over the same rules as gRPC."""

    def __init__(
        self, *, operators: Operators, players: Players, rounds: Rounds, body_size_bytes_max: int
    ) -> None:
        self._operators = operators
        self._players = players
        self._rounds = rounds
        self._body_size_bytes_max = body_size_bytes_max

    def app(self) -> ASGIApp:
        """The ASGI application. A path without parameters is looked up; Starlette judges all the others.

        Its middlewares and its search for a route cost more than a spin's reading and writing, and answer
        nothing that the endpoints have not answered themselves.
        """
        endpoints = {(route[0], route[1]): self._endpoint(*route) for route in ROUTES}
        routes = [
            Route(path, endpoints[method, path], methods=[method], name=name)
            for method, path, name, _ in ROUTES
        ]
        app = Starlette(routes=routes, exception_handlers={HTTPException: _unrouted})
        # A redirect would be an answer without a trace, of a form that the contract does not know.
        app.router.redirect_slashes = False

        async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
            endpoint = endpoints.get((scope.get("method", ""), scope.get("path", "")))
            if endpoint is None:
                await app(scope, receive, send)
            else:
                response = await endpoint(Request(scope, receive, send))
                await response(scope, receive, send)

        return dispatch

    def _endpoint(
        self, method: str, path: str, name: str, operation: Operation
    ) -> Callable[[Request], Awaitable[Response]]:
        span_name = f"{method} {path}"
        attributes = {names.HTTP_REQUEST_METHOD: method, names.HTTP_ROUTE: path}

        async def endpoint(request: Request) -> Response:
            with telemetry.span(
                span_name,
                kind=trace.SpanKind.SERVER,
                parent=_header(request.scope, b"traceparent"),
                attributes=attributes,
            ) as span:
                response = _traced(await self._answer(operation, request), span)
            if failpoints.armed():
                response.background = BackgroundTask(failpoints.reach, "after_reply", name)
            return response

        return endpoint

    async def _answer(self, operation: Operation, request: Request) -> Response:
        try:
            headers_size_bytes = sum(len(name) + len(value) for name, value in request.scope["headers"])
            if headers_size_bytes > HEADERS_SIZE_BYTES_MAX:
                raise BodyTooLarge(size_bytes_max=HEADERS_SIZE_BYTES_MAX)
            return _json(await operation(self, request))
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception as error:
            return problem(_translate(error))

    async def body(self, request: Request) -> bytes:
        """The body, refused by the bytes read rather than by what a header claims.

        Errors: RESOURCE_EXHAUSTED/BODY_TOO_LARGE
        """
        body = b""
        while True:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect()
            chunk: bytes = message.get("body", b"")
            body += chunk
            if len(body) > self._body_size_bytes_max:
                raise BodyTooLarge(size_bytes_max=self._body_size_bytes_max)
            if not message.get("more_body", False):
                return body

    async def operator(self, request: Request) -> Operator:
        """The operator behind the request's API key."""
        return await self._operators.authenticate(bearer(_header(request.scope, b"authorization")))

    async def either(self, request: Request) -> tuple[str | None, Operator | None]:
        """The player's token, or the operator."""
        credential = bearer(_header(request.scope, b"authorization"))
        if is_api_key(credential):
            return None, await self._operators.authenticate(credential)
        return player_token(credential), None

    async def fund(self, request: Request) -> dict[str, Any]:
        """POST /v1/players/{player_id}/deposits"""
        operator = await self.operator(request)
        body = messages.decode(await self.body(request), messages.Transfer)
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
        body = messages.decode(await self.body(request), messages.Transfer)
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
        body = messages.decode(await self.body(request), messages.NewSession)
        return messages.created_json(await self._players.create_session(operator, messages.new_session(body)))

    async def exchange_code(self, request: Request) -> dict[str, Any]:
        """POST /v1/sessions/exchange"""
        body = messages.decode(await self.body(request), messages.Code)
        return messages.exchanged_json(
            await self._players.exchange_code(gateway_pb2.ExchangeCodeRequest(launch_code=body.launch_code))
        )

    async def close_session(self, request: Request) -> dict[str, Any]:
        """POST /v1/sessions/close (player) or /v1/sessions/{session_id}/close (operator)"""
        session_id = request.path_params.get("session_id", "")
        if session_id:
            token, operator = None, await self.operator(request)
        else:
            token, operator = player_token(bearer(_header(request.scope, b"authorization"))), None
        return messages.closed_json(
            await self._players.close_session(
                token=token,
                operator=operator,
                request=gateway_pb2.CloseSessionRequest(session_id=session_id),
            )
        )

    async def balance(self, request: Request) -> dict[str, Any]:
        """GET /v1/balance"""
        response = await self._players.balance(player_token(bearer(_header(request.scope, b"authorization"))))
        return {
            "balance": messages.amount_json(response.balance),
            "open_rounds_at_risk": messages.amount_json(response.open_rounds_at_risk),
        }

    async def spin(self, request: Request) -> dict[str, Any]:
        """POST /v1/spins"""
        token = player_token(bearer(_header(request.scope, b"authorization")))
        body = messages.decode(await self.body(request), messages.Spin)
        stake = messages.money(body.stake, "stake")
        return messages.played_json(await self._rounds.spin(token, body.request_id, stake))

    async def act(self, request: Request) -> dict[str, Any]:
        """POST /v1/rounds/{round_id}/steps"""
        token = player_token(bearer(_header(request.scope, b"authorization")))
        body = messages.decode(await self.body(request), messages.Choice)
        if not 0 <= body.step < 2**31:
            raise FieldInvalid(field="step", problem="must be 1 or more")
        act = gateway_pb2.ActRequest(
            round_id=request.path_params["round_id"], step=body.step, choice=body.choice
        )
        return messages.played_json(await self._rounds.act(token, act))

    async def round(self, request: Request) -> dict[str, Any]:
        """GET /v1/rounds/{round_id} or /v1/spins/{request_id}"""
        token, operator = await self.either(request)
        key = gateway_pb2.GetRoundRequest(**request.path_params)
        answer = await self._players.round(token=token, operator=operator, request=key)
        return messages.round_json(answer.round)

    async def rounds(self, request: Request) -> dict[str, Any]:
        """GET /v1/rounds?page_size=&page_token="""
        token = player_token(bearer(_header(request.scope, b"authorization")))
        size = request.query_params.get("page_size", "0")
        if not size.isdecimal() or len(size) > 6:
            raise FieldInvalid(field="page_size", problem="must be a number from 1 to 100")
        answer = await self._players.rounds(
            token,
            gateway_pb2.ListRoundsRequest(
                page_size=int(size), page_token=request.query_params.get("page_token", "")
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
    player_id: str = request.path_params["player_id"]
    if "\N{REPLACEMENT CHARACTER}" in player_id:
        raise FieldInvalid(field="player_id", problem="not UTF-8")
    return player_id


def _header(scope: Scope, name: bytes) -> str:
    """A request header's value, the first of that name; empty when there is none. `name`: lower case."""
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return ""


def _json(answer: dict[str, Any]) -> Response:
    return Response(_encode(answer), media_type="application/json")


def problem(error: DomainError) -> Response:
    """RFC 9457: the same reason, class and trace id as over gRPC."""
    span = trace.get_current_span()
    span.set_attribute(names.ERROR_REASON, error.reason)
    title = error.reason.replace("_", " ").capitalize()
    response = Response(
        msgspec.json.encode(
            {
                "type": f"https://reelmesh.dev/errors/{error.reason}",
                "title": title,
                "status": error.http_status,
                "detail": error.message,
                "reason": error.reason,
                "class": error.error_class,
                "metadata": error.metadata,
                "trace_id": telemetry.trace_id(),
            }
        ),
        error.http_status,
        media_type="application/problem+json",
    )
    if "retry_after_ms" in error.metadata:
        response.headers["retry-after"] = str(-(-int(error.metadata["retry_after_ms"]) // 1000))
    return response


def _traced(response: Response, span: trace.Span) -> Response:
    """The response with its trace id, and the span with its status."""
    span.set_attribute(names.HTTP_RESPONSE_STATUS_CODE, response.status_code)
    if response.status_code >= 500:
        span.set_status(trace.StatusCode.ERROR)
    response.headers[TRACE_ID_KEY] = telemetry.trace_id()
    return response


async def _unrouted(request: Request, error: Exception) -> Response:
    """What no route takes; it has a trace like every other answer."""
    with telemetry.span(
        request.method,
        kind=trace.SpanKind.SERVER,
        parent=_header(request.scope, b"traceparent"),
        attributes={names.HTTP_REQUEST_METHOD: request.method},
    ) as span:
        status = error.status_code if isinstance(error, HTTPException) else 500
        if status == 405:
            response = problem(errors.MethodNotAllowed(method=request.method))
            # Which methods there are (RFC 9110, 15.5.6).
            response.headers.update(getattr(error, "headers", None) or {})
        elif status == 404:
            response = problem(errors.RouteNotFound(path=request.url.path))
        else:
            response = problem(_translate(error))
        return _traced(response, span)


def _translate(error: Exception) -> DomainError:
    """What the caller is told; the unexpected is logged here, once, and never shown."""
    told = db.translate(error)
    if isinstance(told, Internal) and told is not error:
        log.error("a request failed", exc_info=error)
    return told
