"""The service's RPCs over a real connection, in the test's own process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from reelmesh.events.v1 import events_pb2_grpc
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common.client import GuardedChannel
from services.common.health import Health
from services.common.server import CallInterceptor, Server
from services.events.feed import Feed
from services.events.handlers import Handlers
from services.events.webhooks.vault import Vault
from services.events.webhooks.webhooks import Webhooks
from tests.integration.common.toy import CONNECTION_AGE_MS

IDENTITY_KEY = "a key of the tests, 32 characters"
WEBHOOK_KEY = "another key of the tests"


class Served:
    """A server that listens, and stubs of it."""

    def __init__(self, engine: AsyncEngine, **options: Any) -> None:
        async def ready() -> bool:
            return True

        self.health = Health(ready)
        self.server = Server(
            "events", CallInterceptor(IDENTITY_KEY), self.health, connection_age_ms=CONNECTION_AGE_MS
        )
        self.feed = Feed(engine, draining=self.health.draining, **options)
        webhooks = Webhooks(engine, Vault(WEBHOOK_KEY))
        self.handlers = Handlers(engine, feed=self.feed, webhooks=webhooks, development=True)
        events_pb2_grpc.add_EventServiceServicer_to_server(self.handlers, self.server.rpc)
        self.target = ""
        self._channels: list[GuardedChannel] = []

    def stub(self, *, caller: str = "gateway", identity_key: str = IDENTITY_KEY) -> Any:
        """The service as this caller sees it."""
        channel = GuardedChannel(self.target, caller=caller, identity_key=identity_key)
        self._channels.append(channel)
        return channel.stub(events_pb2_grpc.EventServiceStub)

    async def start(self) -> None:
        port, _ = await self.server.start(host="127.0.0.1", grpc_port=0, admin_port=0)
        self.target = f"dns:///127.0.0.1:{port}"

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()
        await self.server.rpc.stop(0)
        await self.server.close(grace_s=0)


@asynccontextmanager
async def served(engine: AsyncEngine, **options: Any) -> AsyncIterator[Served]:
    """It serves, and its feed looks at the log."""
    one, stop = Served(engine, **options), asyncio.Event()
    await one.start()
    feed = asyncio.create_task(one.feed.run(stop))
    try:
        yield one
    finally:
        stop.set()
        await feed
        await one.close()
