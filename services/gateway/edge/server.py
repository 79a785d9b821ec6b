"""Runs the REST application in the service's own loop; the service, not uvicorn, handles signals."""

import asyncio
import contextlib
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp


class RestServer(uvicorn.Server):
    """A uvicorn server that is told when to stop."""

    def __init__(self, app: ASGIApp, *, host: str, port: int, drain_grace_ms: int) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=max(1, drain_grace_ms // 1000),
                server_header=False,
                # Nothing here asks who is behind the proxy; the header would be looked for in every request.
                proxy_headers=False,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing: SIGTERM belongs to the service's drain (docs/traps.md, 3)."""
        yield

    async def run_until(self, stop: asyncio.Event) -> None:
        """Serves until stop is set, then lets the requests in flight finish."""
        serving = asyncio.create_task(self.serve())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        self.should_exit = True
        stopping.cancel()
        await serving
