"""A spin for which there is no room is refused at once, with the very answer that the long way gives."""

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, cast

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from services.common import telemetry
from services.common.errors import Overloaded
from services.gateway.door import Door
from services.gateway.edge import refusals
from services.gateway.edge.exchange import Request, Response, Template
from services.gateway.edge.refusals import Refusals
from services.gateway.edge.rest import Rest
from services.gateway.rounds import Rounds
from services.tracing.spans import Tracer
from tests.integration.gateway.harness import (
    BODY_SIZE_BYTES_MAX,
    Answer,
    App,
    Served,
    Wire,
    happened,
    serving,
)
from tests.spans import Kept

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
CALLER = f"traceparent: 00-{TRACE_ID}-b7ad6b7169203331-01".encode()
HOLD = b"GET /hold HTTP/1.1\r\n\r\n"
AFTER = b"GET /after HTTP/1.1\r\n\r\n"


def spin(*lines: bytes, target: bytes = b"/v1/spins", body: bytes = b"{}") -> bytes:
    """A spin with these header lines."""
    head = b"".join(line + b"\r\n" for line in (b"content-length: %d" % len(body), *lines))
    return b"POST %b HTTP/1.1\r\n%b\r\n" % (target, head) + body


class Entrance(App):
    """The routes, and the tiny app for what they do not have; counts what takes the long way."""

    def __init__(self, rest: Rest) -> None:
        super().__init__()
        self._rest, self.long_way = rest, 0

    async def __call__(self, request: Request) -> Response:
        if request.target.startswith("/v1/"):
            self.long_way += 1
            return await self._rest.answer(request)
        return await super().__call__(request)


@dataclass(frozen=True, slots=True)
class Full:
    """A gateway that takes no spin, its first long way behind it; its server, and a client's connection."""

    served: Served
    door: Entrance
    rounds: Rounds
    wire: Wire
    first: Answer
    """What was refused the long way, in the caller's trace."""


@pytest.fixture
async def full(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Full]:
    # However slow the machine: once, and never again.
    monkeypatch.setattr(refusals, "LONG_WAY_INTERVAL_S", math.inf)
    rounds = no_rounds()
    door = Entrance(Rest(door_to(rounds)))
    async with serving(door, refuse=Refusals(rounds).refuse) as served:
        wire = await served.wire()
        wire.send(spin(CALLER))
        first = await wire.answer()
        assert door.long_way == 1
        yield Full(served, door, rounds, wire, first)


def no_rounds() -> Rounds:
    """A gateway's, with room for none."""
    unused = cast(Any, None)
    return Rounds(unused, unused, deadline_ms=1_000, in_flight_max=0)


def door_to(rounds: Rounds) -> Door:
    """To these and nothing else."""
    unused = cast(Any, None)
    return Door(
        operators=unused,
        players=unused,
        rounds=rounds,
        back_office=unused,
        limits=unused,
        explanations=unused,
        client_events=unused,
    )


def without_date(answer: Answer) -> dict[str, str]:
    """The headers that do not change by themselves."""
    return {name: value for name, value in answer.headers.items() if name != "date"}


async def test_the_answer_is_that_of_the_long_way(full: Full) -> None:
    full.wire.send(spin(CALLER))
    answer = await full.wire.answer()
    assert full.door.long_way == 1
    assert (answer.status, answer.body) == (503, full.first.body)
    assert without_date(answer) == without_date(full.first) and "date" in answer.headers
    assert (answer.headers["x-trace-id"], answer.headers["retry-after"]) == (TRACE_ID, "1")
    body = json.loads(answer.body)
    assert (body["reason"], body["class"], body["trace_id"]) == ("OVERLOADED", "RETRY_SAME_ID", TRACE_ID)
    assert body["metadata"] == {"retry_after_ms": "500"}


@pytest.mark.parametrize(
    "lines",
    [(), (b"traceparent: no",), (b"traceparent: 00-" + b"0" * 32 + b"-b7ad6b7169203331-01",)],
    ids=["none", "malformed", "of zeros"],
)
async def test_without_a_caller_s_trace_each_has_its_own(full: Full, lines: tuple[bytes, ...]) -> None:
    trace_ids = set()
    for _ in range(3):
        full.wire.send(spin(*lines))
        answer = await full.wire.answer()
        assert json.loads(answer.body)["trace_id"] == answer.headers["x-trace-id"]
        trace_ids.add(answer.headers["x-trace-id"])
    assert full.door.long_way == 1 and len(trace_ids) == 3
    assert all(re.fullmatch("[0-9a-f]{32}", trace_id) and int(trace_id, 16) for trace_id in trace_ids)


def test_a_template_is_encoded_as_its_response_would_be() -> None:
    response = Response(503, b'{"trace_id":"t0"}', headers={"x-trace-id": "t0"})
    named = Response(503, b'{"trace_id":"t1"}', headers={"x-trace-id": "t1"})
    template = Template(response, "t0")
    for date in ("date: Mon\r\n", "date: Tue\r\n"):
        for close in (False, True, False):
            expected = named.encode(date=date, close=close, head_only=False)
            assert template.encode(b"t1", date=date, close=close) == expected


async def test_refusals_are_answered_in_their_order(full: Full) -> None:
    first, second = (spin(f"traceparent: 00-{number:032x}-{1:016x}-00".encode()) for number in (1, 2))
    full.wire.send(first + second + AFTER + HOLD + first)
    for expected in (1, 2):
        assert (await full.wire.answer()).headers["x-trace-id"] == f"{expected:032x}"
    assert (await full.wire.answer()).body == b"GET /after "
    await happened(full.door.begun)
    full.wire.send(second)
    full.door.release.set()
    assert (await full.wire.answer()).body == b"GET /hold "
    for expected in (1, 2):
        assert (await full.wire.answer()).headers["x-trace-id"] == f"{expected:032x}"


async def test_one_client_s_many_leave_the_loop_to_others(full: Full) -> None:
    full.wire.send(spin() * 20)
    for _ in range(20):
        assert (await full.wire.answer()).status == 503
    # One of those that came together; the kernel may have cut them in two.
    assert full.door.long_way >= 1 + 20 - 3
    assert full.rounds.refused == 21


async def test_the_connection_stays_or_goes_as_the_client_said(full: Full) -> None:
    for _ in range(3):
        full.wire.send(spin())
        assert "connection" not in (await full.wire.answer()).headers
    full.wire.send(spin(b"connection: close") + AFTER)
    assert (await full.wire.answer()).headers["connection"] == "close"
    assert await full.wire.rest() == b""
    assert full.door.long_way == 1


async def test_a_client_that_ended_its_own_side_hears_it(full: Full) -> None:
    full.wire.send(spin())
    full.wire.end()
    assert (await full.wire.answer()).status == 503
    assert await full.wire.rest() == b""


async def test_a_server_that_stops_says_so(full: Full) -> None:
    half = spin()[:-1]
    full.wire.send(half)
    await asyncio.sleep(0.05)
    full.served.stop.set()
    await asyncio.sleep(0.05)
    full.wire.send(spin()[-1:])
    answer = await full.wire.answer()
    assert (answer.status, answer.headers["connection"]) == (503, "close")
    await full.served.stopped()
    assert full.door.long_way == 1


@pytest.mark.parametrize(
    "sent, status",
    [
        (spin(body=b"x" * (BODY_SIZE_BYTES_MAX + 1)), 413),
        (spin(b"content-length: 2"), 400),
        (spin(target=b"/v1/spins/"), 404),
        (spin().replace(b"POST", b"PUT"), 405),
        (spin(target=b"/v1/sessions"), 500),
    ],
    ids=["too large", "no HTTP", "no route", "no method", "no spin"],
)
async def test_what_has_another_answer_keeps_it(full: Full, sent: bytes, status: int) -> None:
    full.wire.send(sent)
    assert (await full.wire.answer()).status == status
    assert full.rounds.refused == 1


async def test_while_there_is_room_nothing_is_refused(full: Full) -> None:
    full.rounds._in_flight_max = 1
    for _ in range(2):
        full.wire.send(spin())
        assert (await full.wire.answer()).status == 401
    assert full.rounds.refused == 1


async def test_a_flood_has_one_span_a_second_and_all_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, kept = 1_000.0, Kept()
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    monkeypatch.setattr(telemetry, "tracer", Tracer(1, kept))
    rounds = no_rounds()
    rest = Rest(door_to(rounds))
    refuse = Refusals(rounds).refuse
    for _ in range(20):
        for _ in range(10):
            request = Request("POST", "/v1/spins", {})
            if refuse(request) is None:
                await rest.answer(request)
        now_s += 0.25
    assert rounds.refused == 200
    assert [span.name for span in kept.finished] == ["POST /v1/spins"] * 5


async def test_the_exporter_reads_how_many_were_refused() -> None:
    reader = InMemoryMetricReader()
    rounds = no_rounds()
    rounds.observe_with(MeterProvider([reader]).get_meter("reelmesh"))
    for _ in range(3):
        with pytest.raises(Overloaded):
            rounds.require_room()
    data = reader.get_metrics_data()
    assert data is not None
    [metric] = data.resource_metrics[0].scope_metrics[0].metrics
    [point] = metric.data.data_points
    assert (metric.name, cast(Any, point).value) == ("reelmesh.spin.refused", 3)
    assert dict(point.attributes or {}) == {"reelmesh.error.reason": "OVERLOADED"}
