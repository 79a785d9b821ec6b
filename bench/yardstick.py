"""Runs the textbook mesh: four processes, a database per service on a server of its own."""

import os
import secrets
import subprocess
import sys
import time
import uuid
from hashlib import sha256
from pathlib import Path

from sqlalchemy import create_engine

from bench.errors import BenchError
from bench.figures import TEXTBOOK, Books
from bench.reelmesh import DEPOSIT_MINOR, GAME_ID, TRACE_RATIO
from bench.servers import PostgresServer, value
from bench.textbook.tables import Base
from deploy.local.guard import Guard
from deploy.local.mesh import REPOSITORY
from deploy.local.ports import free_ports, port_is_free

PACKAGES = REPOSITORY / ".venv" / "bench"
_SERVICES = ("session", "game", "wallet")
_READY_SECONDS_MAX = 30.0


class Textbook:
    """The mesh that Reelmesh is compared with."""

    name = TEXTBOOK

    def __init__(self, directory: Path, *, collector_url: str) -> None:
        self.postgres = PostgresServer(directory / "textbook-postgres")
        self._log_path = directory / "textbook.log"
        self._collector_url = collector_url
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._guard: Guard | None = None
        self.port = 0
        self.tokens: list[str] = []
        self.acknowledged = self.unknown = 0

    def start(self, players: int) -> None:
        """Everything up, and so many funded players with a session each."""
        self.postgres.start()
        server = self.postgres.server
        urls = {}
        for service in _SERVICES:
            server.create_role(service)
            urls[service] = server.create_database(service, f"textbook_{service}")
        _create_tables(urls)
        self._session, self._game, self._wallet = (
            self.postgres.reader(f"textbook_{service}") for service in ("session", "game", "wallet")
        )
        self.tokens = [secrets.token_urlsafe(32) for _ in range(players)]
        self._insert_players()
        ports = dict(zip((*_SERVICES, "gateway"), free_ports(len(_SERVICES) + 1), strict=True))
        self.port = ports["gateway"]
        targets = {f"TEXTBOOK_{name.upper()}_TARGET": f"127.0.0.1:{ports[name]}" for name in _SERVICES}
        self._guard = Guard("KILL")
        for service, port in ports.items():
            own = {"TEXTBOOK_PORT": str(port), "TEXTBOOK_DATABASE_URL": urls.get(service, "")}
            self._spawn(service, own | targets)
        for service, port in ports.items():
            self._wait_listening(service, port)

    def stop(self) -> None:
        """Kills the processes; nothing of them is kept."""
        for process in self._processes.values():
            process.kill()
            process.wait()
        if self._guard is not None:
            self._guard.close()
        self.postgres.stop()

    def pids(self) -> dict[str, int]:
        """Every process of the mesh, by name."""
        return {name: process.pid for name, process in self._processes.items()}

    def begin(self) -> None:
        """Nothing to count: every call is a transaction."""

    def batch_sizes(self) -> dict[str, float]:
        """None."""
        return {}

    def wait_quiet(self) -> None:
        """It answers when it is done."""

    def books(self) -> Books:
        """The databases against the players' answers."""
        return Books(
            subject=self.name,
            acknowledged=self.acknowledged,
            unknown=self.unknown,
            applied=int(value(self._wallet, "select count(*) from settlement where applied")),
            unbalanced=int(value(self._wallet, _UNBALANCED)),
            posting_sum_minor=int(value(self._wallet, "select coalesce(sum(amount_minor), 0) from posting")),
            accounts_off=int(value(self._wallet, _ACCOUNTS_OFF, DEPOSIT_MINOR)),
            pending=0,
            durability=self.postgres.durability(),
        )

    def _insert_players(self) -> None:
        for number, token in enumerate(self.tokens, start=1):
            self._wallet.execute("insert into account values (%s, %s)", [number, DEPOSIT_MINOR])
            facts = [uuid.uuid4(), sha256(token.encode()).digest(), number]
            self._session.execute(
                """insert into session (session_id, token_hash, account_id, game_id, stake_max_minor)
                   values (%s, %s, %s, %s, %s)""",
                [*facts, GAME_ID, DEPOSIT_MINOR],
            )

    def _spawn(self, service: str, settings: dict[str, str]) -> None:
        assert self._guard is not None
        # Its instrumentation comes with an OpenTelemetry of its own; the lock keeps the two apart.
        paths = (str(PACKAGES), str(REPOSITORY), str(REPOSITORY / "gen"))
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "OTEL_SERVICE_NAME": service,
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": TRACE_RATIO,
            "OTEL_EXPORTER_OTLP_ENDPOINT": self._collector_url,
            # A channel of this machine's own needs no proxy.
            "no_proxy": "127.0.0.1",
            **settings,
        }
        with self._log_path.open("ab") as log:
            self._processes[service] = subprocess.Popen(
                [sys.executable, "-m", f"bench.textbook.{service}"],
                cwd=REPOSITORY,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._guard.watch(process.pid for process in self._processes.values())

    def _wait_listening(self, service: str, port: int) -> None:
        end_s = time.monotonic() + _READY_SECONDS_MAX
        while port_is_free(port):
            if self._processes[service].poll() is not None or time.monotonic() > end_s:
                lines = self._log_path.read_text(errors="replace").strip().splitlines()
                raise BenchError(f"textbook {service} does not start: {lines[-1] if lines else 'no log'}")
            time.sleep(0.05)


_UNBALANCED = """select count(*) from
  (select round_id from posting group by round_id having sum(amount_minor) <> 0) t"""
_ACCOUNTS_OFF = """select count(*) from (
  select a.account_id from account a left join posting p using (account_id)
  group by a.account_id having a.balance_minor <> %s + coalesce(sum(p.amount_minor), 0)) t"""


def _create_tables(urls: dict[str, str]) -> None:
    for url in urls.values():
        engine = create_engine(url)
        Base.metadata.create_all(engine)
        engine.dispose()
