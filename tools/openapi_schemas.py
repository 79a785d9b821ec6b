"""JSON Schemas of messages as services/gateway/edge/mapping.py writes and reads them.

What a field may hold its comment says, in words that are always the same: "Required.", "UUID",
"1..128 characters", "Signed". The document says the same, read from there.
"""

import re
from collections.abc import Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from services.common.currencies import CURRENCIES
from services.common.fields import AMOUNT_MINOR_MAX, PAGE_TOKEN_LENGTH_MAX
from services.gateway.client.messages import DATA_KEY, DATA_KEYS_MAX, DATA_TEXT_LENGTH_MAX
from services.gateway.edge.mapping import ABSENT_AT_ZERO, enum_names, json_name
from tools import contract

Json = dict[str, Any]

_REF = "#/components/schemas/"
_LENGTH = re.compile(r"(\d+)\.\.(\d+) characters")
_NUMBER = re.compile(r"(\d+)\.\.(\d+) of them")
# Without control characters, NUL before all.
_TEXT_PATTERN = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"
_INT32, _INT64 = FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64
_MONEY, _TIMESTAMP = "reelmesh.type.v1.Money", "google.protobuf.Timestamp"
_DURATION = "google.protobuf.Duration"
_CURRENCY: Json = {"$ref": f"{_REF}CurrencyCode"}
_TIME: Json = {"type": "string", "format": "date-time"}
_SECONDS: Json = {"type": "string", "pattern": r"^-?[0-9]{1,12}(\.[0-9]{1,9})?s$"}

# The one object that requests hold (ClientEvent.data_json).
_DATA: Json = {
    "type": "object",
    "maxProperties": DATA_KEYS_MAX,
    "propertyNames": {"pattern": f"^{DATA_KEY.pattern}$"},
    "additionalProperties": {
        "anyOf": [
            {"type": "string", "maxLength": DATA_TEXT_LENGTH_MAX, "pattern": _TEXT_PATTERN},
            {"type": "number", "minimum": -AMOUNT_MINOR_MAX, "maximum": AMOUNT_MINOR_MAX},
            {"type": ["boolean", "null"]},
        ]
    },
}


class Schemas:
    """The schemas of answers, each under its message's name."""

    def __init__(self) -> None:
        self._found: dict[str, Json] = {
            "CurrencyCode": {"type": "string", "enum": sorted(CURRENCIES), "description": "A currency."},
            "Amount": _amount(signed=False),
            "SignedAmount": _amount(signed=True),
        }
        self._owners: dict[str, str] = {}

    def all(self) -> dict[str, Json]:
        """By name, in order."""
        return dict(sorted(self._found.items()))

    def of(self, message: Descriptor) -> Json:
        """A reference to the message's schema."""
        name = message.name
        if self._owners.setdefault(name, message.full_name) != message.full_name:
            raise ValueError(f"two messages are called {name}")
        if name not in self._found:
            self._found[name] = {}
            properties = {json_name(field): self._field(field) for field in message.fields}
            self._found[name] = {
                "type": "object",
                "description": contract.told(message.full_name),
                "properties": properties,
                "required": [*properties],
            }
        return {"$ref": _REF + name}

    def _field(self, field: FieldDescriptor) -> Json:
        described = {"description": contract.told(field.full_name)}
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            return {"type": "object", "additionalProperties": {"type": "string"}, **described}
        one = self._one(field)
        if field.is_repeated:
            return {"type": "array", "items": one, **described}
        absent = (
            field.message_type is not None
            or field.enum_type is not None
            or field.type == FieldDescriptor.TYPE_STRING
            or field.name in ABSENT_AT_ZERO
        )
        return {"anyOf": [one, {"type": "null"}], **described} if absent else {**one, **described}

    def _one(self, field: FieldDescriptor) -> Json:
        if field.message_type is not None:
            name = field.message_type.full_name
            known = {_TIMESTAMP: _TIME, _DURATION: _SECONDS}
            return known.get(name) or self.of(field.message_type)
        if field.enum_type is not None:
            return {"enum": [*enum_names(field.enum_type)]}
        if field.type == FieldDescriptor.TYPE_BYTES:
            return {}
        return {"type": _scalar(field)}


def request_schema(fields: Sequence[FieldDescriptor]) -> Json:
    """What a body may hold."""
    required = [json_name(field) for field in fields if _required(field)]
    schema: Json = {
        "type": "object",
        "properties": {json_name(field): _held(field) for field in fields},
        "additionalProperties": False,
    }
    return {**schema, "required": required} if required else schema


def parameter(field: FieldDescriptor, place: str) -> Json:
    """A field in the path or the query."""
    schema = _asked(field)
    described: Json = {"name": field.name, "in": place, "description": schema.pop("description")}
    if place == "path" or _required(field):
        described["required"] = True
    return {**described, "schema": schema}


def _required(field: FieldDescriptor) -> bool:
    # Of several of which one is required each may be absent.
    return "Required." in contract.told(field.full_name) and field.containing_oneof is None


def _held(field: FieldDescriptor) -> Json:
    """As asked; an object, a time and a duration may be null, which is as good as absent."""
    asked = _asked(field)
    if field.is_repeated or _required(field):
        return asked
    if field.message_type is None and field.type != FieldDescriptor.TYPE_BYTES:
        return asked
    description = asked.pop("description")
    return {"anyOf": [asked, {"type": "null"}], "description": description}


def _asked(field: FieldDescriptor) -> Json:
    comment = contract.told(field.full_name)
    one = _asked_one(field, comment)
    if field.is_repeated:
        one = {"type": "array", "items": one}
        if number := _NUMBER.search(comment):
            one |= {"minItems": int(number[1]), "maxItems": int(number[2])}
    return {**one, "description": comment}


def _asked_one(field: FieldDescriptor, comment: str) -> Json:
    if field.message_type is not None:
        name = "SignedAmount" if "Signed" in comment else "Amount"
        known = {_TIMESTAMP: _TIME, _DURATION: _SECONDS, _MONEY: {"$ref": f"{_REF}{name}"}}
        return known.get(field.message_type.full_name) or request_schema(field.message_type.fields)
    if field.enum_type is not None:
        return {"enum": [*enum_names(field.enum_type)]}
    if field.type in (_INT32, _INT64):
        return {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
    if field.type == FieldDescriptor.TYPE_BOOL:
        return {"type": "boolean"}
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _DATA
    if field.name == "currency_code":
        return _CURRENCY
    if re.search(r"\bUUID\b", comment):
        return {"type": "string", "format": "uuid"}
    length = _LENGTH.search(comment)
    if length:
        bounds = {"minLength": int(length[1]), "maxLength": int(length[2])}
        return {"type": "string", **bounds, "pattern": _TEXT_PATTERN}
    if field.name == "page_token":
        return {"type": "string", "maxLength": PAGE_TOKEN_LENGTH_MAX}
    return {"type": "string", "minLength": 1} if _required(field) else {"type": "string"}


def _amount(*, signed: bool) -> Json:
    least = -AMOUNT_MINOR_MAX if signed else 1
    return {
        "type": "object",
        "description": contract.told(_MONEY),
        "properties": {
            "currency_code": _CURRENCY,
            "amount_minor": {
                "type": "integer",
                "minimum": least,
                "maximum": AMOUNT_MINOR_MAX,
                "description": contract.told(f"{_MONEY}.amount_minor"),
            },
        },
        "required": ["currency_code", "amount_minor"],
        "additionalProperties": False,
    }


def _scalar(field: FieldDescriptor) -> str:
    if field.type in (_INT32, _INT64):
        return "integer"
    return "boolean" if field.type == FieldDescriptor.TYPE_BOOL else "string"
