"""The services as a Deployment runs them: replicas with an address each, the same ports, found by name."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from deploy.local.databases import SERVICES
from deploy.local.guard import Guard
from deploy.local.mesh import REPOSITORY
from deploy.local.ports import free_ports
from deploy.local.settings import KEYS
from tests.rollout.names import Names
from tests.waiting import until

READY_SECONDS_MAX = 60.0
# Of a manifest: terminationGracePeriodSeconds, after which the process would be killed.
STOP_SECONDS_MAX = 45.0
# 127.0.0.1 is everybody's.
_FIRST_ADDRESS = 2


@dataclass(frozen=True, slots=True)
class Ports:
    """The same for every replica of a service. `rest` is 0 for every service but the gateway."""

    grpc: int
    admin: int
    rest: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Replica:
    """One process."""

    name: str
    service: str
    address: str
    process: subprocess.Popen[bytes]
    log_path: Path


class Fleet:
    """Starts and ends replicas; `names` says which of them are found."""

    def __init__(
        self,
        directory: Path,
        database_urls: Mapping[str, str],
        names: Names,
        *,
        keys: Mapping[str, str],
        environment: Mapping[str, str],
    ) -> None:
        """`directory` takes the logs; `keys`: by the name of their setting."""
        require_addresses()
        self.names, self.database_urls, self.keys = names, dict(database_urls), dict(keys)
        self._directory, self._environment = directory, dict(environment)
        self.ports = {service: Ports(*free_ports(3 if service == "gateway" else 2)) for service in SERVICES}
        self.replicas: list[Replica] = []
        self._started = 0
        self._guard = Guard()

    def target(self, service: str) -> str:
        """gRPC target of a service."""
        return self.names.target(service, self.ports[service].grpc)

    def of(self, service: str) -> list[Replica]:
        """The running replicas of a service, oldest first."""
        return [replica for replica in self.replicas if replica.service == service]

    async def start(self, service: str, *, tree: Path = REPOSITORY) -> Replica:
        """A further replica, ready and found. `tree`: the source that it runs.

        Errors: AssertionError with the last line of its log when it ends, TimeoutError
        """
        replica = self._spawn(service, tree)

        async def ready() -> bool:
            assert replica.process.poll() is None, f"{replica.name} ended: {_last_line(replica)}"
            return await self._serving(replica)

        await until(ready, seconds_max=READY_SECONDS_MAX)
        self.names.publish(service, replica.address)
        return replica

    async def stop(self, replica: Replica, *, notice_s: float, blind_s: float = 0.0) -> float:
        """Ends a replica as a deleted pod does; returns how many seconds it took. The exit code must be 0.

        `notice_s`: from its leaving the names to SIGTERM, as preStop sleeps. `blind_s`: how long it is found
        after SIGTERM, as where nothing sleeps and the news is late; then `notice_s` is 0.
        """
        start_s = time.monotonic()
        if not blind_s:
            self.names.withdraw(replica.service, replica.address)
            await asyncio.sleep(notice_s)
        replica.process.send_signal(signal.SIGTERM)
        if blind_s:
            await asyncio.sleep(blind_s)
            self.names.withdraw(replica.service, replica.address)
        await until(lambda: replica.process.poll() is not None, seconds_max=STOP_SECONDS_MAX)
        assert replica.process.returncode == 0, f"{replica.name} ended with {replica.process.returncode}"
        self.replicas.remove(replica)
        self._watch()
        return time.monotonic() - start_s

    def close(self) -> None:
        """Kills what still runs."""
        for replica in self.replicas:
            replica.process.kill()
            replica.process.wait()
        self.replicas.clear()
        self._guard.close()

    def _spawn(self, service: str, tree: Path) -> Replica:
        address = f"127.0.0.{_FIRST_ADDRESS + self._started}"
        self._started += 1
        name = f"{service}-{self._started}"
        log_path = self._directory / f"{name}.log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"services.{service}"],
                cwd=tree,
                env=self._process_environment(service, name, address, tree),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        replica = Replica(name, service, address, process, log_path)
        self.replicas.append(replica)
        self._watch()
        return replica

    def _process_environment(self, service: str, name: str, address: str, tree: Path) -> dict[str, str]:
        ports = self.ports[service]
        own = {
            "host": address,
            "instance": name,
            "grpc_port": str(ports.grpc),
            "admin_port": str(ports.admin),
            "database_url": self.database_urls[service],
        }
        if ports.rest:
            own["rest_port"] = str(ports.rest)
        own |= {key: self.keys[key] for key, services in KEYS.items() if service in services}
        own |= {f"{peer}_target": self.target(peer) for peer in SERVICES if peer != service}
        settings = {f"REELMESH_{service}_{key}".upper(): value for key, value in own.items()}
        python_path = os.pathsep.join((str(tree), str(tree / "gen")))
        # As a manifest names the pod: so that it is known whose a span is.
        who = {"OTEL_RESOURCE_ATTRIBUTES": f"service.instance.id={name}"}
        return {**os.environ, "PYTHONPATH": python_path, **who, **self._environment, **settings}

    async def _serving(self, replica: Replica) -> bool:
        """Readiness as the kubelet asks for it."""
        address = f"{replica.address}:{self.ports[replica.service].admin}"
        async with grpc.aio.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
            check = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            try:
                answer = await check(health_pb2.HealthCheckRequest(service="readiness"), timeout=2.0)
            except grpc.aio.AioRpcError:
                return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def _watch(self) -> None:
        """They end with us, whatever happens to us."""
        self._guard.watch(replica.process.pid for replica in self.replicas)


def require_addresses() -> None:
    """Skips where only 127.0.0.1 is an address of this machine, as on macOS."""
    with socket.socket() as probe:
        try:
            probe.bind((f"127.0.0.{_FIRST_ADDRESS}", 0))
        except OSError:
            pytest.skip(f"needs the loopback address 127.0.0.{_FIRST_ADDRESS} and those after it")


def _last_line(replica: Replica) -> str:
    lines = replica.log_path.read_text(errors="replace").splitlines()
    return lines[-1] if lines else "no message"
