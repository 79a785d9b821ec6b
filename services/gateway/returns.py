"""What a round returned, for the limits that counted its stake (R13). Told only of rounds that have ended."""

from reelmesh.game.v1 import game_pb2
from reelmesh.session.v1 import session_pb2
from reelmesh.wallet.v1 import wallet_pb2

_NOT_TAKEN = {wallet_pb2.SETTLEMENT_STATUS_REFUSED, wallet_pb2.SETTLEMENT_STATUS_VOID}
_GIVEN_BACK = {
    game_pb2.ROUND_STATE_REFUSED,
    game_pb2.ROUND_STATE_VOID,
    game_pb2.ROUND_STATE_REVERSED,
}


def return_of(
    round_: game_pb2.Round, settlement: wallet_pb2.Settlement | None = None
) -> session_pb2.RoundReturn | None:
    """What the round returned; None while it is not over. `settlement`: the wallet's word, if that is newer.

    The wallet has acknowledged before, so nothing hidden is told (R2).
    """
    if round_.state == game_pb2.ROUND_STATE_SETTLED:
        returned_minor = round_.win.amount_minor
    elif round_.state in _GIVEN_BACK or (settlement is not None and settlement.status in _NOT_TAKEN):
        returned_minor = round_.stake.amount_minor
    else:
        return None
    return session_pb2.RoundReturn(
        account_id=round_.account_id,
        request_id=round_.request_id,
        round_id=round_.round_id,
        returned_minor=returned_minor,
        reversed=round_.state == game_pb2.ROUND_STATE_REVERSED,
    )
