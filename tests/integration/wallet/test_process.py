"""The wallet as it runs: a process, a channel, identities, a drain."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING

import pytest
from reelmesh.wallet.v1 import wallet_pb2, wallet_pb2_grpc

from deploy.local.ports import free_ports
from services.common.client import GuardedChannel
from services.common.errors import DomainError
from tests.databases import Databases
from tests.integration.wallet.harness import (
    APPLIED,
    OPERATOR,
    REAL,
    SEAL_KEY,
    VOID,
    Wallet,
    money,
    new_id,
    settle_request,
)

if TYPE_CHECKING:
    from reelmesh.wallet.v1.wallet_pb2_grpc import WalletServiceAsyncStub

IDENTITY_KEY = "identity-key-of-the-tests"


class Process:
    """A wallet process, and channels to it under the identities that call it."""

    def __init__(self, url: str, *, environment: Mapping[str, str] | None = None) -> None:
        """`environment` is added to what every one gets."""
        self.grpc_port, self.admin_port, self.nobody_port = free_ports(3)
        own = {
            **os.environ,
            "REELMESH_GRPC_PORT": str(self.grpc_port),
            "REELMESH_ADMIN_PORT": str(self.admin_port),
            "REELMESH_DATABASE_URL": url,
            "REELMESH_IDENTITY_KEY": IDENTITY_KEY,
            "REELMESH_SEAL_KEY": SEAL_KEY,
            "REELMESH_CHECKPOINT_INTERVAL_MS": "20",
            "REELMESH_DRAIN_WAIT_MS": "10",
            # Nobody listens there: events being away is none of a settle's business.
            "REELMESH_EVENTS_TARGET": f"dns:///127.0.0.1:{self.nobody_port}",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        command = [sys.executable, "-m", "services.wallet"]
        self._process = subprocess.Popen(
            command, env={**own, **(environment or {})}, stdout=subprocess.DEVNULL
        )
        self._channels: list[GuardedChannel] = []

    def stub(self, caller: str) -> "WalletServiceAsyncStub":
        """The wallet as `caller` sees it."""
        channel = GuardedChannel(
            f"dns:///127.0.0.1:{self.grpc_port}",
            caller=caller,
            identity_key=IDENTITY_KEY,
        )
        self._channels.append(channel)
        return channel.stub(wallet_pb2_grpc.WalletServiceStub)

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        for channel in self._channels:
            await channel.close()
        self._process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self._process.wait, 15)

    async def ended(self) -> int:
        """The exit code of one that ends by itself."""
        for channel in self._channels:
            await channel.close()
        return await asyncio.to_thread(self._process.wait, 30)

    def kill(self) -> None:
        """SIGKILL, when it still runs."""
        self._process.kill()
        self._process.wait(15)


@pytest.fixture
async def process(databases: Databases) -> AsyncIterator[tuple[Process, str]]:
    """A serving wallet process and its database."""
    url = databases.create("wallet")
    process = Process(url)
    try:
        stub = process.stub("gateway")
        request = wallet_pb2.GetAccountRequest(account_id=1, operator_id=OPERATOR)
        async with asyncio.timeout(20):
            while True:
                try:
                    await stub.GetAccount(request)
                except DomainError as error:
                    if error.reason == "ACCOUNT_NOT_FOUND":
                        break
                    await asyncio.sleep(0.05)
        yield process, url
    finally:
        process.kill()
        databases.drop(url)


async def test_a_wallet_process_serves_and_drains(process: tuple[Process, str]) -> None:
    running, url = process
    gateway, game = running.stub("gateway"), running.stub("game")
    opened = await gateway.OpenAccount(
        wallet_pb2.OpenAccountRequest(operator_id=OPERATOR, player_id="ann", currency_code="EUR", kind=REAL)
    )
    account_id = opened.account.account_id
    await gateway.Deposit(
        wallet_pb2.DepositRequest(
            operator_id=OPERATOR, request_id=new_id(), account_id=account_id, amount=money(1000)
        )
    )
    settle = settle_request(account_id, stake=100, win=30)
    settlement = (await gateway.Settle(settle)).settlement
    assert (settlement.status, settlement.balance_after.amount_minor) == (APPLIED, 930)
    assert (await game.Settle(settle)).settlement.replayed

    batch = wallet_pb2.BatchSettleRequest(requests=[settle_request(account_id, stake=1) for _ in range(50)])
    results = (await gateway.BatchSettle(batch)).results
    assert [result.settlement.status for result in results] == [APPLIED] * 50

    void = wallet_pb2.VoidRequest(round_id=new_id(), account_id=account_id)
    assert (await game.Void(void)).settlement.status == VOID
    with pytest.raises(DomainError, match="CALLER_FORBIDDEN"):
        await gateway.Void(void)
    settle.win.amount_minor += 1
    with pytest.raises(DomainError) as caught:
        await gateway.Settle(settle)
    assert (caught.value.reason, caught.value.metadata) == ("SEAL_INVALID", {"round_id": settle.round_id})

    async with Wallet(url) as wallet:
        async with asyncio.timeout(5):
            while await wallet.scalar("select count(*) from counter_tail"):
                pass
        assert await wallet.balance(account_id) == 880
        await wallet.check()
    assert await running.stop() == 0
