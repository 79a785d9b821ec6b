"""The operations of the door, once: REST, JSON-RPC, OpenAPI and tests are derived from this table.

Requests and answers are those of GatewayService; the table adds what protobuf does not say.
"""

import re
from enum import Enum
from typing import NamedTuple

from google.protobuf.descriptor import MethodDescriptor
from reelmesh.gateway.v1 import gateway_pb2

_SERVICE = gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"]


class Credential(Enum):
    """Whose operation it is."""

    NONE = "none"
    PLAYER = "player"
    """A session token."""
    OPERATOR = "operator"
    """An API key."""
    EITHER = "either"


class Route(NamedTuple):
    """A way over REST."""

    http_method: str
    path: str
    """Its parameters are fields of the request."""
    credential: Credential
    name: str
    """Of the operation, or its own where an operation has several."""

    bodiless: bool = False
    """Whether it asks for nothing but what the path says."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names in its path."""
        return tuple(re.findall(r"{(\w+)}", self.path))


class Operation(NamedTuple):
    """One RPC of GatewayService."""

    name: str
    credential: Credential
    routes: tuple[Route, ...]
    scope: str
    """What an API key must be allowed to, "<noun>.<read or write>"; empty for players' operations."""
    method: str
    """Its name over JSON-RPC."""
    hot: bool
    """Mapped by hand, because every spin pays for it."""
    bare: str
    """The field of the answer that is answered by itself; empty: the whole answer."""

    def elsewhere(self, route: Route) -> tuple[str, ...]:
        """Fields of the request that its body or query does not have: the path tells them, or their like."""
        fields = self.descriptor.input_type.fields
        named = [field for field in fields if field.name in route.parameters]
        told = {field.containing_oneof.name for field in named if field.containing_oneof is not None}
        return tuple(
            field.name
            for field in fields
            if route.bodiless
            or field in named
            or (field.containing_oneof is not None and field.containing_oneof.name in told)
        )

    @property
    def descriptor(self) -> MethodDescriptor:
        """The RPC."""
        return _SERVICE.methods_by_name[self.name]


def _operation(
    name: str,
    credential: Credential,
    *routes: str | Route,
    scope: str = "",
    method: str = "",
    hot: bool = False,
    bare: str = "",
) -> Operation:
    """`routes`: "GET /v1/games"."""
    found = []
    for route in routes:
        if isinstance(route, str):
            http_method, path = route.split(" ")
            route = Route(http_method, path, credential, name)
        found.append(route)
    method = method or re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
    return Operation(name, credential, tuple(found), scope, method, hot, bare)


_NONE, _PLAYER, _OPERATOR = Credential.NONE, Credential.PLAYER, Credential.OPERATOR
_PLAYER_PATH, _WEBHOOK_PATH = "/v1/players/{player_id}", "/v1/webhooks/{webhook_id}"
_STUCK_PATH = "/v1/stuck_calls"

OPERATIONS: tuple[Operation, ...] = (
    _operation("FundPlayer", _OPERATOR, f"POST {_PLAYER_PATH}/deposits", scope="wallet.write"),
    _operation("WithdrawPlayer", _OPERATOR, f"POST {_PLAYER_PATH}/withdrawals", scope="wallet.write"),
    _operation("CreateSession", _OPERATOR, "POST /v1/sessions", scope="session.write"),
    _operation("ExchangeCode", _NONE, "POST /v1/sessions/exchange"),
    _operation(
        "CloseSession",
        Credential.EITHER,
        Route("POST", "/v1/sessions/close", _PLAYER, "CloseSession", bodiless=True),
        Route("POST", "/v1/sessions/{session_id}/close", _OPERATOR, "CloseSessionOfPlayer"),
        scope="session.write",
    ),
    _operation("GetSession", _PLAYER, "GET /v1/session"),
    _operation(
        "KeepAlive", _PLAYER, Route("POST", "/v1/session/keep_alive", _PLAYER, "KeepAlive", bodiless=True)
    ),
    _operation("AcknowledgeRealityCheck", _PLAYER, "POST /v1/session/reality_check"),
    _operation("SendClientEvents", _PLAYER, "POST /v1/client_events", method="client_events"),
    _operation("GetBalance", _PLAYER, "GET /v1/balance", method="balance"),
    _operation("Spin", _PLAYER, "POST /v1/spins", hot=True),
    _operation(
        "GetRound",
        Credential.EITHER,
        Route("GET", "/v1/spins/{request_id}", _PLAYER, "GetRoundOfSpin"),
        Route("GET", "/v1/rounds/{round_id}", Credential.EITHER, "GetRound"),
        scope="round.read",
        bare="round",
    ),
    _operation("ListRounds", _PLAYER, "GET /v1/rounds"),
    _operation("Act", _PLAYER, "POST /v1/rounds/{round_id}/steps", hot=True),
    _operation("ListGames", _NONE, "GET /v1/games"),
    _operation("ExplainRound", _OPERATOR, "GET /v1/rounds/{round_id}/explanation", scope="round.read"),
    _operation("GetPlayerBalance", _OPERATOR, f"GET {_PLAYER_PATH}/balance", scope="wallet.read"),
    _operation("ListTransactions", _OPERATOR, f"GET {_PLAYER_PATH}/transactions", scope="wallet.read"),
    _operation(
        "GetTransactions",
        _OPERATOR,
        Route("GET", "/v1/transactions/{transaction_id}", _OPERATOR, "GetTransactions"),
        Route("GET", "/v1/transfers/{request_id}", _OPERATOR, "GetTransfer"),
        scope="wallet.read",
    ),
    _operation("GetDailyTotals", _OPERATOR, "GET /v1/totals/{day}", scope="wallet.read"),
    _operation("AdjustBalance", _OPERATOR, f"POST {_PLAYER_PATH}/adjustments", scope="wallet.write"),
    _operation("FreezeAccount", _OPERATOR, f"POST {_PLAYER_PATH}/freeze", scope="account.write"),
    _operation("UnfreezeAccount", _OPERATOR, f"POST {_PLAYER_PATH}/unfreeze", scope="account.write"),
    _operation("SetPlayerLimits", _OPERATOR, f"POST {_PLAYER_PATH}/limits", scope="account.write"),
    _operation("GetPlayerLimits", _OPERATOR, f"GET {_PLAYER_PATH}/limits", scope="account.read"),
    _operation("ListPlayerRounds", _OPERATOR, f"GET {_PLAYER_PATH}/rounds", scope="round.read"),
    _operation("RollbackRound", _OPERATOR, "POST /v1/rounds/{round_id}/rollback", scope="round.write"),
    _operation("RollbackBet", _OPERATOR, "POST /v1/rounds/{round_id}/rollback_bet", scope="round.write"),
    _operation("ListReviews", _OPERATOR, "GET /v1/reviews", scope="review.read"),
    _operation("ResolveReview", _OPERATOR, "POST /v1/reviews/{round_id}/resolve", scope="review.write"),
    _operation("ListRollbackReviews", _OPERATOR, "GET /v1/rollback_reviews", scope="review.read"),
    _operation("ListStuckCalls", _OPERATOR, f"GET {_STUCK_PATH}", scope="review.read"),
    _operation(
        "ResolveStuckCall", _OPERATOR, f"POST {_STUCK_PATH}/{{round_id}}/resolve", scope="review.write"
    ),
    _operation("ListEvents", _OPERATOR, "GET /v1/events", scope="event.read"),
    _operation("SubscribeEvents", _OPERATOR, scope="event.read", method="events"),
    _operation("CreateWebhook", _OPERATOR, "POST /v1/webhooks", scope="webhook.write"),
    _operation("ListWebhooks", _OPERATOR, "GET /v1/webhooks", scope="webhook.read"),
    _operation("RotateWebhookSecret", _OPERATOR, f"POST {_WEBHOOK_PATH}/secret", scope="webhook.write"),
    _operation("PauseWebhook", _OPERATOR, f"POST {_WEBHOOK_PATH}/pause", scope="webhook.write"),
    _operation("ResumeWebhook", _OPERATOR, f"POST {_WEBHOOK_PATH}/resume", scope="webhook.write"),
    _operation("DeleteWebhook", _OPERATOR, f"DELETE {_WEBHOOK_PATH}", scope="webhook.write"),
    _operation("ListDeadLetters", _OPERATOR, f"GET {_WEBHOOK_PATH}/dead_letters", scope="webhook.read"),
    _operation("RedeliverDeadLetters", _OPERATOR, f"POST {_WEBHOOK_PATH}/redeliver", scope="webhook.write"),
    # Over gRPC only: a stream of what Spin and Act are. A WebSocket is such a stream by itself.
    _operation("Play", _PLAYER),
)

BY_NAME = {operation.name: operation for operation in OPERATIONS}
ROUTES = [route for operation in OPERATIONS for route in operation.routes]
