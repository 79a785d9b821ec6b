"""The gateway's own edge with an empty mesh behind it: python -m bench.edge PORT TRACE_RATIO. A floor."""

import asyncio
import sys
from typing import Any, cast

import uvloop
from reelmesh.game.v1 import game_pb2
from reelmesh.type.v1 import money_pb2

from services.common import VERSION, telemetry
from services.game.engine import definition, outcome, play, rng
from services.gateway.edge.reading import Limits
from services.gateway.edge.rest import Rest
from services.gateway.edge.server import HttpServer
from services.gateway.rounds import Played


class EmptyRounds:
    """Answers every spin at once with the same drawn round."""

    def __init__(self) -> None:
        game = definition.load_all(definition.SHIPPED_GAMES)["harbour-lights"]
        spin = play.spin(game, stake_minor=100, draws=rng.Draws())
        self._outcome_json = outcome.encode_outcome(spin.outcome)

    def require_room(self) -> None:
        """There always is."""

    async def spin(self, token: str, request_id: str, stake: money_pb2.Money) -> Played:
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


async def _main(port: int, trace_ratio: float) -> None:
    telemetry.setup("edge", ratio=trace_ratio, version=VERSION)
    unused = cast(Any, None)
    rounds = cast(Any, EmptyRounds())
    rest = Rest(operators=unused, players=unused, rounds=rounds)
    limits = Limits(body_size_bytes_max=65_536)
    server = HttpServer(rest.answer, host="127.0.0.1", port=port, drain_grace_ms=1_000, limits=limits)
    await server.run_until(asyncio.Event())


if __name__ == "__main__":
    uvloop.run(_main(int(sys.argv[1]), float(sys.argv[2])))
