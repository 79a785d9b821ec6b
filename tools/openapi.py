"""The gateway's OpenAPI document, from the protos and the table of operations: openapi.py write | check"""

import json
import sys
from typing import Any

from reelmesh.type.v1 import error_pb2

from services.common import VERSION
from services.common.errors import spec_of
from services.gateway.edge.calls import WRITERS
from services.gateway.operations import OPERATIONS, Credential, Operation, Route
from tools import contract
from tools.openapi_schemas import Json, Schemas, parameter, request_schema

PATH = contract.ROOT / "services/gateway/edge/openapi.json"

_DESCRIPTION = """\
One set of operations over three protocols: gRPC, this one, and JSON-RPC 2.0 over WebSocket at /v1/ws.
Amounts are minor units (100 is 1.00 EUR). Repeat a request with the same request_id until it is answered: it
takes effect once. A refusal is a problem of RFC 9457 whose `class` says what to do next. Every answer names
its trace in x-trace-id."""
# What any operation may answer; what the way itself refuses comes before any operation.
_ANYWHERE = (
    "INTERNAL",
    "UNAVAILABLE",
    "DEADLINE_EXCEEDED",
    "OVERLOADED",
    "BODY_MALFORMED",
    "BODY_TOO_LARGE",
    "URL_TOO_LONG",
    "HEAD_TOO_LARGE",
)
_OF_FIELDS = ("FIELD_MISSING", "FIELD_INVALID", "CURRENCY_UNKNOWN", "AMOUNT_NOT_POSITIVE", "AMOUNT_TOO_LARGE")
_OF_CREDENTIAL = {
    Credential.NONE: (),
    Credential.PLAYER: ("TOKEN_INVALID", "SESSION_EXPIRED", "SESSION_CLOSED", "SESSION_REPLACED"),
    Credential.OPERATOR: ("API_KEY_INVALID",),
}
_OF_CREDENTIAL[Credential.EITHER] = (*_OF_CREDENTIAL[Credential.PLAYER], *_OF_CREDENTIAL[Credential.OPERATOR])
_KEY, _TOKEN = {"api_key": list[str]()}, {"session_token": list[str]()}
_SECURITY = {
    Credential.NONE: [],
    Credential.PLAYER: [_TOKEN],
    Credential.OPERATOR: [_KEY],
    Credential.EITHER: [_TOKEN, _KEY],
}


def document() -> Json:
    """The document."""
    schemas = Schemas()
    paths: dict[str, Json] = {}
    for operation in OPERATIONS:
        for route in operation.routes:
            paths.setdefault(route.path, {})[route.http_method.lower()] = _operation(
                operation, route, schemas
            )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Reelmesh gateway",
            "version": VERSION,
            "description": " ".join(_DESCRIPTION.split()),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "player", "description": "With a session token, or none."},
            {"name": "operator", "description": "With an API key."},
        ],
        "paths": paths,
        "components": {
            "schemas": {**schemas.all(), "Problem": _problem()},
            "securitySchemes": {
                "api_key": {"type": "http", "scheme": "bearer", "description": "An operator's API key."},
                "session_token": {"type": "http", "scheme": "bearer", "description": "A player's token."},
            },
            "headers": {
                "trace_id": {"description": "The trace of this answer.", "schema": {"type": "string"}},
            },
        },
    }


def _operation(operation: Operation, route: Route, schemas: Schemas) -> Json:
    descriptor = operation.descriptor
    description = contract.told(descriptor.full_name)
    elsewhere = operation.elsewhere(route)
    fields = [field for field in descriptor.input_type.fields if field.name not in elsewhere]
    by_name = descriptor.input_type.fields_by_name
    parameters = [parameter(by_name[name], "path") for name in route.parameters]
    answer: Any = descriptor.output_type
    if operation.bare:
        answer = answer.fields_by_name[operation.bare].message_type
    described: Json = {
        "operationId": route.name,
        "summary": description.removeprefix("Operator. ").removeprefix("Player. ").split(". ")[0].rstrip("."),
        "description": description + (f" Scope: {operation.scope}." if operation.scope else ""),
        "tags": ["operator" if route.credential is Credential.OPERATOR else "player"],
        "security": _SECURITY[route.credential],
    }
    if route.http_method == "GET":
        parameters += [parameter(field, "query") for field in fields]
    elif fields:
        schema = request_schema(fields)
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if parameters:
        described["parameters"] = parameters
    described["responses"] = {
        "200": {
            "description": contract.told(descriptor.output_type.full_name),
            "headers": _HEADERS,
            "content": {
                "application/json": {
                    "schema": {"type": "object"} if operation.name in WRITERS else schemas.of(answer)
                }
            },
        },
        **_problems(operation, route),
    }
    return described


_HEADERS = {"x-trace-id": {"$ref": "#/components/headers/trace_id"}}


def _problems(operation: Operation, route: Route) -> Json:
    """The refusals by status, each with the reasons it may have."""
    told = {*contract.reasons(operation.descriptor.full_name), *_ANYWHERE, *_OF_FIELDS}
    told |= set(_OF_CREDENTIAL[route.credential])
    by_status: dict[int, list[str]] = {}
    # In the order of the catalogue.
    for name in error_pb2.ErrorReason.keys():
        reason = name.removeprefix("ERROR_REASON_")
        if reason in told:
            by_status.setdefault(spec_of(reason).http_status, []).append(reason)
    return {
        str(status): {
            "description": ", ".join(reasons) + ".",
            "headers": _HEADERS,
            "content": {
                "application/problem+json": {
                    "schema": {
                        "allOf": [
                            {"$ref": "#/components/schemas/Problem"},
                            {"properties": {"status": {"const": status}, "reason": {"enum": reasons}}},
                        ]
                    }
                }
            },
        }
        for status, reasons in sorted(by_status.items())
    }


def _problem() -> Json:
    classes = [name.removeprefix("ERROR_CLASS_") for name, number in error_pb2.ErrorClass.items() if number]
    text = {"type": "string"}
    properties = {
        "type": {"type": "string", "format": "uri", "description": "Names the reason."},
        "title": {**text, "description": "The reason for people."},
        "status": {"type": "integer"},
        "detail": {**text, "description": "What to do, in one sentence."},
        "reason": {**text, "description": "One of the catalogue, docs/errors.md."},
        "class": {"enum": classes, "description": contract.told("reelmesh.type.v1.ErrorClass")},
        "metadata": {"type": "object", "additionalProperties": text, "description": "The reason's keys."},
        "trace_id": {**text, "description": "The trace of this answer."},
    }
    return {
        "type": "object",
        "description": "A refusal (RFC 9457).",
        "properties": properties,
        "required": [*properties],
    }


def text() -> str:
    """The document as it is stored."""
    return json.dumps(document(), indent=1) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["write"]:
        PATH.write_text(text())
    elif sys.argv[1:] != ["check"]:
        sys.exit("usage: openapi.py write | check")
    elif not PATH.exists() or PATH.read_text() != text():
        sys.exit(f"{PATH.name} differs from protos/ and the table of operations, run `make proto`")
