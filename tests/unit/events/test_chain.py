"""The hash of an event: against the published vectors, computed in another way; and what follows what."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from services.events.chain import Fault, follow, hash_of, next_place
from services.events.records import GENESIS, Event, Head, StoredEvent

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/event_chain.json").read_text())
# As docs/events.md says it: one line each.
LINES = (
    *("position", "source", "batch_no", "batch_index", "batch_size", "event_id", "event_type", "operator_id"),
    *("account_id", "account_version", "player_id", "session_id", "round_id", "event_time_us", "traceparent"),
    "payload_json",
)


@pytest.mark.parametrize("vector", VECTORS)
def test_the_vectors_are_what_the_page_says_and_what_we_compute(vector: dict[str, Any]) -> None:
    values = {**vector["event"], "position": vector["position"], "source": vector["source"]}
    text = "\n".join("" if values[line] is None else str(values[line]) for line in LINES)
    previous = bytes.fromhex(vector["previous"])
    assert hashlib.sha256(previous + text.encode()).hexdigest() == vector["hash"]
    event = Event(**vector["event"])
    made = hash_of(previous, event, source=vector["source"], position=vector["position"])
    assert made.hex() == vector["hash"]


def test_every_value_of_an_event_is_in_its_hash() -> None:
    [vector, _] = VECTORS
    event = Event(**vector["event"])
    hashes = {hash_of(b"", event, source="wallet", position=1)}
    for field in Event._fields:
        value = getattr(event, field)
        changed: Any = {field: value + 1 if isinstance(value, int) else f"{value or ''}x"}
        other = event._replace(**changed)
        hashes.add(hash_of(b"", other, source="wallet", position=1))
    hashes.add(hash_of(b"", event, source="game", position=1))
    hashes.add(hash_of(b"", event, source="wallet", position=2))
    hashes.add(hash_of(bytes(32), event, source="wallet", position=1))
    assert len(hashes) == len(Event._fields) + 4


def test_a_record_follows_the_one_before_it_and_no_other() -> None:
    stored = [
        StoredEvent(
            vector["position"], vector["source"], bytes.fromhex(vector["hash"]), Event(**vector["event"])
        )
        for vector in VECTORS
    ]
    first = follow(GENESIS, stored[0])
    assert isinstance(first, Head) and next_place(first) == (1, 1)
    second = follow(first, stored[1])
    assert isinstance(second, Head) and next_place(second) == (2, 0)
    for head, one, problem in (
        (GENESIS, stored[1], "missing"),
        (second, stored[1], "inserted"),
        (first._replace(hash=b""), stored[1], "altered"),
        (first._replace(batch_size=3), stored[1], "altered"),
    ):
        fault = follow(head, one)
        assert isinstance(fault, Fault) and fault.problem.startswith(problem)
