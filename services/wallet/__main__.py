"""Composition root of the wallet: no logic."""

import os

from reelmesh.events.v1 import events_pb2_grpc
from reelmesh.wallet.v1 import wallet_pb2_grpc

from services.common.outbox import Relay
from services.common.service import Runtime, run
from services.wallet import counters, currencies, watches
from services.wallet.audit import auditor
from services.wallet.audit.auditor import Auditor
from services.wallet.config import Config
from services.wallet.external import operator_wallet
from services.wallet.external.rounds import ExternalRounds
from services.wallet.handlers import Handlers
from services.wallet.months import keeping
from services.wallet.outbox_events import to_events
from services.watching import database


async def compose(runtime: Runtime[Config]) -> None:
    config = runtime.config
    await currencies.check_scales(runtime.engine)
    wallets = operator_wallet.load(config.external_wallets_path, env=config.env, environ=os.environ)
    external = ExternalRounds(runtime.engine, wallets)
    handlers = Handlers(runtime.engine, seal_key=config.seal_key, external=external)
    relay = Relay(
        source="wallet",
        engine=runtime.direct_engine,
        events=runtime.stub("events", events_pb2_grpc.EventServiceStub),
        to_events=to_events,
        keep_s=auditor.OUTBOX_KEEP_S,
    )
    audit_engine = auditor.create_engine(config.database_direct_url or config.database_url)
    audit = Auditor(audit_engine, interval_ms=config.audit_interval_ms)
    runtime.observe(audit)
    runtime.serve(wallet_pb2_grpc.add_WalletServiceServicer_to_server, handlers)
    runtime.background("relay", relay.run)
    database.start(runtime, watches.reviews(runtime.engine), source="wallet")
    runtime.background(
        "counters",
        lambda stop: counters.keep_rolling_up(
            runtime.engine, interval_ms=config.checkpoint_interval_ms, stop=stop
        ),
    )
    runtime.background(
        "months",
        lambda stop: keeping.keep_ahead(
            runtime.engine, handlers.kept, interval_ms=keeping.INTERVAL_MS, stop=stop
        ),
    )
    runtime.background("auditor", audit.run)
    runtime.on_drain(audit_engine.dispose)
    runtime.background("external", external.keep_sending)
    for wallet in wallets.values():
        runtime.on_drain(wallet.close)
    runtime.on_drain(external.drain)
    runtime.on_drain(handlers.drain)


if __name__ == "__main__":
    run("wallet", Config, compose)
