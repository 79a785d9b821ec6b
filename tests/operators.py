"""An operator with a wallet of its own: the reference wallet, a process over TLS with its own database."""

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from deploy.local.databases import Server
from deploy.local.ports import free_ports
from services.wallet.external.operator_wallet import OperatorWalletClient
from tests.tools import require_tool

TOKEN = "token-of-the-tests"
START_SECONDS_MAX = 20.0


def certificate(directory: Path, name: str = "server") -> tuple[Path, Path]:
    """Private key and certificate of this machine's loopback address, valid for a day."""
    key, cert = directory / f"{name}.key", directory / f"{name}.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
    command = [
        require_tool("openssl"),
        "req",
        "-x509",
        *curve,
        *subject,
        "-keyout",
        str(key),
        "-out",
        str(cert),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return key, cert


class Operator:
    """The reference wallet, its players, and the file that tells our wallet about it."""

    def __init__(
        self, server: Server, directory: Path, *, operator_id: str, faults: int | None = None
    ) -> None:
        """`faults`: the seed of what goes wrong; nothing does without."""
        self.operator_id, self._server, self._directory, self._faults = operator_id, server, directory, faults
        self._database = f"operator_{uuid.uuid4().hex[:12]}"
        server.create_role("operator")
        self._url = server.create_database("operator", self._database)
        self._key, self.ca_path = certificate(directory)
        self._token_path = directory / "token"
        self._token_path.write_text(TOKEN)
        self.target = f"127.0.0.1:{free_ports(1)[0]}"
        self.engine = create_async_engine(self._url, poolclass=NullPool)
        self._process: subprocess.Popen[bytes] | None = None
        self.wallets_path = directory / "wallets.yaml"
        self.wallets_path.write_bytes(msgspec.yaml.encode([self.entry()]))

    def entry(self, **changes: Any) -> dict[str, Any]:
        """What our wallet is told about it."""
        return {
            "operator_id": self.operator_id,
            "target": self.target,
            "ca_file": str(self.ca_path),
            "token_file": str(self._token_path),
            **changes,
        }

    def client(self, *, token: str = TOKEN, ca: Path | None = None) -> OperatorWalletClient:
        """Its wallet as our wallet calls it."""
        return OperatorWalletClient(self.target, token=token, ca=(ca or self.ca_path).read_bytes())

    def start(self) -> None:
        """Returns when it serves."""
        command = [sys.executable, "-m", "deploy.reference_wallet", "--listen", self.target]
        command += [
            "--key",
            str(self._key),
            "--cert",
            str(self.ca_path),
            "--token-file",
            str(self._token_path),
        ]
        if self._faults is not None:
            command += ["--faults", str(self._faults)]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "REFERENCE_WALLET_DATABASE_URL": self._url,
        }
        with (self._directory / "operator.log").open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        host, _, port = self.target.partition(":")
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            assert self._process.poll() is None and time.monotonic() < deadline, self.log()
            with suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
                return
            time.sleep(0.05)

    def log(self) -> str:
        """What it wrote."""
        return (self._directory / "operator.log").read_text()

    def stop(self) -> None:
        """SIGTERM, and the end of it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(15)
            self._process = None

    def close(self) -> None:
        """Stops it and drops its database."""
        self.stop()
        self._server.drop_database(self._database)

    async def open(self, *player_ids: str, balance: int, currency_code: str = "EUR") -> None:
        """Players with money."""
        async with self.engine.begin() as conn:
            await conn.execute(
                text("insert into player values (:player_id, :currency_code, :balance)"),
                [
                    {"player_id": player_id, "currency_code": currency_code, "balance": balance}
                    for player_id in player_ids
                ],
            )

    async def rows(self, query: str, **values: Any) -> Sequence[Any]:
        """The rows of a query in its database."""
        async with self.engine.connect() as conn:
            return (await conn.execute(text(query), values)).all()

    async def balance(self, player_id: str) -> int:
        """A player's balance as it is stored."""
        [row] = await self.rows("select balance_minor from player where player_id = :id", id=player_id)
        return int(row.balance_minor)
