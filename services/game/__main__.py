"""Composition root of game: no logic."""

import uuid
from pathlib import Path

from reelmesh.events.v1 import events_pb2_grpc
from reelmesh.game.v1 import game_pb2_grpc
from reelmesh.wallet.v1 import wallet_pb2_grpc

from services.common.outbox import Relay
from services.common.service import Runtime, run
from services.game.config import Config
from services.game.engine import definition
from services.game.handlers import Handlers, to_events
from services.game.reconciler import Ages, Reconciler
from services.game.returns import Returns
from services.game.rounds import Catalogue
from services.game.wallet import WalletClient


async def compose(runtime: Runtime[Config]) -> None:
    config = runtime.config
    games = definition.load_all(
        Path(config.games_folder) if config.games_folder else definition.SHIPPED_GAMES
    )
    catalogue = Catalogue(games, frozenset(filter(None, config.games_withdrawn.split(","))))
    returns = Returns({game.game_id: float(game.rtp_target) for game in games.values()})
    if runtime.telemetry.meter_provider is not None:
        returns.observe_with(runtime.telemetry.meter_provider.get_meter("reelmesh"))
    wallet = WalletClient(runtime.stub("wallet", wallet_pb2_grpc.WalletServiceStub))
    seal_key = config.seal_key.encode()
    handlers = Handlers(runtime.engine, catalogue, wallet=wallet, returns=returns, seal_key=seal_key)
    reconciler = Reconciler(
        runtime.engine,
        catalogue,
        wallet=wallet,
        finish=handlers.finish,
        seal_key=seal_key,
        ages=Ages(
            pending_ms=2 * config.spin_deadline_ms,
            payout_ms=config.spin_deadline_ms,
            open_ms=config.open_timeout_ms,
        ),
        interval_ms=config.reconcile_interval_ms,
        holder=str(uuid.uuid4()),
    )
    relay = Relay(
        source="game",
        engine=runtime.engine,
        events=runtime.stub("events", events_pb2_grpc.EventServiceStub),
        to_events=to_events,
    )
    runtime.serve(game_pb2_grpc.add_GameServiceServicer_to_server, handlers)
    runtime.background("relay", relay.run)
    runtime.background("reconciler", reconciler.run)
    runtime.on_drain(handlers.drain)


if __name__ == "__main__":
    run("game", Config, compose)
