"""Fault tests have a PostgreSQL server of their own, which they may stop and kill, and a mesh on it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from deploy.local.mesh import Mesh
from deploy.local.ports import free_ports
from deploy.local.postgres import Cluster
from tests.databases import TEST_SETTINGS, Databases
from tests.mesh.players import Client
from tests.meshes import running_mesh


@pytest.fixture(scope="session")
def cluster(postgres_directory: Path) -> Iterator[Cluster]:
    """An embedded server; a test that stops it starts it again."""
    cluster = Cluster(postgres_directory / "fault", free_ports(1)[0], settings=TEST_SETTINGS)
    cluster.start()
    yield cluster
    cluster.stop("immediate")


@pytest.fixture(scope="session")
def fault_databases(cluster: Cluster) -> Databases:
    """Databases on that server; they go with it."""
    return Databases(cluster.server)


@pytest.fixture(scope="module")
def mesh_environment() -> dict[str, str]:
    """Environment of every process of the mesh; a module overrides it."""
    return {}


@pytest.fixture(scope="module")
def mesh(fault_databases: Databases, mesh_environment: dict[str, str]) -> Iterator[Mesh]:
    """Two gateways and one of each other service on `cluster`."""
    with running_mesh(fault_databases, replicas={"gateway": 2}, environment=mesh_environment) as mesh:
        yield mesh


@pytest.fixture
async def client(mesh: Mesh) -> AsyncIterator[Client]:
    """Over all gateways; closed also when the test fails, for what it leaves open would fail another one."""
    client = Client([mesh.rest_url(name) for name in mesh.names if name.startswith("gateway")])
    yield client
    await client.close()
