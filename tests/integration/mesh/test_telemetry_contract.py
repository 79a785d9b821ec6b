"""A mesh lives through an eventful day; what it emits is what services/telemetry.yaml declares, no more."""

import asyncio
import json
import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from deploy.local.mesh import Mesh
from services.common.identity import PUBLIC, call_graph
from tests.databases import Databases
from tests.integration.mesh.eventful import Known, live
from tests.mesh.stage import Stage
from tests.meshes import running_mesh
from tests.observability.promql import expressions, known, label_of, metric_of, of_the_process, selections
from tests.otlp import Received
from tools.telemetry_contract import REQUIRED, contract

ENVIRONMENT = {
    # The reconciler ends rounds that are older than two of it.
    "REELMESH_SPIN_DEADLINE_MS": "1000",
    "REELMESH_TRACE_RATIO": "1.0",
    "OTEL_METRIC_EXPORT_INTERVAL": "2000",
}
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-|[0-9a-f]{32}|\b(rk|st)_|\bp-[0-9a-f]")
_KINDS = {"histogram": "histogram", "counter": "sum", "updowncounter": "sum", "gauge": "gauge"}


class Day(NamedTuple):
    """What was emitted, and what should not have been."""

    received: Received
    logs: dict[str, str]
    known: Known


@pytest.fixture(scope="module")
def day(databases: Databases) -> Day:
    """One day, shared: its mesh has ended, so everything was sent."""
    with Received() as received:
        environment = {**ENVIRONMENT, "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint}
        with running_mesh(databases, environment=environment) as mesh:
            known = asyncio.run(_live(mesh))
            assert set(mesh.stop().values()) == {0}
            return Day(received, {name: mesh.log(name) for name in mesh.names}, known)


async def _live(mesh: Mesh) -> Known:
    stage = Stage(mesh)
    try:
        return await live(stage)
    finally:
        await stage.restore()
        await stage.close()


def test_every_span_is_declared_with_its_attributes(day: Day) -> None:
    wrong = {
        f"{span.service}: {span.kind} {span.name}: {'; '.join(problems)}"
        for span in day.received.spans
        if (problems := contract().wrong_span(span.name, span.kind, span.attributes))
    }
    assert not wrong, "\n".join(sorted(wrong))


def test_every_span_that_is_declared_was_seen(day: Day) -> None:
    # Or the test above says little. What needs another day:
    seldom = {
        "batch gateway.finish_later",
        "batch gateway.count_returns",
        "reconciler.end",
        "wallet.void_item",
        "game.finish",
    }
    seen = {(span.name, span.kind) for span in day.received.spans}
    for declared in contract().spans:
        if declared.name:
            assert any(
                declared.is_named(span.name, span.attributes) and span.kind == declared.kind
                for span in day.received.spans
            ), declared.name
        missing = {name for name in declared.names if (name, declared.kind) not in seen} - seldom
        assert not missing


def test_calls_between_services_are_those_of_the_call_graph(day: Day) -> None:
    paths = {
        (caller, path): callee
        for callee, service in call_graph().items()
        for name, method in service.methods.items()
        for path in [f"{service.grpc_service}/{name}"]
        for caller in method.callers
    }
    made = {
        (span.service, str(span.attributes["rpc.method"]))
        for span in day.received.spans
        if span.kind == "CLIENT" and "rpc.method" in span.attributes
    }
    assert made <= paths.keys()
    # Each called each of its callees; but session asks game only of spins that nobody ended.
    pairs = {(caller, callee) for (caller, _), callee in paths.items() if caller != PUBLIC}
    assert pairs - {(caller, paths[caller, path]) for caller, path in made} <= {("session", "game")}


def test_every_metric_is_declared_with_its_unit_and_labels(day: Day) -> None:
    wrong = set()
    for point in day.received.points():
        name, declared = point.metric.name, contract().metrics.get(point.metric.name)
        if declared is None:
            wrong.add(f"{point.service}: {name} is not declared")
            continue
        problems = contract().wrong(declared.attributes, point.attributes)
        if point.metric.unit != declared.unit:
            problems.append(f"unit {point.metric.unit}")
        if point.metric.WhichOneof("data") != _KINDS[declared.instrument]:
            problems.append(f"is a {point.metric.WhichOneof('data')}")
        if point.metric.HasField("sum") and point.metric.sum.is_monotonic is not (
            declared.instrument == "counter"
        ):
            problems.append(f"is no {declared.instrument}")
        # Whatever the contract says: no label may be one of these.
        problems += [f"{key} is {value}" for key, value in point.attributes.items() if ID.search(str(value))]
        wrong |= {f"{point.service}: {name}: {problem}" for problem in problems}
    assert not wrong, "\n".join(sorted(wrong))
    missing = contract().metrics.keys() - {point.metric.name for point in day.received.points()}
    # The monitor reads rounds that are older than this day; this mesh has no certificates (test_tls.py).
    elsewhere = ("reelmesh.rtp.", "reelmesh.tls.")
    assert missing <= {name for name in contract().metrics if name.startswith(elsewhere)}


def test_what_rules_and_dashboards_select_was_emitted_with_those_labels(day: Day) -> None:
    emitted: dict[str, set[str]] = {}
    for point in day.received.points():
        of_all = {"", "le", *of_the_process(), *map(label_of, point.attributes)}
        emitted.setdefault(point.metric.name, set()).update(of_all)
    selected = {(name, label) for expr in expressions() for name, label in selections(expr)}
    absent = {
        (name, label)
        for name, label in selected
        if (metric := metric_of(name)) and label not in emitted.get(metric, ())
    }
    # The monitor reads rounds that are older than this day (game/test_monitor.py); for TLS see test_tls.py.
    elsewhere = ("reelmesh_rtp_", "reelmesh_tls_")
    assert {name for name, _ in absent} <= {name for name in known() if name.startswith(elsewhere)}
    assert len({name for name, _ in selected}) > 40


def test_durations_lead_to_traces_that_were_kept(day: Day) -> None:
    kept = {(span.trace_id, span.span_id) for span in day.received.spans}
    for name in ("rpc.server.call.duration", "rpc.client.call.duration", "http.server.request.duration"):
        told = {
            (exemplar.trace_id.hex(), exemplar.span_id.hex())
            for point in day.received.points()
            if point.metric.name == name
            for exemplar in point.exemplars
        }
        assert told and told <= kept


def test_every_process_says_who_it_is(day: Day) -> None:
    declared = contract()
    for resource in day.received.resources:
        ours = {key: value for key, value in resource.items() if key in declared.resource}
        assert not declared.wrong(declared.resource, ours)
        assert all(key in declared.resource or key.startswith("telemetry.sdk.") for key in resource), resource


def test_every_log_line_is_json_of_declared_fields(day: Day) -> None:
    declared = contract().log_fields
    required = {name for name, one in declared.items() if one.level == REQUIRED}
    levels = set()
    for name, service_line in lines(day):
        line = json.loads(service_line)
        assert required <= line.keys() <= declared.keys(), service_line
        assert all(type(value) is str for value in line.values())
        assert line["service"] == name
        levels.add(line["level"])
        if "trace_id" in line:
            assert re.fullmatch("[0-9a-f]{32}", line["trace_id"])
            assert re.fullmatch("[0-9a-f]{16}", line["span_id"])
    assert {"INFO", "ERROR"} <= levels, "nothing broke, so little was said"


def test_an_error_in_a_log_leads_to_its_trace(day: Day) -> None:
    traces = {span.trace_id for span in day.received.spans}
    errors = [json.loads(line) for _, line in lines(day) if '"level":"ERROR"' in line]
    # Work in the background has none: nobody called.
    of_calls = [line for line in errors if line["logger"] != "services.common.service"]
    assert of_calls and all(line["trace_id"] in traces for line in of_calls)


def test_no_log_line_shows_a_secret_or_a_player_s_money(day: Day) -> None:
    for name, line in lines(day):
        assert not [secret for secret in day.known.secrets if secret in line], f"{name}: a secret"
        # Stronger than "not both": a player's id leads to an amount by the time of day alone.
        assert not [player for player in day.known.players if player in line], f"{name}: a player"
        assert not [one for one in day.known.amounts if one in line], f"{name}: an amount"


def test_no_span_and_no_metric_shows_them(day: Day) -> None:
    shown = [f"{span.name} {span.attributes}" for span in day.received.spans]
    shown += [str(point.attributes) for point in day.received.points()]
    for text in shown:
        for hidden in (day.known.secrets, day.known.players, day.known.amounts):
            assert not [one for one in hidden if one in text]


def lines(day: Day) -> Iterator[tuple[str, str]]:
    """Every line of every process, with its service."""
    for name, log in day.logs.items():
        for line in log.splitlines():
            yield name, line
