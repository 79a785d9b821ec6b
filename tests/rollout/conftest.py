"""A fleet with its own databases and names, and a receiver that keeps every trace of a proof."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.databases import SERVICES
from deploy.local.seed import seed
from deploy.local.settings import KEYS
from deploy.local.traces import TraceReceiver
from tests.databases import Databases
from tests.meshes import API_KEY
from tests.rollout.fleet import Fleet
from tests.rollout.names import Names

# For the test: of a manifest 120 s, so that a connection is not renewed for every few calls.
CONNECTION_AGE_MS = 3_000
TRACES_MAX = 1_000_000


@pytest.fixture
def receiver() -> Iterator[TraceReceiver]:
    """Keeps everything."""
    receiver = TraceReceiver(calls_max=TRACES_MAX, shared_max=TRACES_MAX)
    receiver.start()
    yield receiver
    receiver.stop()


@pytest.fixture
def fleet(databases: Databases, receiver: TraceReceiver, tmp_path: Path) -> Iterator[Fleet]:
    """No replica yet."""
    names = Names()
    urls = {service: databases.create(service) for service in SERVICES}
    seed(urls["gateway"], API_KEY)
    fleet = Fleet(
        tmp_path,
        urls,
        names,
        keys={name: secrets.token_hex(32) for name in KEYS},
        environment={
            "REELMESH_CONNECTION_AGE_MS": str(CONNECTION_AGE_MS),
            "REELMESH_TRACE_RATIO": "1.0",
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
        },
    )
    yield fleet
    fleet.close()
    names.close()
    for url in urls.values():
        databases.drop(url)
