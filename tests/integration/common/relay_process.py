"""A relay as a process of its own, for tests that kill it: <database_url> <target> <identity_key>."""

import asyncio
import sys

from reelmesh.events.v1 import events_pb2_grpc

from services.common.client import GuardedChannel
from services.common.db import create_engine
from services.common.outbox import Relay
from tests.integration.common.outboxes import SOURCE, to_events


async def main(database_url: str, target: str, identity_key: str) -> None:
    engine = create_engine(database_url, pool_size=2, application_name="relay")
    channel = GuardedChannel(target, caller=SOURCE, identity_key=identity_key)
    stub = channel.stub(events_pb2_grpc.EventServiceStub)
    await Relay(source=SOURCE, engine=engine, events=stub, to_events=to_events).run(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
