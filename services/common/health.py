"""grpc.health.v1 for the admin port."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

WATCH_INTERVAL_S = 1.0
READY_TIMEOUT_S = 1.0


class Health(health_pb2_grpc.HealthServicer):
    """Three names: "startup" (composed), "readiness" (may get calls; "" too), "liveness" (the loop turns)."""

    def __init__(self, ready: Callable[[], Awaitable[bool]], *, end_watches: bool = True) -> None:
        """`ready` asks what the service needs. `end_watches` is off only in the test that shows why."""
        self.started = False
        self.draining = asyncio.Event()
        self._ready = ready
        self._watches_ended = self.draining if end_watches else asyncio.Event()

    def drain(self) -> None:
        """Not ready from now on. Watch streams end: an open one would hold the server for its whole grace."""
        self.draining.set()

    async def Check(self, request: Any, context: Any) -> Any:
        """The status now. Errors: NOT_FOUND for another name."""
        status = await self._status(request.service)
        if status == "SERVICE_UNKNOWN":
            await context.abort(grpc.StatusCode.NOT_FOUND, "the names are startup, readiness and liveness")
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """The status now and at each change (looked at once a second); NOT_SERVING last, at the drain."""
        last = ""
        while not self._watches_ended.is_set():
            status = await self._status(request.service)
            if status != last:
                yield health_pb2.HealthCheckResponse(status=status)
            last = status
            try:
                await asyncio.wait_for(self._watches_ended.wait(), WATCH_INTERVAL_S)
            except TimeoutError:
                pass
        yield health_pb2.HealthCheckResponse(status="NOT_SERVING")

    async def _status(self, name: str) -> str:
        match name:
            case "liveness":
                serving = True
            case "startup":
                serving = self.started
            case "readiness" | "":
                serving = self.started and not self.draining.is_set() and await self._ping()
            case _:
                return "SERVICE_UNKNOWN"
        return "SERVING" if serving else "NOT_SERVING"

    async def _ping(self) -> bool:
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                return await self._ready()
        except Exception:
            return False
