"""One way to start a service, and one way to end it: `run` composes, serves, drains on SIGTERM, exits 0."""

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, Generic, NoReturn, Protocol, TypeVar

import grpc
import uvloop
from opentelemetry.metrics import Meter
from sqlalchemy import text

from services.common import VERSION, currencies, db, identity, telemetry
from services.common.client import GuardedChannel
from services.common.config import C, load
from services.common.health import Health
from services.common.server import CallInterceptor, Server
from services.mtls.certificates import Certificates
from services.mtls.channel import Mtls

logger = logging.getLogger(__name__)

S = TypeVar("S")
RESTART_WAIT_S = 1.0
# At the least, for background work. Requests over HTTP are such: they get what calls leave of their grace.
BACKGROUND_GRACE_S = 5.0
# What the steps after that get in all; then the process ends itself, before its orchestrator does.
EXIT_RESERVE_S = 15.0
# Requests make many objects and few cycles: at Python's 700 the collector took a fifth of the time.
GC_ALLOCATIONS = 50_000


class Observed(Protocol):
    """What has metrics to show."""

    def observe_with(self, meter: Meter) -> None: ...


class Runtime(Generic[C]):
    """What a composition root gets: settings, the engine, its peers' stubs, and where to register parts."""

    def __init__(self, service: str, config: C) -> None:
        """Opens no connection yet. Made on the loop that serves."""
        self.service, self.config = service, config
        self.telemetry = telemetry.setup(
            service, ratio=config.trace_ratio, version=VERSION, log_format=config.log_format
        )
        self.engine = db.create_engine(
            config.database_url, pool_size=config.database_pool_size, application_name=service
        )
        # Beside a pooler: what the relay uses. Otherwise one and the same.
        self.direct_engine = self.engine
        if config.database_direct_url:
            self.direct_engine = db.create_engine(
                config.database_direct_url, pool_size=1, application_name=service
            )
        self._schema_version = db.schema_version(service)
        health = Health(self._ready)
        self.certificates = Certificates(config.tls_path, service=service) if config.tls_path else None
        interceptor = CallInterceptor(config.identity_key, mtls=self.certificates is not None)
        self._server = Server(service, interceptor, health, connection_age_ms=config.connection_age_ms)
        self._channels: dict[tuple[str, bool], GuardedChannel] = {}
        self._background: list[asyncio.Task[None]] = []
        self._drains: list[Callable[[], Awaitable[None]]] = []
        self._stop = asyncio.Event()
        if self.certificates:
            # Who calls a public method shows a key or a token there, and no certificate.
            internal = any(
                identity.PUBLIC not in one.callers for one in identity.call_graph()[service].methods.values()
            )
            self.serve_tls(self.certificates.server_credentials(require_client=internal))
            self.background("mtls", self.certificates.watch)
            self.observe(self.certificates)

    def stub(self, service: str, stub_type: Callable[[grpc.aio.Channel], S], *, retry: bool = True) -> S:
        """A peer's stub, e.g. `stub("wallet", wallet_pb2_grpc.WalletServiceStub)`. Exits without a target.

        `retry` is off for a caller that repeats by itself: at one layer only (docs/traps.md, 11).
        """
        if (service, retry) not in self._channels:
            target = getattr(self.config, f"{service}_target")
            if not target:
                sys.exit(f"configuration: REELMESH_{service.upper()}_TARGET is not set")
            self._channels[service, retry] = GuardedChannel(
                target,
                caller=self.service,
                identity_key=self.config.identity_key,
                instance=self.config.instance,
                mtls=Mtls(self.certificates, service) if self.certificates else None,
                retry=retry,
            )
        return self._channels[service, retry].stub(stub_type)

    @property
    def draining(self) -> asyncio.Event:
        """Set when the process is about to end: streams of answers end by themselves then, UNAVAILABLE."""
        return self._server.health.draining

    def serve(self, add_to_server: Callable[[Any, grpc.aio.Server], None], servicer: object) -> None:
        """Registers a servicer by its generated add_..._to_server."""
        add_to_server(servicer, self._server.rpc)

    def serve_tls(self, credentials: grpc.ServerCredentials) -> None:
        """The RPCs over TLS only. The admin port stays plaintext."""
        self._server.credentials = credentials

    def background(self, name: str, run: Callable[[asyncio.Event], Awaitable[None]]) -> None:
        """Runs `run(stop)` until `stop` is set; a crash is logged and it starts again after 1 s."""
        self._background.append(asyncio.create_task(self._repeat(name, run), name=name))

    def observe(self, *parts: Observed) -> bool:
        """Registers what parts show; False where there is nobody to take it."""
        provider = self.telemetry.meter_provider
        if provider is None:
            return False
        for part in parts:
            part.observe_with(provider.get_meter("reelmesh"))
        return True

    def on_drain(self, stop: Callable[[], Awaitable[None]]) -> None:
        """Awaited when calls and background work have ended, before channels close; last in, first out."""
        self._drains.append(stop)

    async def start(self) -> None:
        """Listens and is ready. Errors: OSError when a port is taken."""
        config = self.config
        await self._server.start(host=config.host, grpc_port=config.grpc_port, admin_port=config.admin_port)
        self._server.health.started = True
        logger.info("%s serves on %s:%d", self.service, config.host, config.grpc_port)

    async def drain(self) -> None:
        """Ends everything, callers first, telemetry last (docs/traps.md, 3)."""
        wait_s, grace_s = self.config.drain_wait_ms / 1000, self.config.drain_grace_ms / 1000
        hard_exit = threading.Timer(wait_s + grace_s + EXIT_RESERVE_S, os._exit, (1,))
        hard_exit.daemon = True
        hard_exit.start()
        logger.info("drain: not ready")
        end_s = time.monotonic() + wait_s + grace_s
        await self._server.drain(wait_s=wait_s, grace_s=grace_s)
        logger.info("drain: calls ended")
        self._stop.set()
        if self._background:
            left_s = max(BACKGROUND_GRACE_S, end_s - time.monotonic())
            _, late = await asyncio.wait(self._background, timeout=left_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        logger.info("drain: background ended")
        for stop in reversed(self._drains):
            await _logged("drain", stop)
        for channel in self._channels.values():
            await channel.close()
        await self.engine.dispose()
        await self.direct_engine.dispose()
        logger.info("drain: engine disposed")
        await self._server.close()
        self.telemetry.shutdown()

    async def _ready(self) -> bool:
        async with self.engine.connect() as connection:
            version = (await connection.execute(text("select version_num from alembic_version"))).scalar_one()
        # A newer schema is fine: migrations only add, and the version before keeps working on it.
        return bool(version >= self._schema_version)

    async def _repeat(self, name: str, run: Callable[[asyncio.Event], Awaitable[None]]) -> None:
        while not await _logged(name, lambda: run(self._stop)) and not self._stop.is_set():
            try:
                await asyncio.wait_for(self._stop.wait(), RESTART_WAIT_S)
            except TimeoutError:
                pass


def run(service: str, config_type: type[C], compose: Callable[[Runtime[C]], Awaitable[None]]) -> NoReturn:
    """Runs the service until SIGTERM or SIGINT, drains, exits 0; with one line and 1 when it cannot start."""
    config = load(config_type, service=service)
    if config.currencies_path:
        currencies.register(config.currencies_path)
    try:
        uvloop.run(_run(service, config, compose))
    except OSError as problem:
        sys.exit(f"{service}: {problem}")
    sys.exit(0)


async def _run(service: str, config: C, compose: Callable[[Runtime[C]], Awaitable[None]]) -> None:
    stop = asyncio.Event()
    # Not wait_for_termination: a signal would end the process there with nothing cleaned up.
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runtime = Runtime(service, config)
    await compose(runtime)
    await runtime.start()
    _tune_collector()
    await stop.wait()
    await runtime.drain()


def _tune_collector() -> None:
    """What start-up made stays until the end and is not looked through again; the rest is seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS)


async def _logged(name: str, run: Callable[[], Awaitable[None]]) -> bool:
    """Whether it returned; an exception is logged, so that one failure does not stop what comes after."""
    try:
        await run()
    except Exception:
        logger.exception("%s failed", name)
        return False
    return True
