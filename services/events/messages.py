"""Messages <-> records: what a request must say, what an answer tells."""

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from itertools import pairwise

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp
from reelmesh.events.v1 import events_pb2

from services.common.errors import FieldInvalid, FieldMissing, PageTokenInvalid
from services.common.fields import decode_page_token, encode_page_token, require_text, require_uuid_text
from services.common.times import timestamp
from services.events.log import Batch
from services.events.records import DeadLetter, Event, EventFilter, StoredEvent, Webhook
from services.events.vocabulary import EVENT_TYPES

BATCHES_MAX = 100
EVENT_TYPES_MAX = 20
_EVENT_TYPE = re.compile(r"[a-z]+\.[a-z_]+")
# Years 1 to 9999, the range of a Timestamp.
_SECONDS_MIN, _SECONDS_MAX = -62_135_596_800, 253_402_300_799
_JSON_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


def parse_batches(batches: Sequence[events_pb2.EventBatch]) -> list[Batch]:
    """The batches of an AppendRequest. Errors: FIELD_MISSING, FIELD_INVALID."""
    if not batches:
        raise FieldMissing(field="batches")
    if len(batches) > BATCHES_MAX:
        raise FieldInvalid(field="batches", problem=f"more than {BATCHES_MAX}")
    numbers = [batch.batch_no for batch in batches]
    if numbers[0] < 1 or any(later <= earlier for earlier, later in pairwise(numbers)):
        raise FieldInvalid(field="batches", problem="batch_no does not ascend from 1")
    for batch in batches:
        if not batch.events:
            raise FieldMissing(field="batches.events")
    return [Batch(batch.batch_no, list(_events(batch))) for batch in batches]


def _events(batch: events_pb2.EventBatch) -> Iterator[Event]:
    batch_size = len(batch.events)
    for batch_index, event in enumerate(batch.events):
        yield _event(event, batch.batch_no, batch_index, batch_size)


def _event(event: events_pb2.Event, batch_no: int, batch_index: int, batch_size: int) -> Event:
    _require_event_type(event.event_type, "event_type")
    if min(event.account_id, event.account_version) < 0:
        raise FieldInvalid(field="account_id", problem="negative")
    if not event.HasField("event_time"):
        raise FieldMissing(field="event_time")
    seconds, nanos = event.event_time.seconds, event.event_time.nanos
    if not (_SECONDS_MIN <= seconds <= _SECONDS_MAX and 0 <= nanos < 1_000_000_000):
        raise FieldInvalid(field="event_time", problem="out of range")
    # Text and object of the payload are the decoder's to judge.
    try:
        _JSON_OBJECT.decode(event.payload_json)
        payload_json = event.payload_json.decode()
    except (ValueError, msgspec.MsgspecError):
        raise FieldInvalid(field="payload_json", problem="not a JSON object") from None
    return Event(
        event_id=require_uuid_text(event.event_id, "event_id"),
        batch_no=batch_no,
        batch_index=batch_index,
        batch_size=batch_size,
        event_type=event.event_type,
        operator_id=require_text(event.operator_id, "operator_id"),
        account_id=event.account_id,
        account_version=event.account_version,
        player_id=require_text(event.player_id, "player_id") if event.player_id else "",
        session_id=require_uuid_text(event.session_id, "session_id") if event.session_id else None,
        round_id=require_uuid_text(event.round_id, "round_id") if event.round_id else None,
        event_time_us=seconds * 1_000_000 + nanos // 1000,
        payload_json=payload_json,
        traceparent=require_text(event.traceparent, "traceparent") if event.traceparent else "",
    )


def parse_filter(request: events_pb2.ListEventsRequest | events_pb2.SubscribeRequest) -> EventFilter:
    """Whose events, and which. Errors: FIELD_MISSING, FIELD_INVALID."""
    if request.account_id < 0:
        raise FieldInvalid(field="account_id", problem="negative")
    if isinstance(request, events_pb2.SubscribeRequest):
        event_types = require_event_types(request.event_types)
    else:
        # A filter that no event passes would answer an empty page, which reads as "nothing happened".
        wanted = (request.event_type,) if request.event_type else ()
        event_types = require_event_types(wanted, "event_type")
    return EventFilter(
        operator_id=require_text(request.operator_id, "operator_id"),
        account_id=request.account_id,
        player_id=require_text(request.player_id, "player_id") if request.player_id else "",
        session_id=require_uuid_text(request.session_id, "session_id") if request.session_id else "",
        round_id=require_uuid_text(request.round_id, "round_id") if request.round_id else "",
        event_types=event_types,
    )


def require_event_types(event_types: Sequence[str], field: str = "event_types") -> tuple[str, ...]:
    """Types of events that there are, each once; `field` names them. Errors: FIELD_MISSING, FIELD_INVALID."""
    if len(event_types) > EVENT_TYPES_MAX:
        raise FieldInvalid(field=field, problem=f"more than {EVENT_TYPES_MAX}")
    wanted = sorted({_require_event_type(event_type, field) for event_type in event_types})
    for event_type in wanted:
        # Whoever waits for a type that is never sent would wait for ever, and be told nothing.
        if event_type not in EVENT_TYPES:
            near = get_close_matches(event_type, sorted(EVENT_TYPES), n=1)
            hint = f"; did you mean {near[0]}" if near else "; docs/events.md lists them"
            raise FieldInvalid(field=field, problem=f"no event has the type {event_type[:64]}{hint}")
    return tuple(wanted)


def _require_event_type(event_type: str, field: str) -> str:
    if not _EVENT_TYPE.fullmatch(require_text(event_type, field)):
        raise FieldInvalid(field=field, problem="not <noun>.<past participle>")
    return event_type


def parse_time(time: Timestamp, field: str) -> int:
    """The first position of a time. Errors: FIELD_INVALID."""
    if not (0 <= time.seconds <= _SECONDS_MAX and 0 <= time.nanos < 1_000_000_000):
        raise FieldInvalid(field=field, problem="out of range")
    # Of a time between two microseconds it is the later one.
    return time.seconds * 1_000_000 - -time.nanos // 1000


def encode_position(query: str, position: int) -> str:
    """An opaque token: a position in the result of a query."""
    return encode_page_token(query, position)


def decode_position(token: str, query: str) -> int:
    """The position; 0 for the empty token. Errors: PAGE_TOKEN_INVALID, of another query too."""
    parts = decode_page_token(token, query)
    if not parts:
        return 0
    if len(parts) != 1 or not re.fullmatch(r"\d{1,18}", parts[0]):
        raise PageTokenInvalid()
    return int(parts[0])


def message(stored: StoredEvent) -> events_pb2.Event:
    """An event with its place in the log."""
    event = stored.event
    return events_pb2.Event(
        event_id=event.event_id,
        event_type=event.event_type,
        operator_id=event.operator_id,
        account_id=event.account_id,
        account_version=event.account_version,
        player_id=event.player_id,
        session_id=event.session_id or "",
        round_id=event.round_id or "",
        event_time=timestamp_at(event.event_time_us),
        payload_json=event.payload_json.encode(),
        traceparent=event.traceparent,
        source=stored.source,
        batch_no=event.batch_no,
        position=stored.position,
        append_time=timestamp_at(stored.position),
    )


def timestamp_at(time_us: int) -> Timestamp:
    """Of microseconds since 1970."""
    seconds, rest_us = divmod(time_us, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest_us * 1000)


def webhook(found: Webhook) -> events_pb2.Webhook:
    """A webhook, without its secret."""
    state = events_pb2.WEBHOOK_STATE_PAUSED if found.paused else events_pb2.WEBHOOK_STATE_ACTIVE
    return events_pb2.Webhook(
        webhook_id=found.webhook_id,
        url=found.url,
        event_types=found.event_types,
        state=state,
        position=found.position,
        attempts=found.attempts,
        last_error=found.last_error,
        next_time=timestamp(found.due_time) if found.attempts and found.due_time else None,
        dead_letters=found.dead_letters,
        create_time=timestamp(found.create_time),
    )


def dead_letter(found: DeadLetter, stored: StoredEvent | None) -> events_pb2.DeadLetter:
    """A dead letter, with its event if that is kept."""
    event = events_pb2.Event(event_id=found.event_id, event_type=found.event_type, position=found.position)
    return events_pb2.DeadLetter(
        event=event if stored is None else message(stored),
        attempts=found.attempts,
        last_error=found.last_error,
        dead_time=timestamp(found.dead_time),
        redelivering=found.redelivering,
    )
