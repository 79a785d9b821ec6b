"""Listens for HTTP in the service's own loop, until it is told to stop."""

import asyncio
import contextlib
from email.utils import formatdate

from services.gateway.edge.http import App, Connection, Refuse, Shared
from services.gateway.edge.reading import Limits

_CONNECTIONS_UNACCEPTED_MAX = 2_048


class HttpServer:
    """Answers with what the app returns. One timer looks after all its connections."""

    def __init__(
        self,
        app: App,
        *,
        host: str,
        port: int,
        drain_grace_ms: int,
        limits: Limits,
        refuse: Refuse = lambda _: None,
    ) -> None:
        """`refuse`: asked before the app, for what is answered at once."""
        self._host, self._port, self._drain_grace_s = host, port, drain_grace_ms / 1000
        self._app, self._refuse, self._limits = app, refuse, limits
        self._listener: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def listen(self) -> int:
        """Listens and answers; returns the port (0 asks for a free one). Errors: OSError when it is taken."""
        loop = asyncio.get_running_loop()
        self._empty = asyncio.Event()
        self._shared = Shared(self._app, self._refuse, self._limits, loop, on_empty=self._empty.set)
        try:
            self._listener = await loop.create_server(
                lambda: Connection(self._shared), self._host, self._port, backlog=_CONNECTIONS_UNACCEPTED_MAX
            )
        except OSError:
            raise OSError(f"cannot listen on {self._host}:{self._port}; is the port taken?") from None
        self._sweep()
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    async def run_until(self, stop: asyncio.Event) -> None:
        """Serves until stop is set, then lets the requests in flight finish."""
        if self._listener is None:
            await self.listen()
        try:
            await stop.wait()
            await self._drain()
        finally:
            self._close()

    async def _drain(self) -> None:
        assert self._listener is not None
        self._listener.close()
        self._shared.stopping = True
        for connection in list(self._shared.connections):
            connection.drain()
        if self._shared.connections:
            self._empty.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), self._drain_grace_s)

    def _close(self) -> None:
        """At once. What is under way goes on, and nobody hears of it."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._timer is not None:
            self._timer.cancel()
        for connection in list(self._shared.connections):
            connection.abort()

    def _sweep(self) -> None:
        """The date of the replies, and whose time is over."""
        shared = self._shared
        shared.date = f"date: {formatdate(usegmt=True)}\r\n"
        now_s = shared.loop.time()
        for connection in list(shared.connections):
            if connection.deadline_s <= now_s:
                connection.expire()
        self._timer = shared.loop.call_later(self._limits.sweep_interval_s, self._sweep)
