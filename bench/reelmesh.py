"""Reelmesh as it runs: five processes, relays, traces and metrics to a collector, everything durable."""

import asyncio
import secrets
import time
import uuid
from pathlib import Path

import httpx

from bench.errors import BenchError
from bench.figures import REELMESH, Books
from bench.servers import PostgresServer, rows_per_transaction, transaction_id, value
from deploy.local.authority import Authority, Folder
from deploy.local.databases import SERVICES, role_name
from deploy.local.mesh import Mesh
from deploy.local.seed import seed
from services.common.migrate import migrate

GAME_ID, CURRENCY = "harbour-lights", "EUR"
DEPOSIT_MINOR = 10**12
TRACE_RATIO = "0.1"
QUIET_SECONDS_MAX = 30.0
# Players whose sessions are opened at the same time, and how often a call of theirs is made.
_OPENING_TOGETHER = 8
_ATTEMPTS = 20

# Per hop the table into which its statement inserts one row per spin.
_HOPS = {
    "authorize": ("session", "spin_authorization"),
    "play": ("game", "round"),
    "settle": ("wallet", "settlement"),
    "finish": ("game", "round_end"),
}


class Reelmesh:
    """The mesh that is measured."""

    def __init__(self, directory: Path, *, collector_url: str, tls: bool = False) -> None:
        """`tls`: mutual TLS between its services; players stay in plaintext, whatever else is measured."""
        self.name = f"{REELMESH}, TLS" if tls else REELMESH
        self.postgres = PostgresServer(directory / f"{'tls' if tls else 'reelmesh'}-postgres")
        self._directory, self._collector_url = directory / ("tls" if tls else "reelmesh"), collector_url
        self._tls = tls
        self._mesh: Mesh | None = None
        self.tokens: list[str] = []
        self.acknowledged = self.unknown = 0
        self._since = 0

    def start(self, players: int) -> None:
        """Everything up, and so many funded players with a session each."""
        self.postgres.start()
        urls = self.postgres.server.create_service_databases()
        for service, url in urls.items():
            migrate(service, url)
        api_key = f"rk_{secrets.token_urlsafe(32)}"
        seed(urls["gateway"], api_key)
        self._directory.mkdir(exist_ok=True)
        environment = {
            "REELMESH_TRACE_RATIO": TRACE_RATIO,
            "OTEL_EXPORTER_OTLP_ENDPOINT": self._collector_url,
        }
        certificates = None
        if self._tls:
            authority, certificates = Authority(), Folder(self._directory / "certificates", SERVICES)
            certificates.renew(authority)
            certificates.trust(authority)
        self._mesh = Mesh(self._directory, urls, environment=environment, tls=certificates, public_tls=False)
        self._mesh.start()
        self._read = {service: self.postgres.reader(role_name(service)) for service in SERVICES}
        self.tokens = asyncio.run(_open_sessions(self._mesh.rest_url(), api_key, players))

    def stop(self) -> None:
        """Kills the processes; nothing of them is kept."""
        if self._mesh is not None:
            self._mesh.kill()
        self.postgres.stop()

    @property
    def mesh(self) -> Mesh:
        """The processes."""
        assert self._mesh is not None
        return self._mesh

    @property
    def port(self) -> int:
        """Of the REST edge."""
        return self.mesh.ports("gateway").rest

    def pids(self) -> dict[str, int]:
        """Every process of the mesh, by name."""
        return {name: self.mesh.pid(name) for name in self.mesh.names}

    def begin(self) -> None:
        """A cell starts: batch sizes count from here."""
        self._since = transaction_id(self._read["game"])

    def batch_sizes(self) -> dict[str, float]:
        """Mean spins per transaction of each hop since `begin`."""
        return {
            hop: rows_per_transaction(self._read[service], table, self._since)
            for hop, (service, table) in _HOPS.items()
        }

    def wait_quiet(self) -> None:
        """Until every acknowledged round has its end and every outbox is empty. Errors: BenchError."""
        end_s = time.monotonic() + QUIET_SECONDS_MAX
        while left := self._left():
            if time.monotonic() > end_s:
                raise BenchError(f"reelmesh is not quiet after {QUIET_SECONDS_MAX:.0f} s: {left}")
            time.sleep(0.05)

    def _left(self) -> dict[str, int]:
        counts = {
            f"{service} outbox": int(value(self._read[service], _UNSENT))
            for service in ("session", "wallet", "game", "gateway")
        }
        ended = int(value(self._read["game"], "select count(*) from round_end where state = 'SETTLED'"))
        counts["rounds"] = self.acknowledged - ended
        return {name: count for name, count in counts.items() if count}

    def books(self) -> Books:
        """The databases against the players' answers."""
        wallet, game, events = self._read["wallet"], self._read["game"], self._read["events"]
        told = int(value(events, "select count(*) from event where event_type = 'round.settled'"))
        return Books(
            subject=self.name,
            acknowledged=self.acknowledged,
            unknown=self.unknown,
            applied=int(value(wallet, "select count(*) from settlement where status = 1")),
            unbalanced=int(value(wallet, _UNBALANCED)),
            posting_sum_minor=int(value(wallet, "select coalesce(sum(amount_minor), 0) from posting_leg")),
            accounts_off=int(value(wallet, _ACCOUNTS_OFF)),
            pending=int(value(game, _PENDING)) + abs(self.acknowledged - told),
            durability=self.postgres.durability(),
        )


# What is acknowledged may be kept for a while.
_UNSENT = """select count(*) from outbox
  where batch_no is null or batch_no > coalesce((select max(batch_no_acked) from relay), 0)"""
_UNBALANCED = """select count(*) from
  (select transaction_id from posting_leg group by transaction_id having sum(amount_minor) <> 0) t"""
_ACCOUNTS_OFF = """select count(*) from (
  select a.account_id from account a left join posting p using (account_id) where a.type = 1
  group by a.account_id having a.balance_minor <> coalesce(sum(p.amount_minor), 0)) t"""
_PENDING = "select count(*) from round_view where state in ('PENDING', 'OPEN', 'SETTLING', 'NEEDS_REVIEW')"


async def _open_sessions(url: str, api_key: str, players: int) -> list[str]:
    """A token per player, through the API as an operator's back end does it. Errors: BenchError."""
    turns = asyncio.Semaphore(_OPENING_TOGETHER)
    # The environment's HTTP proxy is not for this machine's own ports.
    async with httpx.AsyncClient(base_url=url, timeout=30.0, trust_env=False) as client:

        async def opened(number: int) -> str:
            async with turns:
                return await _open_session(client, api_key, f"bench-{number}")

        return list(await asyncio.gather(*(opened(number) for number in range(players))))


async def _open_session(client: httpx.AsyncClient, api_key: str, player_id: str) -> str:
    """Funds a player and launches a session; its token."""
    amount = {"currency_code": CURRENCY, "amount_minor": DEPOSIT_MINOR}
    deposit = {"request_id": str(uuid.uuid4()), "amount": amount}
    await _post(client, f"/v1/players/{player_id}/deposits", deposit, api_key)
    for _ in range(_ATTEMPTS):
        launch = {
            "request_id": str(uuid.uuid4()),
            "player_id": player_id,
            "game_id": GAME_ID,
            "currency_code": CURRENCY,
        }
        created = await _post(client, "/v1/sessions", launch, api_key)
        exchanged = await client.post("/v1/sessions/exchange", json={"launch_code": created["launch_code"]})
        if exchanged.status_code == 200:
            return str(exchanged.json()["token"])
        # A code whose answer was lost is spent: another session is opened.
    raise BenchError(f"no session for {player_id}: {exchanged.text[:200]}")


async def _post(client: httpx.AsyncClient, path: str, body: object, api_key: str) -> dict[str, str]:
    """Repeats the same id while the answer says that it may be sent again."""
    for _ in range(_ATTEMPTS):
        answer = await client.post(path, json=body, headers={"authorization": f"Bearer {api_key}"})
        answered: dict[str, str] = answer.json()
        if answer.status_code == 200:
            return answered
        if answered.get("class") not in ("RETRY_SAME_ID", "NOT_YET"):
            break
        await asyncio.sleep(0.2)
    raise BenchError(f"{path}: {answer.status_code} {answer.text[:200]}")
