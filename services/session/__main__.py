"""Composition root of the session service: no logic."""

from reelmesh.events.v1 import events_pb2_grpc
from reelmesh.session.v1 import session_pb2_grpc
from reelmesh.wallet.v1 import wallet_pb2_grpc

from services.common.outbox import Relay
from services.common.service import Runtime, run
from services.session.config import Config
from services.session.handlers import Handlers, to_events
from services.session.policy import load_policies


async def compose(runtime: Runtime[Config]) -> None:
    handlers = Handlers(
        engine=runtime.engine,
        wallet=runtime.stub("wallet", wallet_pb2_grpc.WalletServiceStub),
        policies=load_policies(),
        config=runtime.config,
    )
    relay = Relay(
        source="session",
        engine=runtime.engine,
        events=runtime.stub("events", events_pb2_grpc.EventServiceStub),
        to_events=to_events,
    )
    runtime.serve(session_pb2_grpc.add_SessionServiceServicer_to_server, handlers)
    runtime.background("relay", relay.run)
    runtime.on_drain(handlers.spins.close)


if __name__ == "__main__":
    run("session", Config, compose)
