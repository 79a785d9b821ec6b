"""Names of spans and attributes, each once: OpenTelemetry conventions where they exist, else reelmesh.*"""

from typing import Final

# The conventions these names are from; some still move, rpc.response.status_code twice so far.
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.39.0"

RPC_SYSTEM_NAME: Final = "rpc.system.name"
RPC_METHOD: Final = "rpc.method"
RPC_RESPONSE_STATUS_CODE: Final = "rpc.response.status_code"
RPC_SERVER_CALL_DURATION: Final = "rpc.server.call.duration"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
ERROR_TYPE: Final = "error.type"

HTTP_REQUEST_METHOD: Final = "http.request.method"
HTTP_ROUTE: Final = "http.route"
HTTP_RESPONSE_STATUS_CODE: Final = "http.response.status_code"

DB_SYSTEM: Final = "db.system.name"
DB_NAMESPACE: Final = "db.namespace"
DB_QUERY_SUMMARY: Final = "db.query.summary"
DB_STATUS_CODE: Final = "db.response.status_code"

MESSAGING_SYSTEM: Final = "messaging.system"
MESSAGING_OPERATION_TYPE: Final = "messaging.operation.type"
MESSAGING_DESTINATION: Final = "messaging.destination.name"
MESSAGING_BATCH_COUNT: Final = "messaging.batch.message_count"

# Spans that are not named after an RPC or a statement.
SPAN_RELAY: Final = "relay"
SPAN_PROCESS: Final = "process"

# On spans only; a metric carries none of them but ERROR_REASON, GAME_ID and CURRENCY.
ROUND_ID: Final = "reelmesh.round.id"
OPERATOR_ID: Final = "reelmesh.operator.id"
GAME_ID: Final = "reelmesh.game.id"
CURRENCY: Final = "reelmesh.currency"
REPLAYED: Final = "reelmesh.idempotency.replayed"
ERROR_REASON: Final = "reelmesh.error.reason"
BATCH_SIZE: Final = "reelmesh.batch.size"
# A keyed hash over round id and draw: proves what was drawn, shows nothing of it.
DRAW_HASH: Final = "reelmesh.draw.hash"
