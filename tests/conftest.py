"""Fixtures for all tests: programs beyond Python, a PostgreSQL server, a migrated database per service."""

import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local.databases import Server
from deploy.local.ports import free_ports
from deploy.local.postgres import Cluster
from deploy.local.traces import TraceReceiver
from tests.databases import TEST_SETTINGS, Databases
from tests.tools import require_tool


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test marked tool("name") skips without that program, or fails where all of them are required."""
    for marker in item.iter_markers("tool"):
        require_tool(marker.args[0])


@pytest.fixture(scope="session")
def postgres_directory() -> Iterator[Path]:
    """A directory for clusters that every user can enter, removed at the end."""
    directory = Path(tempfile.mkdtemp(prefix="reelmesh-test-"))
    # mkdtemp closes it to others, but as root the server runs as another user.
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def server(postgres_directory: Path) -> Iterator[Server]:
    """A PostgreSQL server for the whole session: a container where Docker answers, else the embedded one."""
    if _docker_answers():
        yield from _container()
        return
    cluster = Cluster(postgres_directory / "session", free_ports(1)[0], settings=TEST_SETTINGS)
    cluster.start()
    yield cluster.server
    cluster.stop("immediate")


@pytest.fixture(scope="session")
def databases(server: Server) -> Iterator[Databases]:
    """Makes databases on the session's server."""
    databases = Databases(server)
    yield databases
    databases.close()


@pytest.fixture
def database(databases: Databases) -> Iterator[Callable[[str], str]]:
    """`database(service)` is the URL of a new migrated database of that service, dropped at the end."""
    urls: list[str] = []

    def create(service: str) -> str:
        urls.append(databases.create(service))
        return urls[-1]

    yield create
    for url in urls:
        databases.drop(url)


@pytest.fixture(scope="module")
def trace_receiver() -> Iterator[TraceReceiver]:
    """An OTLP receiver in this process; its `endpoint` is for OTEL_EXPORTER_OTLP_ENDPOINT."""
    receiver = TraceReceiver()
    receiver.start()
    yield receiver
    receiver.stop()


def _docker_answers() -> bool:
    """True when a Docker daemon answers, not only its client."""
    try:
        done = subprocess.run(["docker", "version"], capture_output=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _container() -> Iterator[Server]:
    from testcontainers.community.postgres import PostgresContainer

    container = PostgresContainer("postgres:17-alpine", username="postgres", password=uuid.uuid4().hex)
    with container.with_command("postgres -c max_connections=300 -c fsync=off -c jit=off"):
        host, port = container.get_container_host_ip(), int(container.get_exposed_port(5432))
        yield Server(host, port, "postgres", container.password, secret=container.password)
