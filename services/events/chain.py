"""The hash chain of a source: a hash is made of the hash before it and of all that the event says."""

from hashlib import sha256
from typing import NamedTuple

from services.events.records import Event, Head, StoredEvent


def hash_of(previous: bytes, event: Event, *, source: str, position: int) -> bytes:
    """SHA-256 over the 32 bytes before it (none before the first) and the event's values, a line each.

    No value but the last, the payload, can hold a line break, so that two events have no text in common.
    The order and the form are the contract of every hash that is stored: docs/events.md, tests/vectors/.
    """
    text = (
        f"{position}\n{source}\n{event.batch_no}\n{event.batch_index}\n{event.batch_size}\n{event.event_id}\n"
        f"{event.event_type}\n{event.operator_id}\n{event.account_id}\n{event.account_version}\n"
        f"{event.player_id}\n{event.session_id or ''}\n{event.round_id or ''}\n{event.event_time_us}\n"
        f"{event.traceparent}\n{event.payload_json}"
    )
    return sha256(previous + text.encode()).digest()


def next_place(head: Head) -> tuple[int, int]:
    """Batch and index of the event that follows."""
    if head.batch_index + 1 < head.batch_size:
        return head.batch_no, head.batch_index + 1
    return head.batch_no + 1, 0


class Fault(NamedTuple):
    """The first record of a source that is not as it was stored, or not there."""

    source: str
    problem: str  # one sentence
    batch_no: int
    batch_index: int
    position: int  # 0 where it is not known
    event_id: str  # empty where it is not known
    expected: tuple[int, int]  # batch and index of the record that should have been there


def follow(head: Head, stored: StoredEvent) -> Head | Fault:
    """The head behind an event that follows; else what is wrong, as far as these two tell."""
    event = stored.event
    expected, place = next_place(head), (event.batch_no, event.batch_index)
    if place < expected:
        problem = "inserted: a record of this place comes before it"
    elif place > expected:
        problem = "missing"
    elif event.batch_index and event.batch_size != head.batch_size:
        problem = "altered: its batch has another size than the record before it says"
    elif hash_of(head.hash, event, source=stored.source, position=stored.position) != stored.hash:
        problem = "altered: its content does not make its hash"
    else:
        return Head(stored.position, event.batch_no, event.batch_index, event.batch_size, stored.hash)
    return Fault(
        stored.source, problem, *place, position=stored.position, event_id=event.event_id, expected=expected
    )
