"""The gateway's own edge with an empty mesh behind it: python -m bench.edge PORT TRACE_RATIO. A floor."""

import asyncio
import sys
from typing import Any, cast

import uvloop
from google.protobuf.timestamp_pb2 import Timestamp
from reelmesh.game.v1 import game_pb2
from reelmesh.session.v1 import session_pb2
from reelmesh.type.v1 import money_pb2

from services.common import VERSION, telemetry
from services.game.engine import definition, loading, outcome, play, rng
from services.gateway.door import Door, is_api_key
from services.gateway.edge import jsonrpc
from services.gateway.edge.guard import Guard
from services.gateway.edge.reading import Limits
from services.gateway.edge.rest import Rest
from services.gateway.edge.server import HttpServer
from services.gateway.edge.websocket import WebSockets
from services.gateway.notices import Watcher
from services.gateway.protection.rates import Addresses, Limit, Rates
from services.gateway.rounds import Played


class EmptyRounds:
    """Answers every spin at once with the same drawn round."""

    def __init__(self) -> None:
        game = loading.load_all(definition.SHIPPED_GAMES)["harbour-lights"]
        spin = play.spin(game, bet_minor=100, draws=rng.Draws())
        self._outcome_json = outcome.encode_outcome(spin.outcome)

    def require_room(self) -> None:
        """There always is."""

    async def spin(
        self, token: str, request_id: str, stake: money_pb2.Money, mode: str = "", **declared: bool
    ) -> Played:
        """The answer that a spin gets, without the spin."""
        balance = money_pb2.Money(currency_code="EUR", amount_minor=100_000)
        played = game_pb2.Round(
            round_id="01890000-0000-7000-8000-000000000000",
            request_id=request_id,
            game_id="harbour-lights",
            game_version=1,
            state=game_pb2.ROUND_STATE_SETTLED,
            stake=stake,
            win=money_pb2.Money(currency_code="EUR", amount_minor=0),
            outcome_json=self._outcome_json,
            balance_after=balance,
        )
        return Played(played, balance)


class EmptyPlayers:
    """Every token has a session without end."""

    async def session(self, token: str) -> session_pb2.Session:
        """The same for all."""
        return session_pb2.Session(
            session_id="01890000-0000-7000-8000-000000000001",
            operator_id="bench",
            account_id=2,
            state=session_pb2.SESSION_STATE_OPEN,
            expire_time=Timestamp(seconds=2**32),
        )


class EmptyNotices:
    """Nothing happens to anybody."""

    def watch(self, watcher: Watcher) -> None:
        """There is nothing to see."""

    def forget(self, watcher: Watcher) -> None:
        """As before."""


async def _main(port: int, trace_ratio: float) -> None:
    telemetry.setup("edge", ratio=trace_ratio, version=VERSION)
    unused = cast(Any, None)
    rounds = cast(Any, EmptyRounds())
    players, notices = cast(Any, EmptyPlayers()), cast(Any, EmptyNotices())
    door = Door(
        operators=unused,
        players=players,
        rounds=rounds,
        back_office=unused,
        limits=unused,
        explanations=unused,
        client_events=unused,
    )
    # Counted like all others, and never refused.
    limits_of = {name: Limit(name, per_s=10**7, burst=10**7) for name in ("key", "session", "address")}
    rates = Rates(**limits_of, is_key=is_api_key)
    addresses = Addresses("")
    guard = Guard(
        Rest(door).answer,
        operators=unused,
        signatures=unused,
        rates=rates,
        addresses=addresses,
        origins=unused,
        tls=False,
    )
    shared = jsonrpc.Shared(door, notices, rates=rates, addresses=addresses, origins=unused)
    sockets = WebSockets(shared.converse, origins=unused)
    limits = Limits(body_size_bytes_max=65_536)
    server = HttpServer(
        guard.answer,
        host="127.0.0.1",
        port=port,
        drain_grace_ms=1_000,
        limits=limits,
        upgrade=sockets.upgrade,
    )
    await server.run_until(asyncio.Event())


if __name__ == "__main__":
    uvloop.run(_main(int(sys.argv[1]), float(sys.argv[2])))
