"""A process that serves events.ListEvents: `python -m tests.integration.common.toy_service plain|run|work`.

"plain" is grpc's own documented form; "run" is services.common.service; "work" has more under way when it
is told to end, as a gateway with requests over HTTP. The handler answers when the file
TOY_RELEASE exists; what happens is printed, one word a line.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import grpc
from reelmesh.events.v1 import events_pb2, events_pb2_grpc

from services.common import service
from services.common.config import ServiceConfig
from services.common.service import Runtime, run


def say(word: str) -> None:
    print(f"SAYS {word}", flush=True)


class Handlers(events_pb2_grpc.EventServiceServicer):
    """Waits to be released."""

    async def ListEvents(self, request: Any, context: Any) -> Any:
        say("called")
        release = Path(os.environ["TOY_RELEASE"])
        while not release.exists():  # noqa: ASYNC110, ASYNC240 - another process makes it
            await asyncio.sleep(0.01)
        say("answered")
        return events_pb2.ListEventsResponse(next_page_token="released")

    async def Append(self, request: Any, context: Any) -> Any:
        return events_pb2.AppendResponse()


async def compose(runtime: Runtime[ServiceConfig]) -> None:
    crashes = iter([RuntimeError("once")])

    async def relay(stop: asyncio.Event) -> None:
        for crash in crashes:
            raise crash
        say("relay-runs")
        await stop.wait()
        say("relay-stopped")

    async def close(word: str) -> None:
        say(word)

    # Handlers has the one method that is called.
    runtime.serve(events_pb2_grpc.add_EventServiceServicer_to_server, Handlers())  # type: ignore[abstract]
    runtime.background("relay", relay)
    runtime.on_drain(lambda: close("drained-first-registered"))
    runtime.on_drain(lambda: close("drained-last-registered"))


async def compose_work(runtime: Runtime[ServiceConfig]) -> None:
    async def work(stop: asyncio.Event) -> None:
        await stop.wait()
        # Who would cut it at once has done so.
        await asyncio.sleep(0.1)
        say("goes-on")
        release = Path(os.environ["TOY_RELEASE"])
        while not release.exists():  # noqa: ASYNC110, ASYNC240 - another process makes it
            await asyncio.sleep(0.01)
        say("work-ended")

    runtime.background("work", work)


async def plain() -> None:
    server = grpc.aio.server()
    # Handlers has the one method that is called.
    events_pb2_grpc.add_EventServiceServicer_to_server(Handlers(), server)  # type: ignore[abstract]
    server.add_insecure_port(f"127.0.0.1:{os.environ['REELMESH_GRPC_PORT']}")
    await server.start()
    try:
        await server.wait_for_termination()
    finally:
        await server.stop(5)
        say("cleaned-up")


if __name__ == "__main__":
    if sys.argv[1] == "plain":
        asyncio.run(plain())
    elif sys.argv[1] == "work":
        # So that only the calls' grace is left to it.
        service.BACKGROUND_GRACE_S = 0.0
        run("events", ServiceConfig, compose_work)
    else:
        run("events", ServiceConfig, compose)
