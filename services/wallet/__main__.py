"""Composition root of the wallet: no logic."""

from reelmesh.events.v1 import events_pb2_grpc
from reelmesh.wallet.v1 import wallet_pb2_grpc

from services.common.outbox import Relay
from services.common.service import Runtime, run
from services.wallet import counters, currencies, months
from services.wallet.config import Config
from services.wallet.handlers import Handlers, to_events


async def compose(runtime: Runtime[Config]) -> None:
    config = runtime.config
    await currencies.check_scales(runtime.engine)
    handlers = Handlers(runtime.engine, seal_key=config.seal_key)
    relay = Relay(
        source="wallet",
        engine=runtime.engine,
        events=runtime.stub("events", events_pb2_grpc.EventServiceStub),
        to_events=to_events,
    )
    runtime.serve(wallet_pb2_grpc.add_WalletServiceServicer_to_server, handlers)
    runtime.background("relay", relay.run)
    runtime.background(
        "counters",
        lambda stop: counters.keep_rolling_up(
            runtime.engine, interval_ms=config.checkpoint_interval_ms, stop=stop
        ),
    )
    runtime.background(
        "months",
        lambda stop: months.keep_ahead(
            runtime.engine, handlers.kept, interval_ms=months.INTERVAL_MS, stop=stop
        ),
    )
    runtime.on_drain(handlers.drain)


if __name__ == "__main__":
    run("wallet", Config, compose)
