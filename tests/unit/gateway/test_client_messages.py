"""What a client may say: bounded in number, size, depth, keys and values, or refused by its place."""

from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from reelmesh.gateway.v1 import client_event_pb2

from services.common.errors import DomainError, FieldInvalid, FieldMissing
from services.gateway.client.messages import TYPE_NAMES, parse_events
from services.gateway.edge.mapping import Shape

NOON = Timestamp(seconds=1_796_040_000, nanos=5_000_000)


def event(**changes: Any) -> client_event_pb2.ClientEvent:
    told: dict[str, Any] = {
        "type": client_event_pb2.CLIENT_EVENT_TYPE_GAME_ERROR,
        "client_time": NOON,
        "data_json": b'{"code": "E7", "tries": 3, "ratio": 0.5, "fatal": false, "text": "", "why": null}',
    }
    return client_event_pb2.ClientEvent(**(told | changes))


def test_what_is_in_bounds_is_taken_as_it_is() -> None:
    [parsed] = parse_events([event()])
    assert parsed.name == "game_error" and parsed.client_time.startswith("2026-11-30T")
    assert parsed.data == {
        "code": "E7",
        "tries": 3,
        "ratio": 0.5,
        "fatal": False,
        "text": "",
        "why": None,
    }
    assert len(parse_events([event(data_json=b"")] * 20)) == 20


def test_every_type_has_a_name_for_an_event_type() -> None:
    assert len(TYPE_NAMES) == len(client_event_pb2.ClientEventType.values()) - 1
    assert all(name.replace("_", "").isalpha() and name.islower() for name in TYPE_NAMES.values())


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"type": 0}, "events[0].type"),
        ({"type": 99}, "events[0].type"),
        ({"client_time": None}, "events[0].client_time"),
        ({"client_time": Timestamp(seconds=2**62)}, "events[0].client_time"),
        ({"client_time": Timestamp(seconds=1, nanos=-1)}, "events[0].client_time"),
        ({"round_id": "7"}, "events[0].round_id"),
        ({"data_json": b"[]"}, "events[0].data"),
        ({"data_json": b"7"}, "events[0].data"),
        ({"data_json": b"{"}, "events[0].data"),
        ({"data_json": b"\xff"}, "events[0].data"),
        ({"data_json": b'{"a": "\\ud800"}'}, "events[0].data"),
        ({"data_json": b"[" * 2000}, "events[0].data"),
        ({"data_json": b'{"a": "' + b"x" * 2042 + b'"}'}, "events[0].data"),
        ({"data_json": b"{" + b",".join(b'"k%d":1' % n for n in range(17)) + b"}"}, "events[0].data"),
        ({"data_json": b'{"A": 1}'}, "events[0].data"),
        ({"data_json": b'{"__proto__": 1}'}, "events[0].data"),
        ({"data_json": b'{"": 1}'}, "events[0].data"),
        ({"data_json": b'{"a": {}}'}, "events[0].data.a"),
        ({"data_json": b'{"a": [1]}'}, "events[0].data.a"),
        ({"data_json": b'{"a": "\\u0000"}'}, "events[0].data.a"),
        ({"data_json": b'{"a": "' + b"x" * 257 + b'"}'}, "events[0].data.a"),
        ({"data_json": b'{"a": 9007199254740993}'}, "events[0].data.a"),
        ({"data_json": b'{"a": 1e300}'}, "events[0].data.a"),
        ({"data_json": b'{"a": 1' + b"0" * 400 + b"}"}, "events[0].data.a"),
        ({"data_json": b'{"a": 1e999}'}, "events[0].data"),
        ({"data_json": b'{"a": NaN}'}, "events[0].data"),
    ],
)
def test_what_is_not_is_refused_by_its_place(wrong: dict[str, Any], place: str) -> None:
    with pytest.raises((FieldInvalid, FieldMissing)) as refused:
        parse_events([event(**wrong)])
    assert refused.value.metadata["field"] == place


def test_a_batch_has_one_to_twenty() -> None:
    for events in ([], [event()] * 21):
        with pytest.raises(DomainError) as refused:
            parse_events(events)
        assert refused.value.metadata["field"] == "events"


@pytest.mark.parametrize(
    ("wrong", "place"),
    [('"type": "SPIN_SEEN"', "events[1].type"), ('"client_time": "noon"', "events[1].client_time")],
)
def test_what_json_cannot_say_is_refused_by_its_place_too(wrong: str, place: str) -> None:
    request = client_event_pb2.SendClientEventsRequest()
    with pytest.raises(FieldInvalid) as refused:
        Shape(request.DESCRIPTOR).decode(f'{{"events": [{{}}, {{{wrong}}}]}}'.encode(), request)
    assert refused.value.metadata["field"] == place
