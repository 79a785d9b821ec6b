"""How a service ends, in real processes; grpc's documented form is seen failing first (traps 3 and 4)."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from reelmesh.events.v1 import events_pb2, events_pb2_grpc

from deploy.local.ports import free_ports
from services.common import identity
from services.common.health import Health
from services.common.server import CallInterceptor, Server
from tests.integration.common.toy import CONNECTION_AGE_MS, KEY, Mesh
from tests.otlp import Received

SERVING, NOT_SERVING = 1, 2


class Process:
    """The toy service as a process, and all that it printed."""

    def __init__(
        self, process: asyncio.subprocess.Process, port: int, admin_port: int, release: Path
    ) -> None:
        self.process, self.port, self.admin_port, self.release = process, port, admin_port, release
        self.output: list[str] = []
        self._grown = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.output.append(line.decode().rstrip())
            self._grown.set()

    async def saw(self, text: str) -> None:
        async with asyncio.timeout(10):
            while not any(text in line for line in self.output):
                self._grown.clear()
                await self._grown.wait()

    async def exit_code(self) -> int:
        code = await asyncio.wait_for(self.process.wait(), 20)
        await self._reader
        return code


Start = Callable[..., Any]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    running: list[Process] = []

    @asynccontextmanager
    async def starting(mode: str, **environ: str) -> AsyncIterator[Process]:
        port, admin_port = free_ports(2)
        release = tmp_path / "release"
        settings = {
            "REELMESH_GRPC_PORT": str(port),
            "REELMESH_ADMIN_PORT": str(admin_port),
            "REELMESH_DATABASE_URL": "postgresql+psycopg://events:x@127.0.0.1:1/events",
            "REELMESH_IDENTITY_KEY": KEY,
            "REELMESH_DRAIN_WAIT_MS": "300",
            "TOY_RELEASE": str(release),
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.integration.common.toy_service", mode),
            env=os.environ | settings | environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        running.append(Process(child, port, admin_port, release))
        yield running[-1]

    yield starting
    for process in running:
        if process.process.returncode is None:
            process.process.kill()
        await process.exit_code()


def call(mesh: Mesh, process: Process) -> Any:
    """An open call of the toy's slow method; waits until the process listens."""
    stub: Any = events_pb2_grpc.EventServiceStub(mesh.raw_channel(f"127.0.0.1:{process.port}"))
    metadata = [(identity.METADATA_KEY, identity.sign("gateway", KEY, 60))]
    return stub.ListEvents(events_pb2.ListEventsRequest(), metadata=metadata, wait_for_ready=True)


def order(output: list[str], *texts: str) -> list[int]:
    return [next(at for at, line in enumerate(output) if text in line) for text in texts]


async def test_waiting_for_termination_dies_of_sigterm_with_the_call_cut_and_no_cleanup(
    mesh: Mesh, start: Start
) -> None:
    async with start("plain") as process:
        answer = call(mesh, process)
        await process.saw("SAYS called")
        process.process.send_signal(signal.SIGTERM)
        assert await process.exit_code() == -signal.SIGTERM
        assert not any("cleaned-up" in line for line in process.output), "trap 3 is gone"
        with pytest.raises(grpc.aio.AioRpcError):
            await answer


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_our_service_drains_in_order_and_exits_with_zero(
    mesh: Mesh, start: Start, number: signal.Signals
) -> None:
    async with start("run") as process:
        answer = asyncio.ensure_future(call(mesh, process))
        await process.saw("SAYS called")
        # It crashed once and was started again.
        await process.saw("SAYS relay-runs")
        health: Any = health_pb2_grpc.HealthStub(mesh.raw_channel(f"127.0.0.1:{process.admin_port}"))  # type: ignore[no-untyped-call]
        watch = health.Watch(health_pb2.HealthCheckRequest(service="startup"))
        assert (await watch.read()).status == SERVING
        process.process.send_signal(number)
        assert (await watch.read()).status == NOT_SERVING
        assert await watch.read() is grpc.aio.EOF
        liveness = await health.Check(health_pb2.HealthCheckRequest(service="liveness"))
        assert liveness.status == SERVING, "alive while it drains, or the orchestrator kills it"
        process.release.touch()
        assert (await answer).next_page_token == "released"
        assert await process.exit_code() == 0
    steps = order(
        process.output,
        "drain: not ready",
        "SAYS answered",
        "drain: calls ended",
        "SAYS relay-stopped",
        "SAYS drained-last-registered",
        "SAYS drained-first-registered",
        "drain: engine disposed",
    )
    assert steps == sorted(steps), process.output


async def test_a_call_that_outlasts_the_grace_is_cut_and_the_exit_is_still_clean(
    mesh: Mesh, start: Start
) -> None:
    async with start("run", REELMESH_DRAIN_GRACE_MS="100", REELMESH_DRAIN_WAIT_MS="0") as process:
        answer = call(mesh, process)
        await process.saw("SAYS called")
        process.process.send_signal(signal.SIGTERM)
        with pytest.raises(grpc.aio.AioRpcError):
            await answer
        assert await process.exit_code() == 0
        await process.saw("drain: engine disposed")


async def test_what_is_under_way_beside_calls_gets_the_rest_of_their_grace(start: Start) -> None:
    async with start("work") as process:
        await process.saw("events serves on")
        process.process.send_signal(signal.SIGTERM)
        await process.saw("SAYS goes-on")
        process.release.touch()
        assert await process.exit_code() == 0
        assert any("SAYS work-ended" in line for line in process.output), process.output


async def test_a_taken_port_ends_the_start_with_one_line(mesh: Mesh, start: Start) -> None:
    async with start("run") as first:
        await first.saw("events serves on")
        async with start("run", REELMESH_GRPC_PORT=str(first.port)) as second:
            assert await second.exit_code() == 1
            assert second.output[-1] == f"events: cannot listen on 127.0.0.1:{first.port}; is the port taken?"
            assert not any("OSError" in line for line in second.output)


async def test_t24_sigterm_sends_the_spans_and_durations_that_still_wait(mesh: Mesh, start: Start) -> None:
    # Nothing is sent by itself within this test, and the call is open when the signal comes.
    later = {"OTEL_BSP_SCHEDULE_DELAY": "600000", "OTEL_METRIC_EXPORT_INTERVAL": "600000"}
    with Received() as received:
        otel = {"OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint, "OTEL_TRACES_SAMPLER_ARG": "1"}
        async with start("run", **later, **otel) as process:
            answer = asyncio.ensure_future(call(mesh, process))
            await process.saw("SAYS called")
            process.process.send_signal(signal.SIGTERM)
            process.release.touch()
            await answer
            assert not received.spans and not received.metrics
            assert await process.exit_code() == 0
    method = "reelmesh.events.v1.EventService/ListEvents"
    assert [span.name for span in received.spans] == [method]
    [point] = [point for point in received.points() if point.metric.name == "rpc.server.call.duration"]
    assert point.attributes["rpc.method"] == method
    assert [exemplar.trace_id.hex() for exemplar in point.exemplars] == [received.spans[0].trace_id]


@pytest.mark.parametrize("end_watches", [False, True], ids=["guard off", "guard on"])
async def test_an_open_watch_does_not_hold_the_stop(mesh: Mesh, end_watches: bool) -> None:
    grace_s = 0.6

    async def ready() -> bool:
        return True

    health = Health(ready, end_watches=end_watches)
    server = Server("wallet", CallInterceptor(KEY), health, connection_age_ms=CONNECTION_AGE_MS)
    _, port = await server.start(host="127.0.0.1", grpc_port=0, admin_port=0)
    stub: Any = health_pb2_grpc.HealthStub(mesh.raw_channel(f"127.0.0.1:{port}"))  # type: ignore[no-untyped-call]
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="liveness"))
    assert (await watch.read()).status == SERVING
    await server.drain(wait_s=0, grace_s=grace_s)
    started_s = time.monotonic()
    await server.close(grace_s=grace_s)
    took_s = time.monotonic() - started_s
    if end_watches:
        assert took_s < grace_s / 2
    else:
        assert took_s > grace_s * 0.9, "trap 4 is gone"
