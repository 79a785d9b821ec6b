"""The wallet as processes on one database, the way an operator runs it: killed, restarted, replicated."""

import asyncio
import os
import subprocess
import sys

from reelmesh.conformance.channels import Channels
from reelmesh.conformance.wallet_service import Keys, WalletService

from deploy.local.ports import free_ports

KEYS = Keys(identity_key="identity-key-of-the-tests", seal_key="seal-key-of-the-tests")


class WalletProcess:
    """`python -m <program>` on fixed ports; `program` is the wallet, or one that is broken first."""

    def __init__(self, url: str, *program: str) -> None:
        self.program = program or ("services.wallet",)
        grpc_port, admin_port, nobody_port = free_ports(3)
        self.target = f"127.0.0.1:{grpc_port}"
        self._environment = {
            **os.environ,
            "REELMESH_GRPC_PORT": str(grpc_port),
            "REELMESH_ADMIN_PORT": str(admin_port),
            "REELMESH_DATABASE_URL": url,
            "REELMESH_IDENTITY_KEY": KEYS.identity_key,
            "REELMESH_SEAL_KEY": KEYS.seal_key,
            "REELMESH_DRAIN_WAIT_MS": "10",
            # Nobody listens there: events being away is none of a settle's business.
            "REELMESH_EVENTS_TARGET": f"dns:///127.0.0.1:{nobody_port}",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        self._process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", *self.program]
        return subprocess.Popen(command, env=self._environment, stdout=subprocess.DEVNULL)

    async def restart(self) -> None:
        """kill -9, and a new process at the same address; it may not listen yet."""
        self.kill()
        self._process = await asyncio.to_thread(self._start)

    def kill(self) -> None:
        """kill -9, when it still runs."""
        self._process.kill()
        self._process.wait(15)


async def served(channels: Channels, *, kind: str = "real") -> WalletService:
    """The wallet at the channels, once it answers."""
    await channels.reconnect()
    return WalletService(channels, KEYS, operator_id="conformance", kind=kind, currency_code="EUR")
