"""What nobody waits for is repeated by its channel; what a round waits for, by the round alone (R6)."""

from typing import Any

from reelmesh.game.v1 import game_pb2
from reelmesh.session.v1 import session_pb2

from services.gateway.hops import Hops
from services.gateway.stubs import Stubs


class Peer:
    """A service that answers each batch with as many results; `called` has the methods."""

    def __init__(self) -> None:
        self.called: list[str] = []

    async def BatchFinish(self, request: game_pb2.BatchFinishRequest) -> game_pb2.BatchFinishResponse:
        self.called.append("BatchFinish")
        results = [game_pb2.FinishResult(round=game_pb2.Round()) for _ in request.requests]
        return game_pb2.BatchFinishResponse(results=results)

    async def BatchCountReturns(
        self, request: session_pb2.BatchCountReturnsRequest
    ) -> session_pb2.BatchCountReturnsResponse:
        self.called.append("BatchCountReturns")
        return session_pb2.BatchCountReturnsResponse()


def stubs(peer: Any) -> Stubs:
    return Stubs(session=peer, wallet=peer, game=peer, events=peer)


async def test_what_is_done_later_goes_over_the_channel_that_repeats() -> None:
    once, repeating = Peer(), Peer()
    hops = Hops(stubs(once), later=stubs(repeating), finish_linger_ms=0)
    await hops.finish(game_pb2.FinishRequest())
    hops.finish_later(game_pb2.FinishRequest())
    hops.count_later(session_pb2.RoundReturn(account_id=1))
    await hops.close()
    assert once.called == ["BatchFinish"]
    assert sorted(repeating.called) == ["BatchCountReturns", "BatchFinish"]
