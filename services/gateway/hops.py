"""The hops of a round, many rounds at a time: one Batch RPC in flight per (process, method).

What a whole failed batch means for its items is what a failed call would have meant: an item's caller repeats
the same ids. A batch runs under its hop's own deadline and outlives any caller (R12).
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from reelmesh.game.v1 import game_pb2
from reelmesh.session.v1 import session_pb2
from reelmesh.wallet.v1 import wallet_pb2

from services.common.batching import Batcher
from services.common.errors import DomainError, from_proto
from services.gateway.stubs import Stubs

R = TypeVar("R")
# What a loaded hop waits for the players whom the hop before still has.
GATHER_MS = 1


class Hops:
    """Authorize, Play, Settle and Finish as the spin calls them: one item in, its own answer or error out.

    Each item carries its own traceparent. The answer is a future: whoever waits for it may end it when its
    own time is over.
    """

    def __init__(self, stubs: Stubs, *, later: Stubs, finish_linger_ms: int) -> None:
        """`stubs`: what waits repeats by itself. `later`: for what nobody waits for: its channel repeats."""
        self._stubs, self._later = stubs, later
        # One item per account in a batch: a second one would wait inside the service, and the batch with it.
        self._authorize: Batcher[session_pb2.AuthorizeRequest, session_pb2.Authorization] = Batcher(
            "gateway.authorize", self._batch_authorize, key=lambda item: item.token, gather_ms=GATHER_MS
        )
        self._play: Batcher[game_pb2.PlayRequest, game_pb2.PlayResponse] = Batcher(
            "gateway.play",
            self._batch_play,
            key=lambda item: item.authorization.account_id,
            gather_ms=GATHER_MS,
        )
        self._settle: Batcher[wallet_pb2.SettleRequest, wallet_pb2.Settlement] = Batcher(
            "gateway.settle", self._batch_settle, key=lambda item: item.account_id, gather_ms=GATHER_MS
        )
        self._finish: Batcher[game_pb2.FinishRequest, game_pb2.Round] = Batcher(
            "gateway.finish", self._batch_finish
        )
        self._finish_later: Batcher[game_pb2.FinishRequest, game_pb2.Round] = Batcher(
            "gateway.finish_later", self._batch_record, linger_ms=finish_linger_ms
        )
        # One return per account in a batch: they are added to one row.
        self._count_later: Batcher[session_pb2.RoundReturn, None] = Batcher(
            "gateway.count_returns",
            self._batch_count,
            key=lambda item: item.account_id,
            linger_ms=finish_linger_ms,
        )

    def authorize(self, request: session_pb2.AuthorizeRequest) -> asyncio.Future[session_pb2.Authorization]:
        """Errors: as SessionService.Authorize."""
        return self._authorize.put(request)

    def play(self, request: game_pb2.PlayRequest) -> asyncio.Future[game_pb2.PlayResponse]:
        """Errors: as GameService.Play."""
        return self._play.put(request)

    def settle(self, request: wallet_pb2.SettleRequest) -> asyncio.Future[wallet_pb2.Settlement]:
        """Errors: as WalletService.Settle."""
        return self._settle.put(request)

    def finish(self, request: game_pb2.FinishRequest) -> asyncio.Future[game_pb2.Round]:
        """On the hot path. Errors: as GameService.Finish."""
        return self._finish.put(request)

    def finish_later(self, request: game_pb2.FinishRequest) -> None:
        """Off the hot path: lingers until a batch has gathered; nobody waits for the answer."""
        self._finish_later.post(request)

    def count_later(self, one: session_pb2.RoundReturn) -> None:
        """Off the hot path, as finish_later; what is lost session looks for itself (R13)."""
        self._count_later.post(one)

    async def close(self) -> None:
        """Returns when everything submitted is answered."""
        for batcher in (self._authorize, self._play, self._settle, self._finish, self._finish_later):
            await batcher.close()
        await self._count_later.close()

    async def _batch_authorize(
        self, requests: Sequence[session_pb2.AuthorizeRequest]
    ) -> list[session_pb2.Authorization | DomainError]:
        answer = await self._stubs.session.BatchAuthorize(
            session_pb2.BatchAuthorizeRequest(requests=requests)
        )
        return _results(answer.results, lambda result: result.authorization)

    async def _batch_play(
        self, requests: Sequence[game_pb2.PlayRequest]
    ) -> list[game_pb2.PlayResponse | DomainError]:
        answer = await self._stubs.game.BatchPlay(game_pb2.BatchPlayRequest(requests=requests))
        return _results(answer.results, lambda result: result.play)

    async def _batch_settle(
        self, requests: Sequence[wallet_pb2.SettleRequest]
    ) -> list[wallet_pb2.Settlement | DomainError]:
        answer = await self._stubs.wallet.BatchSettle(wallet_pb2.BatchSettleRequest(requests=requests))
        return _results(answer.results, lambda result: result.settlement)

    async def _batch_finish(
        self, requests: Sequence[game_pb2.FinishRequest]
    ) -> list[game_pb2.Round | DomainError]:
        answer = await self._stubs.game.BatchFinish(game_pb2.BatchFinishRequest(requests=requests))
        return _results(answer.results, lambda result: result.round)

    async def _batch_record(
        self, requests: Sequence[game_pb2.FinishRequest]
    ) -> list[game_pb2.Round | DomainError]:
        """As _batch_finish, for rounds that were answered already."""
        request = game_pb2.BatchFinishRequest(requests=requests, omit_rounds=True)
        answer = await self._later.game.BatchFinish(request)
        return _results(answer.results, lambda result: result.round)

    async def _batch_count(self, returns: Sequence[session_pb2.RoundReturn]) -> list[DomainError | None]:
        await self._later.session.BatchCountReturns(session_pb2.BatchCountReturnsRequest(returns=returns))
        return [None] * len(returns)


def _results(results: Any, value: Callable[[Any], R]) -> list[R | DomainError]:
    """Each item's own answer; the Batcher checks that there are as many as items."""
    return [from_proto(result.error) if result.HasField("error") else value(result) for result in results]
