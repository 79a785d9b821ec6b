"""A call of JSON-RPC 2.0 as it comes, and errors as they go."""

from typing import TypeAlias

import msgspec

from services.common.errors import DomainError
from services.gateway.edge.exchange import problem_json

# Codes of JSON-RPC 2.0. A refusal of ours is -32000 less its gRPC code: -32009 is FAILED_PRECONDITION.
PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, INTERNAL = (
    -32700,
    -32600,
    -32601,
    -32602,
    -32603,
)
_CODES = {"INVALID_ARGUMENT": INVALID_PARAMS, "INTERNAL": INTERNAL}
_EMPTY = b"{}"

Id: TypeAlias = str | int | float | None
# What reading what is none ends with; the last where it is nested too deep.
NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_encode = msgspec.json.Encoder().encode


class Envelope(msgspec.Struct):
    """A call."""

    jsonrpc: str
    method: str
    params: msgspec.Raw = msgspec.Raw(_EMPTY)
    id: Id | msgspec.UnsetType = msgspec.UNSET
    """Unset: a notification, which is carried out and not answered."""
    traceparent: str = ""
    """W3C, of this call."""


decode = msgspec.json.Decoder(Envelope).decode
decode_batch = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Credentials(msgspec.Struct, forbid_unknown_fields=True):
    """Of authenticate."""

    credential: str = ""


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """Of ping."""


def id_of(message: bytes) -> Id:
    """The id of a call that is none, where it has one."""
    try:
        found = msgspec.json.decode(message)
    except NO_JSON:
        return None
    call_id = found.get("id") if isinstance(found, dict) else None
    return call_id if isinstance(call_id, str | int | float) else None


def refused(call_id: Id, error: DomainError) -> bytes:
    """The error of an operation, as it goes: under the code of its gRPC code."""
    code = error.code
    return failed(call_id, _CODES.get(code.name, -32000 - code.value[0]), error)


def failed(call_id: Id, code: int, error: DomainError) -> bytes:
    """An error as it goes, with the problem of REST as its data."""
    body = {"code": code, "message": error.message, "data": problem_json(error)}
    return _encode({"jsonrpc": "2.0", "id": call_id, "error": body})
