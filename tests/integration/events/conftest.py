"""An engine on a fresh events database; the service's handlers; webhooks without a network."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common.db import create_engine
from services.events.feed import Feed
from services.events.handlers import Handlers
from services.events.webhooks.vault import Vault
from services.events.webhooks.webhooks import Webhooks

WEBHOOK_KEY = "a key of the tests"


@pytest.fixture
def url(database: Callable[[str], str]) -> str:
    """A new migrated events database."""
    return database("events")


@pytest.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    """On that database."""
    engine = create_engine(url, pool_size=10, application_name="events")
    yield engine
    await engine.dispose()


@pytest.fixture
def handlers(engine: AsyncEngine) -> Handlers:
    """The servicer, without its background work."""
    feed = Feed(engine, draining=asyncio.Event())
    return Handlers(engine, feed=feed, webhooks=Webhooks(engine, Vault(WEBHOOK_KEY)), development=True)
