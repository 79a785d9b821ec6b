"""The five services as processes of this machine: ports, keys, environment, logs, health, drain and kill."""

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2

from deploy.local import leftovers
from deploy.local.authority import Folder
from deploy.local.databases import SERVICES
from deploy.local.errors import LocalError
from deploy.local.guard import Guard
from deploy.local.ports import free_ports
from deploy.local.settings import KEYS

REPOSITORY = Path(__file__).resolve().parents[2]
READY_SECONDS_MAX = 60.0
# Longer than the drain of a service: wait, grace and flush.
STOP_SECONDS_MAX = 30.0


@dataclass(frozen=True, slots=True)
class Ports:
    """Where one process listens. `rest` is 0 for every service but the gateway."""

    grpc: int
    admin: int
    rest: int = 0


@dataclass(slots=True)
class _Replica:
    """One process of a service; `name` is the service, or the service with -2, -3 for further ones."""

    name: str
    service: str
    ports: Ports
    log_path: Path
    process: subprocess.Popen[bytes] | None = None
    environment: dict[str, str] = field(default_factory=dict)


class Mesh:
    """Starts, stops and kills the services. A process is named "wallet", or "gateway-2" for a second one."""

    def __init__(
        self,
        directory: Path,
        database_urls: Mapping[str, str],
        *,
        ports: Mapping[str, Ports] | None = None,
        replicas: Mapping[str, int] | None = None,
        environment: Mapping[str, str] | None = None,
        keeps_open: int | None = None,
        tls: Folder | None = None,
        public_tls: bool = True,
    ) -> None:
        """`directory` takes keys and logs; `ports` by process name, free ones where it names none;
        `environment` is added to that of every process; `keeps_open` is a file that each of them inherits.

        `tls`: certificates, of which each service is told its own: they call each other over mutual TLS, and
        the gateway serves REST and gRPC over TLS; REST only with `public_tls`.
        """
        self.directory = directory
        self._inherited = () if keeps_open is None else (keeps_open,)
        self.database_urls = dict(database_urls)
        self._environment = dict(environment or {})
        self.tls, self._public_tls = tls, public_tls
        (directory / "logs").mkdir(parents=True, exist_ok=True)
        self._keys = _load_keys(directory / "keys.json")
        self._replicas: dict[str, _Replica] = {}
        for service in SERVICES:
            for number in range(1, (replicas or {}).get(service, 1) + 1):
                name = service if number == 1 else f"{service}-{number}"
                own = (ports or {}).get(name) or _free(service)
                self._replicas[name] = _Replica(name, service, own, directory / "logs" / f"{name}.log")
        for replica in self._replicas.values():
            replica.log_path.write_bytes(b"")
        self._guard: Guard | None = None
        # A test starts and kills several processes at once, from threads.
        self._watching = threading.Lock()

    @property
    def names(self) -> list[str]:
        """The names of all processes, running or not."""
        return list(self._replicas)

    def ports(self, name: str) -> Ports:
        """Where the process listens."""
        return self._replicas[name].ports

    def key(self, name: str) -> str:
        """A key that its services share, by the name of its setting."""
        return self._keys[name]

    def target(self, service: str) -> str:
        """gRPC target of a service: all its replicas."""
        addresses = [
            f"127.0.0.1:{one.ports.grpc}" for one in self._replicas.values() if one.service == service
        ]
        return f"dns:///{addresses[0]}" if len(addresses) == 1 else f"ipv4:{','.join(addresses)}"

    def rest_url(self, name: str = "gateway") -> str:
        """Base URL of a gateway's REST API."""
        scheme = "https" if self.tls and self._public_tls else "http"
        return f"{scheme}://127.0.0.1:{self._replicas[name].ports.rest}"

    def log(self, name: str) -> str:
        """What the process wrote since this mesh was made."""
        return self._replicas[name].log_path.read_text(errors="replace")

    def start(self, *names: str, environment: Mapping[str, str] | None = None) -> None:
        """Starts the named processes (default all) and waits until they are ready; raises LocalError.

        `environment` is for this start only, e.g. {"REELMESH_FAIL": "before_commit@settle"}.
        """
        chosen = names or tuple(self._replicas)
        for name in chosen:
            self.spawn(name, environment=environment)
        for name in chosen:
            self.wait_ready(name)

    def spawn(self, name: str, *, environment: Mapping[str, str] | None = None) -> None:
        """Starts one process without waiting for it."""
        replica = self._replicas[name]
        if replica.process is not None and replica.process.poll() is None:
            raise LocalError(f"{name} runs already")
        with replica.log_path.open("ab") as log:
            replica.process = subprocess.Popen(
                [sys.executable, "-m", f"services.{replica.service}"],
                cwd=REPOSITORY,
                env=self._process_environment(replica) | dict(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C is for the runner, which then drains the services in order.
                start_new_session=True,
                pass_fds=self._inherited,
            )
        self._watch()

    def wait_ready(
        self,
        name: str,
        *,
        health: str = "readiness",
        timeout_s: float = READY_SECONDS_MAX,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """Waits until the process reports SERVING under that health name; raises LocalError with its log.

        Returns early once `cancelled()` is true.
        """
        replica = self._replicas[name]
        deadline = time.monotonic() + timeout_s
        while not cancelled() and not self.serving(name, health=health):
            if not self.running(name):
                raise LocalError(f"{name} ended while starting: {self.last_words(name)}")
            if time.monotonic() > deadline:
                raise LocalError(f"{name} not ready in {timeout_s:.0f} s (log: {replica.log_path})")
            time.sleep(0.05)

    def serving(self, name: str, *, health: str = "readiness") -> bool:
        """One health check through the admin port: "startup", "readiness" or "liveness"."""
        address = f"127.0.0.1:{self._replicas[name].ports.admin}"
        # The environment's HTTP proxy is not for this machine's own ports.
        with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
            check = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            try:
                answer = check(health_pb2.HealthCheckRequest(service=health), timeout=2.0)
            except grpc.RpcError:
                return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def running(self, name: str) -> bool:
        """True while the process lives."""
        process = self._replicas[name].process
        return process is not None and process.poll() is None

    def pid(self, name: str) -> int:
        """The id of the started process."""
        return self._started(name).pid

    def ended(self) -> dict[str, int]:
        """Exit codes of the processes that were started, not stopped by us, and are gone; -9 = killed."""
        codes = {one.name: one.process.poll() for one in self._replicas.values() if one.process is not None}
        return {name: code for name, code in codes.items() if code is not None}

    def wait_ended(self, name: str, *, timeout_s: float = 20.0) -> int:
        """Waits for a process that ends by itself (a failpoint): its exit code; raises LocalError."""
        try:
            return self._started(name).wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise LocalError(f"{name} still runs after {timeout_s:.0f} s") from None

    def signal(self, name: str, number: signal.Signals) -> None:
        """Sends a signal, e.g. SIGSTOP and SIGCONT."""
        self._started(name).send_signal(number)

    def kill(self, *names: str) -> None:
        """kill -9 of the named processes (default all)."""
        for name in names or tuple(self._replicas):
            process = self._replicas[name].process
            if process is not None:
                process.kill()
                process.wait()
                self._replicas[name].process = None
        self._watch()

    def stop(self, *names: str, progress: Callable[[str], None] = lambda name: None) -> dict[str, int]:
        """SIGTERM and wait: gateways first, since the spins that they finish need the others.

        Default all. Returns exit codes (0 = drained); a process that does not end in time is killed: -9.
        `progress` is called with the name of each process that ended.
        """
        chosen = [self._replicas[name] for name in names or tuple(self._replicas)]
        codes: dict[str, int] = {}
        for stage in (True, False):
            processes = {
                one.name: one.process
                for one in chosen
                if one.process is not None and (one.service == "gateway") is stage
            }
            for process in processes.values():
                process.terminate()
            for name, process in processes.items():
                try:
                    codes[name] = process.wait(STOP_SECONDS_MAX)
                except subprocess.TimeoutExpired:
                    process.kill()
                    codes[name] = process.wait()
                self._replicas[name].process = None
                progress(name)
        self._watch()
        return codes

    def restart(self, name: str, *, environment: Mapping[str, str] | None = None) -> None:
        """Stops the process if it runs, and starts it again with the given extra environment."""
        self.stop(name)
        self.start(name, environment=environment)

    def last_words(self, name: str) -> str:
        """The message of the last line of the process's log, and where that is."""
        lines = [line for line in self.log(name).splitlines() if line.strip()]
        text = lines[-1] if lines else "no message"
        with suppress(ValueError, KeyError, TypeError):
            text = json.loads(text)["message"]
        return f"{text} (log: {self._replicas[name].log_path})"

    def _started(self, name: str) -> subprocess.Popen[bytes]:
        process = self._replicas[name].process
        if process is None:
            raise LocalError(f"{name} was not started")
        return process

    def _process_environment(self, replica: _Replica) -> dict[str, str]:
        own = {
            "instance": replica.name,
            "grpc_port": str(replica.ports.grpc),
            "admin_port": str(replica.ports.admin),
            "database_url": self.database_urls[replica.service],
        }
        if replica.ports.rest:
            own["rest_port"] = str(replica.ports.rest)
        own |= {key: self._keys[key] for key, services in KEYS.items() if replica.service in services}
        if self.tls:
            own |= self._tls_settings(
                self.tls.of(replica.service), edge=self._public_tls and bool(replica.ports.rest)
            )
        own |= {
            f"{peer}_target": self.target(peer)
            for peer in SERVICES
            if peer not in ("gateway", replica.service)
        }
        prefix = f"REELMESH_{replica.service}_".upper()
        settings = {prefix + name.upper(): value for name, value in own.items()}
        python_path = os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "gen")))
        # The shared name of the setting, so that the environment's own wins by either name.
        defaults = {"REELMESH_LAUNCH_URL": f"{self.rest_url()}/play"}
        return {**defaults, **os.environ, "PYTHONPATH": python_path, **settings, **self._environment}

    def _tls_settings(self, directory: Path, *, edge: bool) -> dict[str, str]:
        shown = {"tls_cert_path": str(directory / "tls.crt"), "tls_key_path": str(directory / "tls.key")}
        # Nothing is signed with a key that everybody has.
        return {"tls_path": str(directory), "identity_key": "", **(shown if edge else {})}

    def _watch(self) -> None:
        """The processes end with us, whatever happens to us; the guard itself ends when there are none."""
        with self._watching:
            running = {
                one.name: one.process.pid for one in self._replicas.values() if one.process is not None
            }
            leftovers.record(self.directory, running)
            if running and self._guard is None:
                self._guard = Guard()
            if self._guard is not None:
                self._guard.watch(running.values())
                if not running:
                    self._guard.close()
                    self._guard = None


def _free(service: str) -> Ports:
    return Ports(*free_ports(3 if service == "gateway" else 2))


def _load_keys(path: Path) -> dict[str, str]:
    """Keys of this directory, made at the first use: a restarted mesh must know the seals it gave out."""
    keys: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    missing = [name for name in KEYS if name not in keys]
    if missing:
        keys |= {name: secrets.token_hex(32) for name in missing}
        path.touch(mode=0o600)
        path.write_text(json.dumps(keys, indent=1))
    return keys
