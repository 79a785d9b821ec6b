"""Demo sessions at a click: play money for whoever asks, in development only, and never anything else.

No operation of the API: it does what an operator's back end would do, with its key, for DEMO accounts.
"""

import re
import time
import uuid
from collections.abc import Awaitable, Callable

import msgspec
from opentelemetry import trace
from reelmesh.gateway.v1 import gateway_pb2
from reelmesh.type.v1 import account_kind_pb2, money_pb2

from services.common import fields, telemetry
from services.common import telemetry_names as names
from services.common.errors import BodyMalformed, Overloaded
from services.common.server import TRACE_ID_KEY
from services.gateway import errors
from services.gateway.edge import explanation
from services.gateway.edge.exchange import Request, Response, problem
from services.gateway.explain.explanations import Explanations
from services.gateway.operators.operators import Operators
from services.gateway.players import Players
from services.gateway.tracing import told

# What a new demo player gets, once per currency: 1,000.00 EUR.
FUNDS_MINOR = 100_000
# A burst, and how fast it grows back: each is a player, an account and a deposit that stay.
SESSIONS_MAX = 30
SESSIONS_PER_S = 2.0
_SESSIONS, _EXPLANATION = "/v1/demo/sessions", "/v1/demo/rounds/{round_id}/explanation"
_EXPLANATION_TARGET = re.compile(r"/v1/demo/rounds/(?P<round_id>[^/?]+)/explanation")
_VISITOR = "demo-"
_DEMO = account_kind_pb2.ACCOUNT_KIND_DEMO
# Of the id of a demo player's only deposit.
_FUNDS = uuid.UUID("7d9c3a52-5f0e-4d51-9e43-3c1f1b0e6a77")
_encode = msgspec.json.Encoder().encode


class DemoSession(msgspec.Struct, forbid_unknown_fields=True):
    """Body of a demo session's creation. The player is a UUID that the client made up and keeps."""

    request_id: str = ""
    player_id: str = ""
    game_id: str = ""
    currency_code: str = ""


_decode = msgspec.json.Decoder(DemoSession).decode


class Demo:
    """Opens them, and shows their visitors what a round of theirs is made of."""

    def __init__(
        self,
        *,
        operators: Operators,
        players: Players,
        explanations: Explanations,
        env: str,
        api_key: str,
    ) -> None:
        """`api_key`: of the operator whose players they are; empty: there are none."""
        self._operators, self._players, self._explanations = operators, players, explanations
        self._api_key = api_key if env == "development" else ""
        self._left, self._refilled_s = float(SESSIONS_MAX), time.monotonic()

    @property
    def settings(self) -> dict[str, object]:
        """What the page is told of it."""
        if not self._api_key:
            return {"demo_offered": False}
        return {
            "demo_offered": True,
            "proof_url": _EXPLANATION,
            "proof_commands": ["make explain ROUND={round_id}", "make replay ROUND={round_id}"],
        }

    def find(self, request: Request) -> Awaitable[Response] | None:
        """The answer to who wants a demo session, or to know of a round of one; None: it is neither."""
        if request.method == "POST" and request.target == _SESSIONS:
            return self._answer(request, _SESSIONS, self._open)
        found = _EXPLANATION_TARGET.fullmatch(request.target)
        if found is None or request.method != "GET":
            return None
        request.parameters = found.groupdict()
        return self._answer(request, _EXPLANATION, self._explain)

    async def _answer(
        self, request: Request, route: str, work: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        """Never an exception."""
        started_s = time.perf_counter()
        with telemetry.span(
            f"{request.method} {route}",
            kind=trace.SpanKind.SERVER,
            parent=request.header(b"traceparent"),
            attributes={names.HTTP_REQUEST_METHOD: request.method, names.HTTP_ROUTE: route},
        ) as span:
            try:
                if request.refusal is not None:
                    raise request.refusal
                if not self._api_key:
                    raise errors.DemoNotOffered()
                response = await work(request)
            except Exception as error:
                response = problem(told(error))
            span.set_attribute(names.HTTP_RESPONSE_STATUS_CODE, response.status)
            response.headers[TRACE_ID_KEY] = telemetry.trace_id()
        failed = str(response.status) if response.status >= 500 else None
        values = (request.method, route, response.status, failed, request.scheme)
        telemetry.http_requests.record(values, time.perf_counter() - started_s)
        return response

    async def _explain(self, request: Request) -> Response:
        """GET /v1/demo/rounds/{round_id}/explanation: for the visitor's browser, which has no API key.

        Errors: OVERLOADED, ROUND_NOT_FOUND unless a visitor played it, and those of ExplainRound
        """
        self._take_one()
        operator = await self._operators.authenticate(self._api_key, "round.read")
        explain = gateway_pb2.ExplainRoundRequest(round_id=request.parameters["round_id"], replay=True)
        explained = await self._explanations.explain(operator, explain)
        played = explained.game.round
        if played.kind != _DEMO or not played.player_id.startswith(_VISITOR):
            raise errors.RoundNotFound()
        return explanation.page(explained)

    async def _open(self, request: Request) -> Response:
        """POST /v1/demo/sessions

        Errors: OVERLOADED, and those of deposits and sessions
        """
        try:
            asked = _decode(request.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BodyMalformed(problem=str(error)[:200]) from None
        fields.require_uuid(asked.request_id, "request_id")
        # No real player's id looks like this.
        player_id = f"{_VISITOR}{fields.require_uuid(asked.player_id, 'player_id')}"
        self._take_one()
        operator = await self._operators.authenticate(self._api_key, "session.write")
        await self._players.fund(
            operator,
            gateway_pb2.FundPlayerRequest(
                # Always the same, so that it is made once.
                request_id=str(uuid.uuid5(_FUNDS, f"{player_id} {asked.currency_code}")),
                player_id=player_id,
                amount=money_pb2.Money(currency_code=asked.currency_code, amount_minor=FUNDS_MINOR),
                kind=_DEMO,
            ),
        )
        created = await self._players.create_session(
            operator,
            gateway_pb2.CreateSessionRequest(
                request_id=asked.request_id,
                player_id=player_id,
                game_id=asked.game_id,
                currency_code=asked.currency_code,
                kind=_DEMO,
            ),
        )
        answer = {
            "session_id": created.session_id,
            "launch_code": created.launch_code or None,
            "jurisdiction": operator.jurisdiction,
        }
        return Response(200, _encode(answer))

    def _take_one(self) -> None:
        """One of the sessions that may be opened now. Errors: OVERLOADED."""
        now_s = time.monotonic()
        self._left = min(SESSIONS_MAX, self._left + (now_s - self._refilled_s) * SESSIONS_PER_S)
        self._refilled_s = now_s
        if self._left < 1:
            raise Overloaded(retry_after_ms=int(1000 * (1 - self._left) / SESSIONS_PER_S) + 1)
        self._left -= 1
