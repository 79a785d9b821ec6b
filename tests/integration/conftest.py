"""Integration tests use `database` of tests/conftest.py, or the five services as processes: `mesh`."""

from collections.abc import Iterator

import pytest

from deploy.local.mesh import Mesh
from deploy.local.traces import TraceReceiver
from tests.databases import Databases
from tests.meshes import running_mesh


@pytest.fixture(scope="module")
def mesh(databases: Databases, trace_receiver: TraceReceiver) -> Iterator[Mesh]:
    """Two gateways and one of each other service, every span sent to `trace_receiver`."""
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": trace_receiver.endpoint,
        "REELMESH_TRACE_RATIO": "1.0",
    }
    with running_mesh(databases, replicas={"gateway": 2}, environment=environment) as mesh:
        yield mesh
        # A drained process exits with 0; -9 would mean that it had to be killed.
        assert set(mesh.stop().values()) == {0}
