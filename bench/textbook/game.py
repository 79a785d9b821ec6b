"""Game: draws the round with the engine of Reelmesh, once per request id."""

import uuid

import uvloop
from reelmesh.game.v1 import game_pb2, game_pb2_grpc
from reelmesh.type.v1 import money_pb2
from reelmesh.wallet.v1 import wallet_pb2
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from bench.textbook.service import serve
from bench.textbook.tables import Round
from services.game.engine import definition, loading, outcome, play, rng

GAMES = loading.load_all(definition.SHIPPED_GAMES)


class GameService(game_pb2_grpc.GameServiceServicer):
    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    async def Play(self, request, context):  # type: ignore[no-untyped-def]
        asked = request.authorization
        request_id = uuid.UUID(asked.request_id)
        async with AsyncSession(self.engine) as db, db.begin():
            query = select(Round).filter_by(account_id=asked.account_id, request_id=request_id)
            round_ = await db.scalar(query)
            if round_ is None:
                stake_minor = asked.stake.amount_minor
                spin = play.spin(GAMES[asked.game_id], bet_minor=stake_minor, draws=rng.Draws())
                round_ = Round(
                    round_id=uuid.uuid4(),
                    account_id=asked.account_id,
                    request_id=request_id,
                    game_id=asked.game_id,
                    stake_minor=stake_minor,
                    win_minor=spin.win_minor,
                    outcome=outcome.encode_outcome(spin.outcome),
                )
                db.add(round_)
            settle = wallet_pb2.SettleRequest(
                round_id=str(round_.round_id),
                account_id=asked.account_id,
                stake=asked.stake,
                win=money_pb2.Money(currency_code="EUR", amount_minor=round_.win_minor),
            )
            answer = game_pb2.PlayResponse(settle=settle, hidden_outcome_json=round_.outcome)
        answer.round.round_id, answer.round.request_id = settle.round_id, asked.request_id
        return answer


if __name__ == "__main__":
    uvloop.run(serve(game_pb2_grpc.add_GameServiceServicer_to_server, GameService))
