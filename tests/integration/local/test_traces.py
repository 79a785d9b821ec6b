"""The trace receiver against the real OpenTelemetry exporter, and what it refuses."""

import gzip as gzip_module
import http.client
import json
import urllib.error
import urllib.request
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Link, SpanKind, format_trace_id

from deploy.local.traces import ROUND_ID, TraceReceiver
from deploy.local.traces.answers import answer
from deploy.local.waterfall import waterfall


def _get(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=5) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def _spin(receiver: TraceReceiver, round_id: str, *, gzip: bool = False) -> str:
    """A trace of two spans, the inner one linked to a span of a third trace; its id."""
    exporter = OTLPSpanExporter(
        endpoint=f"{receiver.endpoint}/v1/traces",
        compression=Compression.Gzip if gzip else Compression.NoCompression,
    )
    provider = TracerProvider(resource=Resource({"service.name": "gateway"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("batch") as batch:
        pass
    with tracer.start_as_current_span("spin", kind=SpanKind.SERVER, context=None) as outer:
        outer.set_attribute(ROUND_ID, round_id)
        with tracer.start_as_current_span("settle", links=[Link(batch.get_span_context())]):
            pass
    provider.shutdown()
    return format_trace_id(outer.get_span_context().trace_id)


@pytest.mark.parametrize("gzip", [False, True])
def test_an_exported_trace_is_found_by_its_id_and_its_round(
    trace_receiver: TraceReceiver, gzip: bool
) -> None:
    round_id = f"round-{gzip}"
    trace_id = _spin(trace_receiver, round_id, gzip=gzip)
    trace = _get(f"{trace_receiver.endpoint}/traces/{trace_id}")
    assert [(span["service"], span["name"]) for span in trace["spans"]] == [
        ("gateway", "spin"),
        ("gateway", "settle"),
    ]
    assert trace["spans"][0]["kind"] == "SERVER"
    assert len(trace["spans"][1]["links"]) == 1
    found = _get(f"{trace_receiver.endpoint}/traces?round_id={round_id}")["traces"]
    assert [one["trace_id"] for one in found] == [trace_id]
    lines = waterfall(trace["spans"])
    assert "  settle" in lines[2] and lines[1].startswith("gateway   spin")


def test_the_oldest_calls_leave_first_and_batches_take_no_place_of_theirs() -> None:
    receiver = TraceReceiver(calls_max=2)
    receiver.start()
    first, second, last = [_spin(receiver, round_id) for round_id in ("first", "second", "last")]
    receiver.stop()
    assert receiver.trace(first) == []
    assert len(receiver.trace(second)) == len(receiver.trace(last)) == 2
    _, listed = answer(receiver, "/traces")
    assert [one["trace_id"] for one in listed["traces"]] == [last, second]


def test_the_oldest_batches_leave_first_and_calls_stay() -> None:
    receiver = TraceReceiver(shared_max=1)
    receiver.start()
    first, last = [_spin(receiver, round_id) for round_id in ("first", "last")]
    receiver.stop()
    assert len(receiver.trace(first)) == len(receiver.trace(last)) == 2
    batches = [receiver.trace(span.links[0].trace_id) for span in receiver.spans() if span.links]
    assert [len(batch) for batch in batches] == [0, 1]


def test_a_trace_names_those_that_link_to_it(trace_receiver: TraceReceiver) -> None:
    trace_id = _spin(trace_receiver, "round")
    [batch_id] = [link.trace_id for span in trace_receiver.trace(trace_id) for link in span.links]
    linked_from = _get(f"{trace_receiver.endpoint}/traces/{batch_id}")["linked_from"]
    assert [(one["trace_id"], one["name"]) for one in linked_from] == [(trace_id, "spin")]
    assert _get(f"{trace_receiver.endpoint}/traces/{trace_id}")["linked_from"] == []


def test_an_unknown_trace_and_a_wrong_body_are_told(trace_receiver: TraceReceiver) -> None:
    with pytest.raises(urllib.error.HTTPError) as unknown:
        _get(f"{trace_receiver.endpoint}/traces/{'0' * 32}")
    unknown.value.close()
    assert unknown.value.code == 404
    url, otlp = f"{trace_receiver.endpoint}/v1/traces", {"Content-Type": "application/x-protobuf"}
    request = urllib.request.Request(url, data=b"\xff not protobuf", headers=otlp)
    with pytest.raises(urllib.error.HTTPError) as wrong:
        urllib.request.urlopen(request, timeout=5)
    wrong.value.close()
    assert wrong.value.code == 400


def _ask(
    receiver: TraceReceiver, method: str, path: str, body: bytes = b"", **headers: str
) -> http.client.HTTPResponse:
    """The response, read; `headers` with _ for -."""
    connection = http.client.HTTPConnection(receiver.endpoint.removeprefix("http://"), timeout=5)
    connection.request(
        method, path, body or None, {name.replace("_", "-"): text for name, text in headers.items()}
    )
    response = connection.getresponse()
    response.read()
    connection.close()
    return response


@pytest.mark.parametrize(
    "path", ["/", "/?error=true", "/app.js", "/style.css", "/icon.svg", "/traces", "/nothing"]
)
def test_every_answer_is_kept_from_running_anything_else(trace_receiver: TraceReceiver, path: str) -> None:
    response = _ask(trace_receiver, "GET", path)
    assert response.status == (404 if path == "/nothing" else 200)
    policy = (response.headers["Content-Security-Policy"] or "").split("; ")
    assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} <= set(policy)
    assert "unsafe" not in "".join(policy)
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Access-Control-Allow-Origin"] is None


def test_only_this_machine_is_answered(trace_receiver: TraceReceiver) -> None:
    assert trace_receiver.endpoint.startswith("http://127.0.0.1:")
    assert _ask(trace_receiver, "GET", "/traces", Host="localhost:7300").status == 200
    # A name of another site that leads here: its page must not read the answer.
    assert _ask(trace_receiver, "GET", "/traces", Host="rebound.example:7300").status == 421


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/?duration_min_ms=x", 400),
        ("GET", "/traces?round=1", 400),
        ("GET", "/traces/xyz", 400),
        ("GET", "/receiver.py", 404),
        ("GET", "/../receiver.py", 404),
        ("HEAD", "/", 405),
        ("DELETE", "/traces", 405),
        ("OPTIONS", "/v1/traces", 405),
        ("POST", "/traces", 404),
    ],
)
def test_another_method_path_or_query_is_refused(
    trace_receiver: TraceReceiver, method: str, path: str, status: int
) -> None:
    assert _ask(trace_receiver, method, path, Content_Type="application/x-protobuf").status == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        # What another site's page can send without being asked first.
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/json"}, 415),
        ({"Content_Length": "-1"}, 411),
        ({"Content_Length": "1e3"}, 411),
        ({"Content_Length": str(2**40)}, 413),
        ({"Content_Encoding": "gzip"}, 400),
    ],
)
def test_a_body_is_bounded_and_of_one_type(
    trace_receiver: TraceReceiver, headers: dict[str, str], status: int
) -> None:
    sent = {"Content_Type": "application/x-protobuf", **headers}
    assert _ask(trace_receiver, "POST", "/v1/traces", b"body", **sent).status == status


def test_a_body_is_bounded_when_it_is_unpacked(trace_receiver: TraceReceiver) -> None:
    packed = gzip_module.compress(bytes(65 * 2**20), compresslevel=1)
    sent = {"Content_Type": "application/x-protobuf", "Content_Encoding": "gzip"}
    assert _ask(trace_receiver, "POST", "/v1/traces", packed, **sent).status == 413
    assert _ask(trace_receiver, "POST", "/v1/traces", packed[:100], **sent).status == 400


def test_waiting_for_spans_that_never_come_names_what_came(trace_receiver: TraceReceiver) -> None:
    with pytest.raises(TimeoutError, match=r"not seen in 0\.05 s"):
        trace_receiver.wait_for(lambda spans: False, timeout_s=0.05)
