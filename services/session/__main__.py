"""Composition root of the session service: no logic."""

import asyncio
import logging
import sys
from contextlib import suppress
from pathlib import Path

from reelmesh.events.v1 import events_pb2_grpc
from reelmesh.game.v1 import game_pb2_grpc
from reelmesh.session.v1 import session_pb2_grpc
from reelmesh.wallet.v1 import wallet_pb2_grpc
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from services.common.outbox import Relay
from services.common.service import Runtime, run
from services.session.config import Config
from services.session.game_client import GameClient
from services.session.handlers import Handlers, to_events
from services.session.policies import PolicyBook, VersionRefused
from services.session.policy import POLICIES_FILE, PolicyError, load_policies
from services.session.recount import Recount
from services.watching import database

RECORD_PAUSE_S = 0.2


async def compose(runtime: Runtime[Config]) -> None:
    config = runtime.config
    try:
        policies = PolicyBook(load_policies(Path(config.policies_path or POLICIES_FILE)))
    except (PolicyError, OSError) as problem:
        sys.exit(f"session: {problem}")
    if not await _record(runtime.engine, policies):
        # The database is away, or its migration still runs: no session is opened until it is done.
        logging.getLogger(__name__).warning("the versions of the policies wait for the database")
        runtime.background("policies", lambda stop: _keep_recording(runtime.engine, policies, stop))
    handlers = Handlers(
        engine=runtime.engine,
        wallet=runtime.stub("wallet", wallet_pb2_grpc.WalletServiceStub),
        policies=policies,
        config=config,
    )
    recount = Recount(
        runtime.engine,
        GameClient(runtime.stub("game", game_pb2_grpc.GameServiceStub)),
        # The gateway's time, then game's until it voids, then a little.
        age_ms=3 * config.spin_deadline_ms,
        interval_ms=config.recount_interval_ms,
    )
    relay = Relay(
        source="session",
        engine=runtime.direct_engine,
        events=runtime.stub("events", events_pb2_grpc.EventServiceStub),
        to_events=to_events,
    )
    runtime.serve(session_pb2_grpc.add_SessionServiceServicer_to_server, handlers)
    runtime.background("relay", relay.run)
    database.start(runtime, source="session")
    runtime.background("recount", recount.run)
    runtime.on_drain(handlers.spins.close)


async def _record(engine: AsyncEngine, policies: PolicyBook) -> bool:
    """Whether it could. A version that may not be served ends the process with one line."""
    try:
        await policies.record(engine)
    except VersionRefused as refused:
        sys.exit(f"session: {refused}")
    except SQLAlchemyError:
        return False
    return True


async def _keep_recording(engine: AsyncEngine, policies: PolicyBook, stop: asyncio.Event) -> None:
    while not stop.is_set() and not await _record(engine, policies):
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), RECORD_PAUSE_S)


if __name__ == "__main__":
    run("session", Config, compose)
