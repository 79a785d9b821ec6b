"""The name server of these tests, and what a channel of ours makes of names that change."""

import socket
import struct
from collections.abc import AsyncIterator, Iterator

import pytest
from reelmesh.wallet.v1 import wallet_pb2, wallet_pb2_grpc

from deploy.local.ports import free_ports
from services.common.client import GuardedChannel
from services.common.errors import DomainError
from services.common.health import Health
from services.common.server import CallInterceptor, Server
from tests.integration.common.toy import CONNECTION_AGE_MS, KEY, ToyWallet
from tests.rollout.fleet import require_addresses
from tests.rollout.names import DOMAIN, Names
from tests.waiting import until

FIRST, SECOND = "127.0.0.2", "127.0.0.3"
TYPE_A, TYPE_AAAA = 1, 28
OK, NO_SUCH_NAME = 0, 3


@pytest.fixture
def names() -> Iterator[Names]:
    names = Names()
    yield names
    names.close()


def query(name: str, kind: int) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", kind, 1)


def read(reply: bytes) -> tuple[int, list[str]]:
    """Result code and addresses."""
    query_id, flags, _, count, _, _ = struct.unpack_from("!6H", reply)
    assert query_id == 7 and flags & 0x8000
    return flags & 0xF, [
        socket.inet_ntoa(reply[len(reply) - 16 * at - 4 : len(reply) - 16 * at]) for at in range(count)
    ][::-1]


def test_who_is_ready_is_told_and_nobody_else(names: Names) -> None:
    name = f"wallet.{DOMAIN}"
    assert read(names.answer(query(name, TYPE_A))) == (NO_SUCH_NAME, [])
    names.publish("wallet", FIRST)
    names.publish("wallet", SECOND)
    assert read(names.answer(query(name, TYPE_A))) == (OK, [FIRST, SECOND])
    assert read(names.answer(query(name, TYPE_AAAA))) == (OK, [])
    assert read(names.answer(query("wallet.example.com", TYPE_A))) == (NO_SUCH_NAME, [])
    names.withdraw("wallet", FIRST)
    assert read(names.answer(query(name.upper(), TYPE_A))) == (OK, [SECOND])


class Replicas:
    """Wallets on one port of several addresses, that answer with their number."""

    def __init__(self, names: Names) -> None:
        self.names, self.port = names, free_ports(1)[0]
        self._running: dict[str, Server] = {}

    async def start(self, address: str, *, connection_age_ms: int = CONNECTION_AGE_MS) -> None:
        async def answer(request: object, context: object) -> wallet_pb2.GetAccountResponse:
            number = int(address.rpartition(".")[2])
            return wallet_pb2.GetAccountResponse(account=wallet_pb2.Account(account_id=number))

        async def ready() -> bool:
            return True

        server = Server("wallet", CallInterceptor(KEY), Health(ready), connection_age_ms=connection_age_ms)
        wallet: object = ToyWallet(answer)  # type: ignore[abstract]
        wallet_pb2_grpc.add_WalletServiceServicer_to_server(wallet, server.rpc)  # type: ignore[arg-type]
        await server.start(host=address, grpc_port=self.port, admin_port=0)
        self._running[address] = server
        self.names.publish("wallet", address)

    async def stop(self, address: str) -> None:
        self.names.withdraw("wallet", address)
        server = self._running.pop(address)
        await server.drain(wait_s=0, grace_s=1)
        await server.close()

    async def close(self) -> None:
        for address in list(self._running):
            await self.stop(address)


@pytest.fixture
async def replicas(names: Names) -> AsyncIterator[Replicas]:
    require_addresses()
    replicas = Replicas(names)
    yield replicas
    await replicas.close()


class Caller:
    """Calls whoever the name leads to."""

    def __init__(self, replicas: Replicas) -> None:
        target = replicas.names.target("wallet", replicas.port)
        self.channel = GuardedChannel(target, caller="gateway", identity_key=KEY)
        self._stub = self.channel.stub(wallet_pb2_grpc.WalletServiceStub)

    async def number(self) -> int:
        """Of who answered; 0 when nobody did."""
        try:
            found = await self._stub.GetAccount(wallet_pb2.GetAccountRequest(account_id=1, operator_id="dev"))
        except DomainError:
            return 0
        return int(found.account.account_id)


async def test_when_all_that_a_channel_knew_are_replaced_no_call_fails(replicas: Replicas) -> None:
    """The name was asked a moment before, and is asked again before the call has used up its attempts."""
    await replicas.start(FIRST)
    caller = Caller(replicas)
    assert await caller.number() == 2
    await replicas.start(SECOND)
    await replicas.stop(FIRST)
    assert await caller.number() == 3
    await caller.channel.close()


async def test_a_new_replica_is_found_when_a_connection_has_grown_old(replicas: Replicas) -> None:
    await replicas.start(FIRST, connection_age_ms=1_000)
    caller = Caller(replicas)
    assert await caller.number() == 2
    await replicas.start(SECOND)

    async def found() -> bool:
        number = await caller.number()
        assert number, "no call fails meanwhile"
        return number == 3

    await until(found)
    await caller.channel.close()
