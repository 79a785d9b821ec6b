"""A filter names types of events that there are; the list is the one that readers have."""

import re
from pathlib import Path

import pytest
from reelmesh.events.v1 import events_pb2

from services.common.errors import FieldInvalid
from services.events.messages import parse_filter, require_event_types
from services.events.vocabulary import EVENT_TYPES
from services.gateway.client.messages import TYPE_NAMES

README = Path(__file__).parents[3] / "services/events/README.md"


def _listed() -> set[str]:
    """The first column of the README's table; ".open" shares the noun of the one before."""
    table = README.read_text().split("## Payload keys")[1]
    listed: set[str] = set()
    for row in re.findall(r"^\| ([a-z._, ]+) \|", table, re.MULTILINE):
        noun = ""
        for name in row.split(", "):
            noun = name.split(".")[0] or noun
            listed.add(name if not name.startswith(".") else noun + name)
    return listed - {"event_type"}


def test_the_list_is_that_of_the_page() -> None:
    assert _listed() == EVENT_TYPES


def test_what_a_client_reports_is_in_it() -> None:
    assert {f"client.{name}" for name in TYPE_NAMES.values()} <= EVENT_TYPES


def test_a_type_that_never_comes_is_refused_with_the_nearest() -> None:
    assert require_event_types(["wallet.settled", "round.open", "round.open"]) == (
        "round.open",
        "wallet.settled",
    )
    with pytest.raises(FieldInvalid) as refused:
        require_event_types(["wallet.setled"])
    assert refused.value.metadata == {
        "field": "event_types",
        "problem": "no event has the type wallet.setled; did you mean wallet.settled",
    }


def test_a_page_of_a_type_that_never_comes_is_refused_too() -> None:
    known = parse_filter(events_pb2.ListEventsRequest(operator_id="dev", event_type="round.open"))
    assert known.event_types == ("round.open",)
    with pytest.raises(FieldInvalid) as refused:
        parse_filter(events_pb2.ListEventsRequest(operator_id="dev", event_type="round.setled"))
    assert refused.value.metadata == {
        "field": "event_type",
        "problem": "no event has the type round.setled; did you mean round.settled",
    }
