"""What the log holds, as rules and store pass it to each other. Ids are lower-case text."""

from datetime import datetime
from typing import NamedTuple


class Event(NamedTuple):
    """An event as its source sent it, with its place in the batch it came in."""

    event_id: str
    batch_no: int
    batch_index: int  # from 0
    batch_size: int
    event_type: str
    operator_id: str
    account_id: int
    account_version: int
    player_id: str
    session_id: str | None
    round_id: str | None
    event_time_us: int  # microseconds since 1970
    payload_json: str
    traceparent: str


class StoredEvent(NamedTuple):
    """An event with its place in the log and in the chain of its source."""

    position: int  # microseconds since 1970
    source: str
    hash: bytes
    event: Event


class Head(NamedTuple):
    """Where the chain of a source stands: the last event that belongs to it. `GENESIS` before the first."""

    position: int
    batch_no: int
    batch_index: int
    batch_size: int
    hash: bytes


GENESIS = Head(0, 0, 0, 1, b"")


class EventFilter(NamedTuple):
    """Which events: those of the operator for which everything that is set is equal."""

    operator_id: str
    account_id: int = 0
    player_id: str = ""
    session_id: str = ""
    round_id: str = ""
    event_types: tuple[str, ...] = ()


class Webhook(NamedTuple):
    """An address that is sent an operator's events, and how far that has come."""

    webhook_id: str
    operator_id: str
    url: str
    event_types: tuple[str, ...]
    secret: bytes  # sealed
    create_time: datetime
    paused: bool
    position: int
    attempts: int
    last_error: str
    given_up: bool
    due_time: datetime | None  # None: at once
    dead_letters: int

    @property
    def wanted(self) -> EventFilter:
        """The events that it is sent."""
        return EventFilter(self.operator_id, event_types=self.event_types)


class DeadLetter(NamedTuple):
    """An event that a webhook would not take."""

    position: int
    event_id: str
    event_type: str
    attempts: int
    last_error: str
    dead_time: datetime
    redelivering: bool
