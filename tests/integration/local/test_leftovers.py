"""What a killed runner leaves: the services end, then their database; the next run waits for both."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.local import leftovers
from deploy.local.errors import LocalError
from deploy.local.mesh import REPOSITORY
from deploy.local.ports import free_ports, port_is_free
from deploy.local.postgres import server_directory
from deploy.local.processes import command_line

_SCRIPT = """
import os, signal, sys
from pathlib import Path
from deploy.local.mesh import Mesh, Ports
from deploy.local.postgres import Cluster
from services.common.migrate import migrate
directory, port, grpc_port, admin_port = Path(sys.argv[1]), *map(int, sys.argv[2:])
cluster = Cluster(directory / "postgres", port)
cluster.start()
urls = cluster.create_service_databases(("events",))
migrate("events", urls["events"])
mesh = Mesh(directory, urls, ports={"events": Ports(grpc_port, admin_port)}, keeps_open=cluster.guard_fd)
mesh.start("events")
os.kill(os.getpid(), signal.SIGKILL)
"""


@dataclass(frozen=True, slots=True)
class Killed:
    """A run that is gone, and where its processes were."""

    directory: Path
    ports: list[int]

    @property
    def lock(self) -> Path:
        """The PostgreSQL server's: there while it runs."""
        return server_directory(self.directory / "postgres") / "data" / "postmaster.pid"


@pytest.fixture
def killed(postgres_directory: Path, tmp_path: Path) -> Killed:
    """Its service still drains."""
    directory = postgres_directory / tmp_path.name
    directory.mkdir()
    ports = free_ports(3)
    command = [sys.executable, "-c", _SCRIPT, str(directory), *map(str, ports)]
    python_path = os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "gen")))
    environment = {**os.environ, "PYTHONPATH": python_path}
    # A file: a pipe would stay open as long as what the run leaves.
    with (tmp_path / "stderr").open("w+") as stderr:
        done = subprocess.run(command, stderr=stderr, env=environment, timeout=60)
        stderr.seek(0)
        assert done.returncode == -signal.SIGKILL, stderr.read()
    return Killed(directory, ports)


def test_the_database_outlives_the_services(killed: Killed) -> None:
    [pid] = leftovers.living(killed.directory).values()
    deadline = time.monotonic() + 30
    while True:
        up = killed.lock.exists()
        lives = bool(command_line(pid))
        assert up or not lives, "the database ended first"
        if not up:
            break
        assert time.monotonic() < deadline, "the database stays"
        time.sleep(0.01)


def test_the_next_run_waits_for_the_services(killed: Killed) -> None:
    assert list(leftovers.living(killed.directory)) == ["events"]
    leftovers.end(killed.directory)
    assert leftovers.living(killed.directory) == {}
    assert all(port_is_free(port) for port in killed.ports[1:])


def test_a_service_that_does_not_stop_is_named_in_one_line(killed: Killed) -> None:
    [pid] = leftovers.living(killed.directory).values()
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(LocalError, match=rf"^events of an earlier run \(process {pid}\) [^\n]+$"):
            leftovers.end(killed.directory, timeout_s=0.1)
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_process_that_took_over_an_id_is_left_alone(tmp_path: Path) -> None:
    leftovers.record(tmp_path, {"events": os.getpid()})
    assert leftovers.living(tmp_path) == {}
