"""What is kept of a trace, what links a batch to its items, what a log line shows."""

import asyncio
import json
import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest
from opentelemetry import trace

from services.common import telemetry, telemetry_names
from services.common.batching import Batcher
from services.common.errors import FieldMissing
from services.tracing.logs import LogFormatter
from services.tracing.spans import Span
from tests.spans import shown
from tests.unit.common.conftest import Trace

KEPT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
DROPPED = "00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203332-00"


def links_of(span: Span) -> set[int]:
    return {link.context.span_id for link in span.links}


def id_of(span: Span) -> int:
    return span.context.span_id


def test_a_new_trace_is_kept_with_the_ratio_and_a_callers_decision_is_followed(trace_with: Trace) -> None:
    spans = trace_with(0.25)
    for number in range(400):
        with telemetry.span(f"root {number}"):
            pass
    assert 50 < len(spans()) < 160
    for parent, name in ((KEPT, "of kept"), (DROPPED, "of dropped")):
        for number in range(20):
            with telemetry.span(f"{name} {number}", parent=parent):
                pass
    names = [name.rpartition(" ")[0] for name in spans()]
    assert names.count("of kept") == 20 and names.count("of dropped") == 0


def test_a_span_of_a_dropped_trace_keeps_its_trace_id_for_the_reply(trace_with: Trace) -> None:
    trace_with(1)
    with telemetry.span("server", parent=DROPPED), telemetry.span("inner"):
        assert telemetry.trace_id() == DROPPED.split("-")[1]
        assert telemetry.traceparent().endswith("-00")


def test_without_a_collector_every_reply_still_has_a_trace_id() -> None:
    with telemetry.span("server"):
        assert len(telemetry.trace_id()) == 32
        assert telemetry.context_of(telemetry.traceparent()).is_valid


@pytest.mark.parametrize(
    "malformed", ["", "00-0-0-01", KEPT.upper(), KEPT + "0", "00-" + "0" * 32 + "-b7ad6b7169203331-01"]
)
def test_a_malformed_traceparent_starts_a_new_trace(malformed: str, trace_with: Trace) -> None:
    spans = trace_with(1)
    with telemetry.span("server", parent=malformed):
        assert telemetry.trace_id()
    assert spans()["server"].parent is None
    assert telemetry.link(malformed) is None


def test_a_root_with_links_follows_its_links(trace_with: Trace) -> None:
    spans = trace_with(0)
    link = telemetry.link(KEPT)
    assert link is not None and telemetry.link(DROPPED) is None
    with telemetry.span("for kept", links=[link]):
        pass
    with telemetry.span("for dropped", links=[]), telemetry.span("its child"):
        assert telemetry.trace_id()
    assert list(spans()) == ["for kept"]


def test_what_must_be_seen_is_kept_in_a_dropped_trace(trace_with: Trace) -> None:
    spans = trace_with(0)
    with telemetry.span("server", parent=DROPPED):
        attributes: dict[str, Any] = {telemetry_names.ROUND_ID: "r1"}
        telemetry.keep("wallet.void", why="void", **attributes)
    kept = spans()["wallet.void"]
    assert kept.parent is not None
    assert f"{kept.parent.trace_id:032x}" == DROPPED.split("-")[1]
    assert kept.attributes == {telemetry_names.KEEP: "void", telemetry_names.ROUND_ID: "r1"}


async def test_items_and_their_batch_are_linked_both_ways(trace_with: Trace) -> None:
    spans = trace_with(0)

    async def execute(items: Sequence[str]) -> Sequence[str]:
        with telemetry.span("statement"):
            return items

    batcher = Batcher("settle", execute)

    async def call(name: str, parent: str) -> None:
        with telemetry.span(name, parent=parent):
            await batcher.submit(name)

    await asyncio.gather(call("a", KEPT), call("b", DROPPED), call("c", KEPT.replace("80319c", "80319e")))
    found = spans()
    assert set(found) == {"a", "c", "batch settle", "statement"}
    batch = found["batch settle"]
    assert batch.parent is None
    assert batch.attributes == {telemetry_names.BATCH_SIZE: 3}
    assert links_of(batch) == {id_of(found["a"]), id_of(found["c"])}
    assert links_of(found["a"]) == links_of(found["c"]) == {id_of(batch)}
    parent = found["statement"].parent
    assert parent is not None and parent.span_id == id_of(batch)


async def test_a_batch_that_nobody_looks_at_is_not_kept_whatever_the_ratio(trace_with: Trace) -> None:
    spans = trace_with(1)

    async def execute(items: Sequence[int]) -> Sequence[int]:
        with telemetry.span("statement"):
            return items

    with telemetry.span("server", parent=DROPPED):
        await Batcher("settle", execute).submit(1)
    assert spans() == {}


def test_a_failed_span_shows_the_kind_of_error_and_never_its_text(trace_with: Trace) -> None:
    spans = trace_with(1)
    with pytest.raises(psycopg.errors.CheckViolation), telemetry.span("statement"):
        raise psycopg.errors.CheckViolation("win 4711 is hidden")
    with pytest.raises(FieldMissing), telemetry.span("refused"):
        raise FieldMissing(field="stake")
    statement, refused = spans()["statement"], spans()["refused"]
    assert statement.attributes == {telemetry_names.ERROR_TYPE: "CheckViolation"}
    assert statement.status.status_code is trace.StatusCode.ERROR
    assert b"4711" not in shown(statement)
    assert refused.attributes == {telemetry_names.ERROR_REASON: "FIELD_MISSING"}
    assert refused.status.status_code is trace.StatusCode.UNSET


def record(message: str, error: BaseException | None = None) -> logging.LogRecord:
    exc_info = (type(error), error, None) if error is not None else None
    return logging.LogRecord("services.wallet", logging.ERROR, "ledger.py", 1, message, None, exc_info)


def test_a_log_line_is_one_json_object_with_the_trace() -> None:
    with telemetry.span("server", parent=DROPPED):
        line = json.loads(LogFormatter("wallet", "json").format(record("batch\nfailed")))
    assert line["trace_id"] == DROPPED.split("-")[1] and line["span_id"] == DROPPED.split("-")[2]
    assert line["service"] == "wallet" and line["level"] == "ERROR"
    assert line["message"] == "batch\nfailed"
    assert "trace_id" not in json.loads(LogFormatter("wallet", "json").format(record("outside")))


def test_a_log_line_shows_no_row_of_the_database() -> None:
    detail = (
        "new row violates\nDETAIL:  Failing row contains (r1, 100, 4711).\nCONTEXT:  parameter $2 = '4711'"
    )
    for formatter in (LogFormatter("wallet", "json"), LogFormatter("wallet", "text")):
        line = formatter.format(record("failed", psycopg.errors.CheckViolation(detail)))
        assert "new row violates" in line and "4711" not in line


def test_lines_are_text_where_people_read_them() -> None:
    with telemetry.span("server", parent=DROPPED):
        line = LogFormatter("wallet", "text").format(record("it drains"))
    trace_id = DROPPED.split("-")[1]
    assert re.fullmatch(
        rf"\d\d:\d\d:\d\d\.\d{{3}} ERROR   wallet it drains \(services\.wallet trace={trace_id}\)", line
    )


TRACED = """
import sys, time
from services.common import telemetry
telemetry.FLUSH_TIMEOUT_S = float(sys.argv[1])
started = telemetry.setup("wallet", ratio=1, version="0")
for number in range(1000):
    with telemetry.span("settle"):
        telemetry.server_calls.record(("grpc", "wallet/Settle", "OK", None), 0.01)
    if number % 250 == 0:
        time.sleep(0.15)
begun = time.monotonic()
started.shutdown()
print("flushed", time.monotonic() - begun < float(sys.argv[1]) + 1)
"""


def run_traced(flush_timeout_s: float, **otel: str) -> list[str]:
    """What a process that makes 1,000 spans, sent every 50 ms, writes to its terminal."""
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OTEL_BSP_SCHEDULE_DELAY": "50", **otel}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", TRACED, str(flush_timeout_s)],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout.splitlines()


def test_without_a_collector_nothing_is_said() -> None:
    assert run_traced(5) == ["flushed True"]


def test_a_dead_collector_is_named_once_and_holds_nothing_up() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        lines = run_traced(2, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{closed.getsockname()[1]}")
    assert lines[-1] == "flushed True"
    assert len(lines) == 2 and json.loads(lines[0])["message"].startswith("telemetry is not delivered")


def test_a_collector_that_never_answers_does_not_hold_the_end_up() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        lines = run_traced(0.5, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{deaf.getsockname()[1]}")
    assert lines[-1] == "flushed True" and len(lines) <= 2
