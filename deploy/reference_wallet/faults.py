"""A bad network and a bad day, drawn from a seed: what a wallet behind it does to its callers."""

import asyncio
import random
from collections import Counter
from typing import Any

import grpc

# Longer than any caller waits.
LATE_S = 1.2
SLOW_S_MAX = 0.3
# How long a call is held for a later one of its round to pass, at most.
HELD_S_MAX = 2.0
KINDS = ("lost", "late", "duplicate", "reorder", "slow", "5xx")


class Faults:
    """A wallet of which `share` of the calls go wrong; the n-th call of a seed always goes wrong alike."""

    def __init__(self, wallet: Any, *, seed: int, share: float = 0.3) -> None:
        self._wallet, self._share = wallet, share
        self._choose = random.Random(seed)
        self._passing: dict[str, asyncio.Event] = {}
        self._working: set[asyncio.Task[Any]] = set()
        self.done: Counter[str] = Counter()

    async def Stake(self, request: Any, context: Any) -> Any:
        return await self._call("Stake", request, context)

    async def Payout(self, request: Any, context: Any) -> Any:
        return await self._call("Payout", request, context)

    async def Void(self, request: Any, context: Any) -> Any:
        return await self._call("Void", request, context)

    async def Balance(self, request: Any, context: Any) -> Any:
        return await self._wallet.Balance(request, context)

    async def _call(self, rpc: str, request: Any, context: Any) -> Any:
        fault = self._choose.choice(KINDS) if self._choose.random() < self._share else ""
        self.done[fault] += 1
        # Whoever is held lets this one pass.
        if request.round_id in self._passing:
            self._passing[request.round_id].set()
        handle = getattr(self._wallet, rpc)
        if fault == "5xx":
            await context.abort(grpc.StatusCode.INTERNAL, "drawn: failed before it acted")
        if fault == "slow":
            await asyncio.sleep(self._choose.uniform(0, SLOW_S_MAX))
        if fault == "reorder":
            return await self._carried_out(self._held(handle, request, context))
        if fault == "duplicate":
            twin = self._carried_out(handle(request, context))
            answer = await self._carried_out(handle(request, context))
            await twin
            return answer
        answer = await self._carried_out(handle(request, context))
        if fault == "lost":
            await context.abort(grpc.StatusCode.UNAVAILABLE, "drawn: the answer was lost")
        if fault == "late":
            await asyncio.sleep(LATE_S)
        return answer

    async def _held(self, handle: Any, request: Any, context: Any) -> Any:
        """Acts after a later call of the round has been acted on, or much later."""
        passing = self._passing.setdefault(request.round_id, asyncio.Event())
        try:
            async with asyncio.timeout(HELD_S_MAX):
                await passing.wait()
        except TimeoutError:
            pass
        self._passing.pop(request.round_id, None)
        return await handle(request, context)

    def _carried_out(self, work: Any) -> "asyncio.Future[Any]":
        """What has begun is finished, although the caller has gone."""
        task = asyncio.ensure_future(work)
        self._working.add(task)
        task.add_done_callback(self._working.discard)
        # An answer that nobody waits for any more is no error.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return asyncio.shield(task)
