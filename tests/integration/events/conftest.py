"""An engine on a fresh events database; events to append; the service as a process."""

from collections.abc import AsyncIterator, Callable

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common.db import create_engine


@pytest.fixture
async def engine(database: Callable[[str], str]) -> AsyncIterator[AsyncEngine]:
    """A new migrated events database."""
    engine = create_engine(database("events"), pool_size=10, application_name="events")
    yield engine
    await engine.dispose()
