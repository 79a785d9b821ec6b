"""What can be searched for among the traces kept, and both ends of a link."""

from collections.abc import Sequence
from typing import Any

import pytest

from deploy.local.traces import ROUND_ID, Span
from deploy.local.traces.answers import LISTED_MAX, answer
from deploy.local.traces.search import Search, SearchError
from deploy.local.traces.spans import Link
from deploy.local.traces.store import TraceStore

ROUND = "01a22c1f-4cff-7518-a906-0f213d7c61cc"
CALL, BATCH, RELAY = ("a" * 32, "b" * 32, "c" * 32)


def span(
    trace_id: str,
    span_id: str,
    name: str,
    *,
    parent: str = "",
    service: str = "gateway",
    kind: str = "INTERNAL",
    start_ms: int = 0,
    took_ms: int = 10,
    status: str = "UNSET",
    attributes: dict[str, Any] | None = None,
    links: Sequence[tuple[str, str]] = (),
) -> Span:
    start_unix_ns = 1_700_000_000_000_000_000 + start_ms * 1_000_000
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_span_id=parent,
        service=service,
        name=name,
        kind=kind,
        start_unix_ns=start_unix_ns,
        end_unix_ns=start_unix_ns + took_ms * 1_000_000,
        status=status,
        status_message="",
        attributes=attributes or {},
        events=(),
        links=tuple(Link(*link) for link in links),
    )


@pytest.fixture
def store() -> TraceStore:
    """A call of 40 ms whose item was served by a batch, and whose event was relayed; the relay failed."""
    store = TraceStore()
    of_round = {ROUND_ID: ROUND}
    store.add(
        [
            span(CALL, "1" * 16, "POST /v1/spins", kind="SERVER", took_ms=40),
            span(
                CALL,
                "2" * 16,
                "wallet.settle_item",
                parent="1" * 16,
                service="wallet",
                start_ms=50,
                attributes=of_round,
                links=[(BATCH, "3" * 16)],
            ),
            span(
                BATCH, "3" * 16, "batch wallet.settle", service="wallet", start_ms=1, links=[(CALL, "2" * 16)]
            ),
            span(
                RELAY,
                "4" * 16,
                "relay",
                service="wallet",
                start_ms=2,
                links=[(CALL, "1" * 16)],
                kind="PRODUCER",
            ),
            span(
                RELAY,
                "5" * 16,
                "process",
                parent="4" * 16,
                service="events",
                start_ms=3,
                status="ERROR",
                links=[(CALL, "1" * 16), ("d" * 32, "6" * 16)],
            ),
        ]
    )
    return store


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [CALL]),
        (f"round_id={ROUND}", [CALL]),
        ("round_id=another", []),
        (f"trace_id={BATCH.upper()}", [BATCH]),
        ("error=true", [RELAY]),
        ("error=false", [CALL]),
        ("duration_min_ms=40", [CALL]),
        ("duration_min_ms=40.1", []),  # what came after the answer does not count
        ("service=wallet", [RELAY, BATCH, CALL]),
        ("service=wall", []),
        ("name=RELAY", [RELAY]),
        ("service=events&name=relay", []),  # of one and the same span
        (f"service=wallet&round_id={ROUND}&name=settle&duration_min_ms=&error=", [CALL]),
        ("service=gateway&error=true", []),
    ],
)
def test_each_word_of_a_search_narrows_it(store: TraceStore, query: str, found: list[str]) -> None:
    status, told = answer(store, "/traces", query)
    assert status == 200
    assert [one["trace_id"] for one in told["traces"]] == found


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("trace_id=abc", "32 hex digits"),
        ("error=yes", "true or false"),
        ("duration_min_ms=-1", "0 or more"),
        ("duration_min_ms=nan", "0 or more"),
        ("duration_min_ms=1e999", "0 or more"),
        ("duration_min_ms=fast", "0 or more"),
        ("round=1", "unknown parameter 'round': known are trace_id, round_id"),
        ("matches=1", "unknown parameter"),
        ("name=a&name=b", "once"),
        ("name", "not a query"),
        ("&".join(f"x{number}=1" for number in range(21)), "not a query"),
        (f"name={'a' * 201}", "longer than 200"),
    ],
)
def test_a_search_that_means_nothing_is_told_why(store: TraceStore, query: str, told: str) -> None:
    status, answered = answer(store, "/traces", query)
    assert status == 400 and told in answered["error"]
    with pytest.raises(SearchError):
        Search.parse(query)


def test_a_call_names_its_batch_and_its_relay_span_by_span(store: TraceStore) -> None:
    _, told = answer(store, f"/traces/{CALL}")
    root, item = told["spans"]
    settled = {"trace_id": BATCH, "span_id": "3" * 16, "service": "wallet", "name": "batch wallet.settle"}
    assert item["links"] == item["linked_from"] == [settled]
    assert root["links"] == []
    assert [(end["service"], end["name"]) for end in root["linked_from"]] == [
        ("wallet", "relay"),
        ("events", "process"),
    ]
    assert [one["trace_id"] for one in told["links_to"]] == [BATCH]
    assert [(one["trace_id"], one["error_count"]) for one in told["linked_from"]] == [(BATCH, 0), (RELAY, 1)]
    assert told["round_ids"] == [ROUND] and told["duration_ms"] == 40.0


def test_a_relay_names_the_calls_behind_it_and_what_is_not_kept(store: TraceStore) -> None:
    _, told = answer(store, f"/traces/{RELAY}")
    process = told["spans"][1]
    assert [(end["span_id"], end["name"]) for end in process["links"]] == [
        ("1" * 16, "POST /v1/spins"),
        ("6" * 16, None),
    ]
    assert [one["trace_id"] for one in told["links_to"]] == [CALL]
    assert told["linked_from"] == []


def test_a_list_is_bounded_and_says_so() -> None:
    store = TraceStore()
    store.add(
        [span(f"{number:032x}", "1" * 16, "GET /v1/games", kind="SERVER") for number in range(LISTED_MAX)]
    )
    assert answer(store, "/traces")[1]["more"] is False
    store.add([span("f" * 32, "1" * 16, "GET /v1/games", kind="SERVER", start_ms=1)])
    _, told = answer(store, "/traces")
    assert told["more"] is True and len(told["traces"]) == LISTED_MAX
    assert told["traces"][0]["trace_id"] == "f" * 32


@pytest.mark.parametrize("path", ["/trace", "/traces/a/b", "/../receiver.py", "//", "/%2e%2e"])
def test_another_path_is_told_the_paths(store: TraceStore, path: str) -> None:
    status, told = answer(store, path)
    assert status == 404 and "/traces/<trace_id>" in told["paths"]


def test_what_is_not_kept_is_not_found(store: TraceStore) -> None:
    status, told = answer(store, f"/traces/{'0' * 32}")
    assert status == 404 and "0" * 32 in told["error"]
