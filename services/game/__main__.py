"""Composition root of game: no logic."""

import asyncio
import logging
import sys
import uuid
from contextlib import suppress

from reelmesh.events.v1 import events_pb2_grpc
from reelmesh.game.v1 import game_pb2_grpc
from reelmesh.wallet.v1 import wallet_pb2_grpc
from sqlalchemy.exc import DataError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common.outbox import Relay
from services.common.service import Runtime, run
from services.game import definitions, games_folder, watches
from services.game.catalogue import Catalogue, ids_of
from services.game.config import Config
from services.game.engine.loading import DefinitionError
from services.game.handlers import Handlers, to_events
from services.game.reconciler import Ages, Reconciler
from services.game.returns import Returns
from services.game.rtp.monitor import Monitor
from services.game.wallet import WalletClient
from services.watching import database

RECORD_PAUSE_S = 0.2


async def compose(runtime: Runtime[Config]) -> None:
    config = runtime.config
    try:
        games = games_folder.load(config.games_folder, books_cache_folder=config.books_cache_folder)
    except DefinitionError as error:
        sys.exit(f"game: {error}")
    withdrawn = ids_of(config.games_withdrawn)
    if strangers := withdrawn - {game.game_id for game in games}:
        names = ", ".join(sorted(strangers))
        logging.getLogger(__name__).warning("games withdrawn that are not served: %s", names)
    served = Catalogue(games, withdrawn)
    if not await _record(runtime.engine, served):
        # The database is away, or its migration still runs: no round is drawn until it is done.
        logging.getLogger(__name__).warning("the versions of the games wait for the database")
        runtime.background("versions", lambda stop: _keep_recording(runtime.engine, served, stop))
    returns = Returns(
        {
            (game.game_id, mode.name): (
                float(mode.rtp_target),
                None if mode.deviation is None else float(mode.deviation),
            )
            for game in games
            for mode in game.modes_by_name.values()
        }
    )
    wallet = WalletClient(runtime.stub("wallet", wallet_pb2_grpc.WalletServiceStub))
    seal_key = config.seal_key.encode()
    ages = Ages(
        pending_ms=2 * config.spin_deadline_ms,
        payout_ms=config.spin_deadline_ms,
        open_ms=config.open_timeout_ms,
    )
    handlers = Handlers(runtime.engine, served, wallet=wallet, returns=returns, seal_key=seal_key, ages=ages)
    reconciler = Reconciler(
        runtime.engine,
        served,
        wallet=wallet,
        finish=handlers.finish,
        seal_key=seal_key,
        ages=ages,
        interval_ms=config.reconcile_interval_ms,
        holder=str(uuid.uuid4()),
    )
    monitor = Monitor(runtime.engine, holder=str(uuid.uuid4()), interval_ms=config.monitor_interval_ms)
    runtime.observe(returns, monitor)
    relay = Relay(
        source="game",
        engine=runtime.direct_engine,
        events=runtime.stub("events", events_pb2_grpc.EventServiceStub),
        to_events=to_events,
    )
    runtime.serve(game_pb2_grpc.add_GameServiceServicer_to_server, handlers)
    runtime.background("relay", relay.run)
    database.start(runtime, watches.rounds(runtime.engine), source="game")
    runtime.background("reconciler", reconciler.run)
    runtime.background("monitor", monitor.run)
    runtime.on_drain(handlers.drain)


async def _record(engine: AsyncEngine, served: Catalogue) -> bool:
    """Whether it could. A version that may not be served ends the process with one line."""
    try:
        await definitions.record(engine, served)
    except definitions.VersionRefused as refused:
        sys.exit(f"game: {refused}")
    except DataError as error:
        # No database that comes back would take it either.
        sys.exit(f"game: the versions of the games cannot be stored: {error.orig}")
    except SQLAlchemyError:
        return False
    return True


async def _keep_recording(engine: AsyncEngine, served: Catalogue, stop: asyncio.Event) -> None:
    while not stop.is_set() and not await _record(engine, served):
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), RECORD_PAUSE_S)


if __name__ == "__main__":
    run("game", Config, compose)
