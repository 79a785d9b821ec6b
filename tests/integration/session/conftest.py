"""Engines on an empty session database; a running session service with its wallet."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.local.mesh import Mesh
from services.common.client import GuardedChannel
from services.common.db import create_engine
from tests.databases import Databases
from tests.integration.session.accounts import WEDNESDAY, Clock

SERVICES = ("session", "wallet", "events")
TABLES = (
    "session",
    "session_entry",
    "spin_authorization",
    "spin_count",
    "account_play",
    "limit_change",
    "policy_definition",
    "outbox",
)


@pytest.fixture(scope="module")
def module_url(databases: Databases) -> Iterator[str]:
    """A migrated session database for the tests of a module."""
    url = databases.create("session")
    yield url
    databases.drop(url)


@pytest.fixture(scope="module")
def installed_clock(module_url: str) -> Clock:
    """The clock of a module whose tests use `clock`."""
    clock = Clock(module_url)
    asyncio.run(clock.install())
    return clock


@pytest.fixture
async def clock(installed_clock: Clock) -> Clock:
    """The database's clock, which the test moves. A module uses it for all its tests."""
    await installed_clock.set(WEDNESDAY)
    return installed_clock


@pytest.fixture
async def engine(request: pytest.FixtureRequest, module_url: str) -> AsyncIterator[AsyncEngine]:
    """One replica's engine; every test starts with empty tables."""
    if "clock" in request.fixturenames:
        # Before the first connection: it finds the functions that were there then.
        request.getfixturevalue("clock")
    engine = create_engine(module_url, pool_size=10, application_name="session")
    async with engine.begin() as conn:
        for table in TABLES:
            await conn.execute(text(f"delete from {table}"))
    yield engine
    await engine.dispose()


@pytest.fixture
async def second_engine(engine: AsyncEngine, module_url: str) -> AsyncIterator[AsyncEngine]:
    """Another replica's engine on the same database."""
    second = create_engine(module_url, pool_size=10, application_name="session-2")
    yield second
    await second.dispose()


@pytest.fixture(scope="module")
def mesh(databases: Databases) -> Iterator[Mesh]:
    """Processes of session, wallet and events, each on its database."""
    urls = {service: databases.create(service) for service in SERVICES}
    with tempfile.TemporaryDirectory(prefix="reelmesh-session-") as directory:
        mesh = Mesh(Path(directory), urls)
        try:
            mesh.start(*SERVICES)
            yield mesh
        finally:
            mesh.kill(*SERVICES)
            for url in urls.values():
                databases.drop(url)


@pytest.fixture
async def gateway_channels(mesh: Mesh) -> AsyncIterator[dict[str, GuardedChannel]]:
    """A channel to each of them, as the gateway has."""
    identity_key = json.loads((mesh.directory / "keys.json").read_text())["identity_key"]
    channels = {
        service: GuardedChannel(
            f"dns:///127.0.0.1:{mesh.ports(service).grpc}",
            caller="gateway",
            identity_key=identity_key,
        )
        for service in SERVICES
    }
    yield channels
    for channel in channels.values():
        await channel.close()
