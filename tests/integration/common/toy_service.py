"""A process that serves events.ListEvents: `python -m tests.integration.common.toy_service plain|run`.

"plain" is grpc's own documented form; "run" is services.common.service. The handler answers when the file
TOY_RELEASE exists; what happens is printed, one word a line.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import grpc
from reelmesh.events.v1 import events_pb2, events_pb2_grpc

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

    runtime.serve(events_pb2_grpc.add_EventServiceServicer_to_server, Handlers())
    runtime.background("relay", relay)
    runtime.on_drain(lambda: close("drained-first-registered"))
    runtime.on_drain(lambda: close("drained-last-registered"))


async def plain() -> None:
    server = grpc.aio.server()
    events_pb2_grpc.add_EventServiceServicer_to_server(Handlers(), server)
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
    else:
        run("events", ServiceConfig, compose)
