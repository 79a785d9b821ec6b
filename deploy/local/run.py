"""`make run`: the whole mesh on this machine until Ctrl-C."""

import fcntl
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType

import psycopg
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError

from deploy.local import leftovers, reach, seed, settings
from deploy.local.authority import Authority, Folder
from deploy.local.databases import SERVICES
from deploy.local.errors import LocalError
from deploy.local.first_spin import script
from deploy.local.mesh import REPOSITORY, Mesh, Ports
from deploy.local.ports import require_free
from deploy.local.postgres import Cluster
from deploy.local.traces import TraceReceiver
from services.common.migrate import migrate

DIRECTORY = REPOSITORY / ".reelmesh"
API_KEY_PATH = DIRECTORY / "api_key"
POSTGRES_PORT = 7432
TRACES_PORT = 7300
PORTS = {
    "gateway": Ports(grpc=8081, admin=7200, rest=8080),
    "session": Ports(grpc=7101, admin=7201),
    "wallet": Ports(grpc=7102, admin=7202),
    "game": Ports(grpc=7103, admin=7203),
    "events": Ports(grpc=7104, admin=7204),
}
REST_PORT = PORTS["gateway"].rest
TRACES_URL = f"http://127.0.0.1:{TRACES_PORT}"


def run(console: Console, *, tls: bool = False) -> None:
    """Starts everything, waits for a signal, drains and stops everything. Raises LocalError.

    `tls`: all of it over TLS, by an authority that ends with this process.
    """
    authority = Authority() if tls else None
    stop = _stop_on_signals()
    with ExitStack() as stack:
        try:
            DIRECTORY.mkdir(exist_ok=True)
            stack.enter_context(_only_one(DIRECTORY / "lock"))
            mesh = _start(console, stack, stop, authority)
        except OSError as error:
            raise LocalError.from_os(error, DIRECTORY) from error
        if mesh is None:
            return
        _print_ready(console, mesh)
        while not stop.wait(0.2):
            if authority and mesh.tls:
                mesh.tls.renew_when_due(authority)
            for name, code in mesh.ended().items():
                raise LocalError(f"{name} ended ({_meaning(code)}): {mesh.last_words(name)}")
        _say(console, "\nstopping: calls in flight are finished first")


def _start(
    console: Console, stack: ExitStack, stop: threading.Event, authority: Authority | None
) -> Mesh | None:
    """Everything up and ready, each with its end on the stack; None when a signal came meanwhile."""
    settings.refuse_decided(os.environ, tls=authority is not None)
    if left := leftovers.living(DIRECTORY):
        with _step(console, f"waiting for {', '.join(left)} of a killed run to end"):
            leftovers.end(DIRECTORY)
    for name, ports in PORTS.items():
        for kind, port in (("REST", ports.rest), ("gRPC", ports.grpc), ("admin", ports.admin)):
            if port:
                require_free(port, f"{name} {kind}")
    environment = settings.defaults(os.environ)
    if _own_collector() is None:
        require_free(TRACES_PORT, "traces")
        receiver = TraceReceiver(TRACES_PORT)
        receiver.start()
        stack.callback(receiver.stop)
        environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = receiver.endpoint
        environment |= settings.trace_url(os.environ, receiver.endpoint)
    urls, guard_fd = _databases(console, stack)
    for service in SERVICES:
        if stop.is_set():
            return None
        with _step(console, f"migrations of {service}"):
            migrate(service, urls[service])
    with _step(console, f"operator {seed.OPERATOR_ID} with an API key"):
        api_key = seed.development_api_key(API_KEY_PATH)
        seed.seed(urls["gateway"], api_key)
    environment |= settings.demo(os.environ, api_key)
    tls = _certificates(authority)
    mesh = Mesh(DIRECTORY, urls, ports=PORTS, environment=environment, keeps_open=guard_fd, tls=tls)
    stack.callback(mesh.stop, progress=lambda name: _say(console, f"  stopped {name}"))
    with _step(console, "five services"):
        for name in mesh.names:
            mesh.spawn(name)
        for name in mesh.names:
            mesh.wait_ready(name, cancelled=stop.is_set)
    return None if stop.is_set() else mesh


def _certificates(authority: Authority | None) -> Folder | None:
    """New ones for every service, or none: commands tell by the folder how to reach this mesh."""
    certificates = reach.folder(DIRECTORY)
    shutil.rmtree(certificates.path, ignore_errors=True)
    if authority is None:
        return None
    certificates.renew(authority)
    certificates.trust(authority)
    return certificates


def _databases(console: Console, stack: ExitStack) -> tuple[dict[str, str], int | None]:
    """The URL per service: of the environment where it names one, else of the embedded server.

    And what the services keep open so that the embedded server outlives them.
    """
    guard_fd = None
    urls = {service: os.environ.get(f"REELMESH_{service.upper()}_DATABASE_URL", "") for service in SERVICES}
    embedded = tuple(service for service, url in urls.items() if not url)
    if embedded:
        cluster = Cluster(DIRECTORY / "postgres", POSTGRES_PORT)
        with _step(console, f"PostgreSQL on 127.0.0.1:{POSTGRES_PORT}, data in {cluster.directory}"):
            cluster.start()
        stack.callback(_stop_cluster, console, cluster)
        with _step(console, f"databases and roles: {', '.join(embedded)}"):
            urls |= cluster.create_service_databases(embedded)
        guard_fd = cluster.guard_fd
    return urls, guard_fd


def _own_collector() -> str | None:
    """The user's own OTLP endpoint, if the environment names one."""
    names = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def _print_ready(console: Console, mesh: Mesh) -> None:
    api_key = seed.development_api_key(API_KEY_PATH)
    ports = mesh.ports("gateway")
    rows = {
        "page": f"{mesh.rest_url()}/ (play in a browser)",
        "REST": mesh.rest_url(),
        "gRPC": f"127.0.0.1:{ports.grpc} ({'TLS' if mesh.tls else 'plaintext'}, reflection on)",
        "traces": _own_collector() or f"{TRACES_URL}/ (a page: search, waterfall, links both ways)",
        "logs": DIRECTORY / "logs",
        "API key": f"{api_key} (operator {seed.OPERATOR_ID}, development only)",
        "client": settings.launch_url(os.environ) or f"{mesh.rest_url()}/play (the page)",
    }
    if mesh.tls:
        rows["CA"] = f"{mesh.tls.ca_file} (whom clients of REST and gRPC trust, until the next start)"
    console.print()
    for name, value in rows.items():
        console.print(f"{name:<9}{value}", soft_wrap=True)
    console.print("\nFund a player, open a session and play a spin (paste into another terminal):\n")
    # Not through rich: it would wrap long lines and the paste would break.
    ca_file = mesh.tls.ca_file if mesh.tls else None
    print(script(mesh.rest_url(), api_key, ca_file=ca_file), flush=True)
    console.print("Then: make play SPINS=200 PLAYERS=8.  Ctrl-C stops everything; the data is kept.")


def _stop_cluster(console: Console, cluster: Cluster) -> None:
    cluster.stop()
    _say(console, "  stopped PostgreSQL")


def _say(console: Console, text: str) -> None:
    """A closed terminal must not interrupt the drain."""
    with suppress(OSError):
        console.print(text)


@contextmanager
def _step(console: Console, what: str) -> Iterator[None]:
    started = time.monotonic()
    with console.status(what):
        try:
            yield
        except (psycopg.Error, SQLAlchemyError) as error:
            raise LocalError(f"{what}: {str(error).splitlines()[0]}") from error
    console.print(f"  {what} [dim]{time.monotonic() - started:.1f} s[/dim]", soft_wrap=True)


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Two runs on one data directory would fight over its database."""
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise LocalError(f"make run is running here already (process {lock.read().strip()})") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _stop_on_signals() -> threading.Event:
    """Set by Ctrl-C, SIGTERM and a closed terminal; a second signal does not interrupt the drain."""
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handle)
    return stop


def _meaning(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
