"""kill -9 of the relay and of the events service at every point between them: everything arrives once."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.local.mesh import REPOSITORY, Mesh
from services.common.outbox import event_id
from tests.integration.common.outboxes import SOURCE, expire_lease, outbox, stored, until_empty, write_rows

IDENTITY_KEY = "a key of the tests, 32 characters"


@pytest.fixture
def mesh(tmp_path: Path, events_url: str) -> Iterator[Mesh]:
    """The events service, not started yet."""
    mesh = Mesh(tmp_path, {"events": events_url}, environment={"REELMESH_EVENTS_IDENTITY_KEY": IDENTITY_KEY})
    yield mesh
    mesh.kill("events")


class RelayProcess:
    """Starts the relay, with a failpoint or without."""

    def __init__(self, source_url: str, target: str) -> None:
        self.arguments = (source_url, target, IDENTITY_KEY)
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, **environ: str) -> subprocess.Popen[bytes]:
        python_path = os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "gen")))
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.common.relay_process", *self.arguments],
            env=os.environ | {"PYTHONPATH": python_path, **environ},
            cwd=REPOSITORY,
        )
        self.running.append(process)
        return process


@pytest.fixture
def relay_process(mesh: Mesh, source_url: str) -> Iterator[RelayProcess]:
    """Relays of the source as processes; they end with the test."""
    processes = RelayProcess(source_url, mesh.target("events"))
    yield processes
    for process in processes.running:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("failpoint", "left", "arrived"),
    [
        # Numbered, not sent; sent, answer not awaited; acknowledged, not deleted; deleted.
        ("mid_relay@session", [1, 2, 3], []),
        ("before_send@Append", [1, 2, 3], []),
        ("before_commit@relay_delete", [1, 2, 3], [1, 2, 3]),
        ("after_commit@relay_delete", [], [1, 2, 3]),
    ],
)
async def test_a_killed_relay_repeats_the_same_batches(
    failpoint: str,
    left: list[int],
    arrived: list[int],
    engine: AsyncEngine,
    events_engine: AsyncEngine,
    mesh: Mesh,
    relay_process: RelayProcess,
    tmp_path: Path,
) -> None:
    mesh.start("events")
    await write_rows(engine, 1, 2, 3)
    mark = tmp_path / "mark"
    killed = relay_process.start(REELMESH_FAIL=failpoint, REELMESH_FAIL_MARK=str(mark))
    assert killed.wait(30) == -signal.SIGKILL
    assert mark.read_text().startswith(failpoint)
    assert [batch_no for _, batch_no in await outbox(engine)] == left
    assert [number for _, number in await stored(events_engine)] == arrived
    await write_rows(engine, 4)
    await expire_lease(engine)
    relay_process.start()
    await until_empty(engine)
    assert await stored(events_engine) == [(1, 1), (2, 2), (3, 3), (4, 4)]


@pytest.mark.parametrize(
    "failpoint", ["mid_append@session", "before_commit@append", "after_commit@append", "after_reply@Append"]
)
async def test_a_killed_events_service_stores_every_batch_once(
    failpoint: str,
    engine: AsyncEngine,
    events_engine: AsyncEngine,
    mesh: Mesh,
    relay_process: RelayProcess,
    tmp_path: Path,
) -> None:
    mark = tmp_path / "mark"
    mesh.start("events", environment={"REELMESH_FAIL": failpoint, "REELMESH_FAIL_MARK": str(mark)})
    await write_rows(engine, 1, 2, 3)
    relay_process.start()
    assert mesh.wait_ended("events") == -signal.SIGKILL
    assert mark.read_text().startswith(failpoint)
    survived = failpoint.startswith("after")
    assert [number for _, number in await stored(events_engine)] == ([1, 2, 3] if survived else [])
    await write_rows(engine, 4)
    mesh.start("events")
    await until_empty(engine)
    assert await stored(events_engine) == [(1, 1), (2, 2), (3, 3), (4, 4)]


async def test_only_a_source_may_append_and_only_as_itself(
    engine: AsyncEngine, events_engine: AsyncEngine, mesh: Mesh, relay_process: RelayProcess
) -> None:
    """The source of an event is the identity that sent it, and its id is derived from that source."""
    mesh.start("events")
    await write_rows(engine, 1)
    (row,) = await outbox(engine)
    relay_process.start()
    await until_empty(engine)
    async with events_engine.connect() as conn:
        found = (await conn.exec_driver_sql("select source, event_id::text from event")).one()
    assert tuple(found) == (SOURCE, event_id(SOURCE, row[0], 0))
