"""Listens for HTTP in the service's own loop, until it is told to stop."""

import asyncio
import contextlib
import os
import socket
import ssl
from email.utils import formatdate

from services.gateway.edge.http import App, Connection, Refuse, Shared, Upgrade
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
        linger_ms: int = 0,
        limits: Limits,
        refuse: Refuse = lambda _: None,
        upgrade: Upgrade = lambda *_: None,
        tls: ssl.SSLContext | None = None,
        leaving: asyncio.Event | None = None,
    ) -> None:
        """`refuse`: asked before the app, for what is answered at once. `upgrade`: for WebSockets.

        `tls`: without it plain HTTP. `leaving`: set when the server is soon to stop. It still answers then,
        and tells each client to connect elsewhere. `linger_ms`: what clients that are connected and have
        nothing under way get to ask for something, once nobody new is let in.
        """
        self._host, self._port, self._drain_grace_s = host, port, drain_grace_ms / 1000
        self._linger_s = linger_ms / 1000
        self._app, self._refuse, self._upgrade = app, refuse, upgrade
        self._limits, self._tls = limits, tls
        self._leaving = leaving or asyncio.Event()
        self._listener: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def listen(self) -> int:
        """Listens and answers; returns the port (0 asks for a free one). Errors: OSError when it is taken."""
        loop = asyncio.get_running_loop()
        self._empty = asyncio.Event()
        self._shared = Shared(
            self._app,
            self._refuse,
            self._limits,
            loop,
            self._leaving,
            upgrade=self._upgrade,
            on_empty=self._empty.set,
        )
        try:
            self._listener = await loop.create_server(
                lambda: Connection(self._shared),
                self._host,
                self._port,
                backlog=_CONNECTIONS_UNACCEPTED_MAX,
                ssl=self._tls,
                ssl_handshake_timeout=self._limits.handshake_timeout_s if self._tls else None,
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
        self._shared.leaving.set()
        await self._let_nobody_in()
        for connection in list(self._shared.connections):
            # A socket's client knows from the close what was not begun; HTTP cannot tell.
            if not isinstance(connection, Connection):
                connection.drain()
        await self._wait_empty(self._linger_s)
        self._shared.stopping = True
        for connection in list(self._shared.connections):
            connection.drain()
        await self._wait_empty(self._drain_grace_s)

    async def _let_nobody_in(self) -> None:
        """Closes the listener; who connected before that is met: the system would reset them with it."""
        assert self._listener is not None
        listener = socket.socket(fileno=os.dup(self._listener.sockets[0].fileno()))
        listener.setblocking(False)
        self._listener.close()
        met: list[socket.socket] = []
        with listener, contextlib.suppress(BlockingIOError):
            while len(met) < _CONNECTIONS_UNACCEPTED_MAX:
                met.append(listener.accept()[0])
        await asyncio.gather(*map(self._meet, met), return_exceptions=True)

    async def _meet(self, client: socket.socket) -> None:
        client.setblocking(False)
        await self._shared.loop.connect_accepted_socket(
            lambda: Connection(self._shared),
            client,
            ssl=self._tls,
            ssl_handshake_timeout=self._limits.handshake_timeout_s if self._tls else None,
        )

    async def _wait_empty(self, seconds: float) -> None:
        """Until nobody is connected, `seconds` at most."""
        if self._shared.connections:
            self._empty.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), seconds)

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
