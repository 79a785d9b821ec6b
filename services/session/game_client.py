"""Game over the wire: recount.Rounds, spoken in the contract. Of a hidden outcome nothing is read (R2)."""

from typing import TYPE_CHECKING

from reelmesh.game.v1 import game_pb2
from reelmesh.session.v1 import session_pb2
from reelmesh.type.v1 import account_kind_pb2, money_pb2

from services.common.errors import DomainError
from services.common.times import timestamp
from services.session.counts_store import Return, Uncounted

if TYPE_CHECKING:  # the name exists in the type stubs only
    from reelmesh.game.v1.game_pb2_grpc import GameServiceAsyncStub

# The stake was not taken, or given back.
_GIVEN_BACK = {
    game_pb2.ROUND_STATE_REFUSED,
    game_pb2.ROUND_STATE_VOID,
    game_pb2.ROUND_STATE_REVERSED,
}


class GameClient:
    """One per process."""

    def __init__(self, stub: "GameServiceAsyncStub") -> None:
        self._stub = stub

    async def find_return(self, spin: Uncounted) -> Return | None:
        """What the spin's round returned; None while it has not ended."""
        get = game_pb2.GetRoundRequest(account_id=spin.account_id, request_id=spin.request_id)
        try:
            round_ = (await self._stub.GetRound(get)).round
        except DomainError as error:
            if error.reason != "ROUND_NOT_FOUND":
                raise
            # Nobody played it. Played now, with nothing to draw, it is void for good: no late twin of it can
            # take a stake that was given back here.
            play = game_pb2.PlayRequest(authorization=_unmintable(spin))
            round_ = (await self._stub.Play(play)).round
        if round_.state == game_pb2.ROUND_STATE_SETTLED:
            returned_minor = round_.win.amount_minor
        elif round_.state in _GIVEN_BACK:
            returned_minor = spin.stake_minor
        else:
            return None
        reversed_ = round_.state == game_pb2.ROUND_STATE_REVERSED
        return Return(spin.account_id, spin.request_id, round_.round_id, returned_minor, reversed_)


def _unmintable(spin: Uncounted) -> session_pb2.Authorization:
    return session_pb2.Authorization(
        request_id=spin.request_id,
        account_id=spin.account_id,
        session_id=spin.session_id,
        operator_id=spin.operator_id,
        player_id=spin.player_id,
        kind=account_kind_pb2.AccountKind.ValueType(spin.kind),
        game_id=spin.game_id,
        stake=money_pb2.Money(currency_code=spin.currency_code, amount_minor=spin.stake_minor),
        mint=False,
        authorize_time=timestamp(spin.authorize_time),
        mode=spin.mode,
    )
