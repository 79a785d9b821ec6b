"""What a game's client says, checked field by field before anything of it is stored."""

import re
from typing import Any, NamedTuple

import msgspec
from reelmesh.gateway.v1 import client_event_pb2

from services.common import fields
from services.common.errors import FieldInvalid, FieldMissing
from services.common.times import datetime_of

EVENTS_MAX = 20
DATA_SIZE_BYTES_MAX = 2_048
DATA_KEYS_MAX = 16
DATA_KEY = re.compile("[a-z][a-z0-9_]{0,39}")
DATA_TEXT_LENGTH_MAX = 256

_OBJECT = msgspec.json.Decoder(dict[str, Any])
TYPE_NAMES = {
    number: name.removeprefix("CLIENT_EVENT_TYPE_").lower()
    for name, number in client_event_pb2.ClientEventType.items()
    if number
}


class ClientEvent(NamedTuple):
    """One event, as it is stored."""

    name: str
    """Of its type: "game_loaded"."""
    client_time: str
    """RFC 3339 in UTC, by the client's clock."""
    round_id: str
    """Empty: of no round."""
    data: dict[str, Any]
    """Flat."""


def parse_events(events: Any) -> list[ClientEvent]:
    """The events of a SendClientEventsRequest. Errors: FIELD_MISSING, FIELD_INVALID"""
    if not events:
        raise FieldMissing(field="events")
    if len(events) > EVENTS_MAX:
        raise FieldInvalid(field="events", problem=f"more than {EVENTS_MAX}")
    return [_event(event, f"events[{index}]") for index, event in enumerate(events)]


def _event(event: client_event_pb2.ClientEvent, place: str) -> ClientEvent:
    type_ = fields.require_enum(event.type, f"{place}.type", client_event_pb2.ClientEventType)
    round_id = event.round_id
    return ClientEvent(
        name=TYPE_NAMES[type_],
        client_time=_time(event, f"{place}.client_time"),
        round_id=str(fields.require_uuid(round_id, f"{place}.round_id")) if round_id else "",
        data=_data(event.data_json, f"{place}.data"),
    )


def _time(event: client_event_pb2.ClientEvent, field: str) -> str:
    if not event.HasField("client_time"):
        raise FieldMissing(field=field)
    try:
        if not 0 <= event.client_time.nanos < 1_000_000_000:
            raise OverflowError
        return datetime_of(event.client_time).isoformat()
    except OverflowError:
        raise FieldInvalid(field=field, problem="out of range") from None


def _data(data_json: bytes, field: str) -> dict[str, Any]:
    """A flat object: nothing nested, nothing long. Of a key that is there twice the last."""
    if not data_json:
        return {}
    if len(data_json) > DATA_SIZE_BYTES_MAX:
        raise FieldInvalid(field=field, problem=f"more than {DATA_SIZE_BYTES_MAX} bytes")
    try:
        data = _OBJECT.decode(data_json)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise FieldInvalid(field=field, problem="not a JSON object") from None
    if len(data) > DATA_KEYS_MAX:
        raise FieldInvalid(field=field, problem=f"more than {DATA_KEYS_MAX} keys")
    for key, value in data.items():
        if not DATA_KEY.fullmatch(key):
            raise FieldInvalid(field=field, problem=f"a key is not {DATA_KEY.pattern}")
        _require_plain(value, f"{field}.{key}")
    return data


def _require_plain(value: Any, field: str) -> None:
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        if value:
            fields.require_text(value, field, DATA_TEXT_LENGTH_MAX)
        return
    if not isinstance(value, int | float):
        raise FieldInvalid(field=field, problem="nested: texts, numbers, truths and null only")
    if abs(value) > fields.AMOUNT_MINOR_MAX:
        raise FieldInvalid(field=field, problem="a number beyond 2^53")
