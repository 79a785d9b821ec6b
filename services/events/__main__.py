"""Composition root of the events service: no logic."""

from reelmesh.events.v1 import events_pb2_grpc

from services.common.service import Runtime, run
from services.events.config import Config
from services.events.handlers import Handlers


async def compose(runtime: Runtime[Config]) -> None:
    """The one servicer."""
    runtime.serve(events_pb2_grpc.add_EventServiceServicer_to_server, Handlers(runtime.engine))


if __name__ == "__main__":
    run("events", Config, compose)
