"""A mesh of toy services and the spans it makes; the databases of a source and of the events service."""

from collections.abc import AsyncIterator, Callable

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common import telemetry
from services.common.db import create_engine
from services.tracing.spans import Tracer
from tests.integration.common.toy import Mesh, open_mesh
from tests.spans import Kept


@pytest.fixture
async def mesh() -> AsyncIterator[Mesh]:
    """Servers and channels of this test."""
    async with open_mesh() as opened:
        yield opened


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Kept:
    """Every span that this process makes, all kept."""
    kept = Kept()
    monkeypatch.setattr(telemetry, "tracer", Tracer(1, kept))
    return kept


@pytest.fixture
def source_url(database: Callable[[str], str]) -> str:
    """A new migrated session database."""
    return database("session")


@pytest.fixture
def events_url(database: Callable[[str], str]) -> str:
    """A new migrated events database."""
    return database("events")


@pytest.fixture
async def engine(source_url: str) -> AsyncIterator[AsyncEngine]:
    """The source's engine."""
    engine = create_engine(source_url, pool_size=10, application_name="session")
    yield engine
    await engine.dispose()


@pytest.fixture
async def events_engine(events_url: str) -> AsyncIterator[AsyncEngine]:
    """The events service's engine."""
    engine = create_engine(events_url, pool_size=10, application_name="events")
    yield engine
    await engine.dispose()
