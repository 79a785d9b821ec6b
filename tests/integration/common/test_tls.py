"""A channel that follows its certificate: nothing in flight is cut, nothing is called before it may be."""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from reelmesh.wallet.v1 import wallet_pb2

from deploy.local.authority import Authority, Folder
from services.common.errors import Unavailable
from services.common.server import current_caller
from services.mtls.certificates import Certificates
from services.mtls.channel import Mtls
from tests.integration.common.toy import Mesh
from tests.waiting import until

REQUEST = wallet_pb2.GetAccountRequest(operator_id="o")


class Pair:
    """A wallet and a gateway that calls it, their files, and what the wallet sees of the gateway."""

    def __init__(self, directory: Path, mesh: Mesh) -> None:
        self.authority, self.folder = Authority("first"), Folder(directory / "tls", ("gateway", "wallet"))
        self.folder.renew(self.authority)
        self.folder.trust(self.authority)
        self.wallet = Certificates(self.folder.of("wallet"), service="wallet")
        self.gateway = Certificates(self.folder.of("gateway"), service="gateway")
        # The serial number of the certificate and the instance of each caller.
        self.seen: list[tuple[int, str]] = []
        self.peers: list[str] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self._mesh = mesh

    async def answer(self, request: Any, context: Any) -> Any:
        """As the wallet."""
        [pem] = context.auth_context()["x509_pem_cert"]
        assert current_caller().service == "gateway"
        instance = current_caller().instance
        self.seen.append((x509.load_pem_x509_certificate(pem).serial_number, instance))
        self.peers.append(context.peer())
        await self.may_answer.wait()
        return wallet_pb2.GetAccountResponse()

    async def stub(self, *, server: str = "wallet") -> Any:
        """The wallet, as the gateway calls it."""
        _, target = await self._mesh.serve(self.answer, certificates=self.wallet)
        return self._mesh.wallet(target, instance="gateway-7", mtls=Mtls(self.gateway, server), retry=False)

    async def call_until_renewed(self, stub: Any) -> None:
        """Calls until the wallet sees the certificate that is in the gateway's directory now."""

        async def renewed() -> bool:
            await stub.GetAccount(REQUEST)
            return self.seen[-1][0] == self.gateway.leaf.serial_number

        await until(renewed)


@pytest.fixture
async def pair(tmp_path: Path, mesh: Mesh) -> AsyncIterator[Pair]:
    """Both with certificates of the same authority."""
    yield Pair(tmp_path, mesh)


async def test_the_caller_is_its_certificate_and_names_its_instance(pair: Pair) -> None:
    stub = await pair.stub()
    await stub.GetAccount(REQUEST)
    assert pair.seen == [(pair.gateway.leaf.serial_number, "gateway-7")]


async def test_a_renewed_certificate_is_shown_on_another_connection(pair: Pair) -> None:
    stub = await pair.stub()
    await stub.GetAccount(REQUEST)
    pair.folder.renew(pair.authority)
    assert pair.wallet.reload() and pair.gateway.reload()
    await pair.call_until_renewed(stub)
    assert pair.seen[0][0] != pair.seen[-1][0]
    assert pair.peers[0] != pair.peers[-1]


async def test_the_old_connection_waits_for_its_last_call(pair: Pair) -> None:
    stub = await pair.stub()
    pair.may_answer.clear()
    held = asyncio.create_task(stub.GetAccount(REQUEST))
    await until(lambda: len(pair.seen) == 1)
    channel = stub_channel(stub)
    first = channel.made
    for _ in range(2):
        made = channel.made
        pair.folder.renew(pair.authority)
        assert pair.gateway.reload()
        await until(lambda made=made: channel.made is not made)
    # Two renewals later the call is where it was; the connection between them has nothing to wait for.
    assert not held.done() and not first.channel._channel.closed()
    await until(made.channel._channel.closed)
    pair.may_answer.set()
    await held
    await until(first.channel._channel.closed)


def stub_channel(stub: Any) -> Any:
    """The renewed channel below a stub's method."""
    return stub.GetAccount._channel._channel._channel


async def test_who_is_not_believed_yet_goes_on_with_the_old_certificate(pair: Pair) -> None:
    stub = await pair.stub()
    await stub.GetAccount(REQUEST)
    old, second = pair.gateway.leaf.serial_number, Authority("second")
    # The gateway is first: its new certificate is of an authority that the wallet does not know yet.
    certificate, key = second.issue_for("gateway")
    roots = pair.authority.pem + second.pem
    pair.folder.write("gateway", {"tls.crt": certificate, "tls.key": key, "ca.crt": roots})
    made = stub_channel(stub).made
    assert pair.gateway.reload()
    for _ in range(50):
        await stub.GetAccount(REQUEST)
    assert {serial for serial, _ in pair.seen} == {old} and stub_channel(stub).made is made
    pair.folder.write("wallet", {"ca.crt": roots})
    assert pair.wallet.reload()
    await pair.call_until_renewed(stub)


async def test_a_server_must_be_the_service_that_is_called(pair: Pair) -> None:
    # The wallet's port, reached as if it were game's.
    stub = await pair.stub(server="game")
    with pytest.raises(Unavailable):
        await stub.GetAccount(REQUEST)
    assert pair.seen == []


async def test_an_expired_certificate_makes_no_connection_until_it_is_renewed(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = pair.authority.issue_for("wallet", valid_for=timedelta(seconds=2))
    pair.folder.write("wallet", {"tls.crt": certificate, "tls.key": key})
    assert pair.wallet.reload() and pair.wallet.expires_in_s() > -1
    stub = await pair.stub()
    # The second that it names is still its own.
    await until(lambda: pair.wallet.expires_in_s() < -1)
    with pytest.raises(Unavailable):
        await stub.GetAccount(REQUEST)
    caplog.set_level(logging.ERROR)
    for _ in range(3):
        assert not pair.wallet.reload()
    assert caplog.text.count("has expired") == 1
    pair.folder.renew(pair.authority)
    assert pair.wallet.reload()

    async def answered() -> bool:
        try:
            await stub.GetAccount(REQUEST)
        except Unavailable:  # a new attempt is made after a pause
            return False
        return True

    await until(answered)
