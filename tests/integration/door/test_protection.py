"""Rates, origins, headers and TLS of a running gateway."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from reelmesh.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from deploy.local.mesh import Mesh
from services.common.errors import from_rpc_error
from services.gateway.protection.tls import RELOAD_INTERVAL_S
from tests.integration.door.conftest import ADDRESS_BURST, OURS, SESSION_BURST, THEIRS
from tests.integration.wheel.authority import Authority
from tests.mesh.stage import Stage
from tests.waiting import until

PATIENCE_S = 20.0 + RELOAD_INTERVAL_S

pytestmark = pytest.mark.usefixtures("origins")


@pytest.fixture
async def plain(mesh: Mesh) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the gateway without TLS."""
    async with httpx.AsyncClient(base_url=mesh.rest_url(), verify=False, timeout=20) as client:
        yield client


@pytest.fixture
async def tls(strict: Mesh, authority: Authority) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the strict gateway."""
    context = ssl.create_default_context(cafile=authority.ca_file)
    url = strict.rest_url("gateway-2").replace("http://", "https://")
    async with httpx.AsyncClient(base_url=url, verify=context, timeout=20) as client:
        yield client


def from_address(number: int) -> dict[str, str]:
    """Said by a proxy that is trusted."""
    return {"x-forwarded-for": f"203.0.113.{number}"}


# Rates


async def test_a_session_has_its_own_bucket_and_is_told_what_is_left(tls: httpx.AsyncClient) -> None:
    headers = from_address(1) | {"authorization": "Bearer st_one"}
    for number in range(SESSION_BURST):
        answer = await tls.get("/v1/nothing", headers=headers)
        assert answer.status_code == 404
        assert answer.headers["ratelimit-policy"] == f'"session";q={SESSION_BURST};w={SESSION_BURST}'
        if number == 0:
            assert answer.headers["ratelimit"].startswith(f'"session";r={SESSION_BURST - 1};t=')
    while (answer := await tls.get("/v1/nothing", headers=headers)).status_code != 429:
        assert answer.status_code == 404
    body = answer.json()
    assert (body["reason"], body["class"], body["metadata"]["limit"]) == (
        "RATE_LIMITED",
        "NOT_YET",
        "session",
    )
    assert 0 < int(body["metadata"]["retry_after_ms"]) <= 1_000 and answer.headers["retry-after"] == "1"
    assert answer.headers["ratelimit-remaining"] == "0"
    # Another session of the same address is not stopped by it.
    other = await tls.get("/v1/nothing", headers=from_address(1) | {"authorization": "Bearer st_two"})
    assert other.status_code == 404


async def test_an_address_has_one_however_many_credentials_it_tries(tls: httpx.AsyncClient) -> None:
    reason = ""
    for number in range(5 * ADDRESS_BURST):
        headers = from_address(2) | {"authorization": f"Bearer st_{number}"}
        answer = await tls.get("/v1/nothing", headers=headers)
        if answer.status_code == 429:
            reason = answer.json()["metadata"]["limit"]
            break
    assert reason == "address"
    # What a client writes itself stands left of what the proxy adds, and is not believed.
    forged = {"x-forwarded-for": "198.51.100.7, 203.0.113.2", "authorization": "Bearer st_forged"}
    assert (await tls.get("/v1/nothing", headers=forged)).status_code == 429
    assert (await tls.get("/v1/nothing", headers=from_address(3))).status_code == 404


async def test_the_same_buckets_hold_for_rpcs(strict: Mesh, authority: Authority) -> None:
    stub, channel = rpc(strict, authority)
    metadata = (("authorization", "Bearer st_rpc"), ("x-forwarded-for", "203.0.113.4"))
    told = []
    for _ in range(4 * SESSION_BURST):
        with suppress(grpc.aio.AioRpcError):
            try:
                await stub.GetBalance(gateway_pb2.GetBalanceRequest(), metadata=metadata)
            except grpc.aio.AioRpcError as error:
                told.append(from_rpc_error(error))
                raise
        if told[-1].reason == "RATE_LIMITED":
            break
    assert told[0].reason == "TOKEN_INVALID" and told[-1].reason == "RATE_LIMITED"
    assert told[-1].metadata["limit"] == "session"
    await channel.close()


async def test_a_proxy_that_is_not_trusted_is_not_believed(plain: httpx.AsyncClient) -> None:
    answers = [await plain.get("/v1/nothing", headers=from_address(number)) for number in (5, 6)]
    left = [int(answer.headers["ratelimit-remaining"]) for answer in answers]
    # Both counted for this machine, whose bucket is large and refills while we ask.
    assert all("address" in answer.headers["ratelimit"] for answer in answers) and max(left) < 40_000


# Origins


async def test_a_preflight_is_answered_for_any_operator_s_page(plain: httpx.AsyncClient) -> None:
    for origin, status in ((OURS, 200), (THEIRS, 200), ("https://evil.example", 403), ("null", 403)):
        headers = {"origin": origin, "access-control-request-method": "POST"}
        answer = await plain.options("/v1/spins", headers=headers)
        assert answer.status_code == status
        allowed = answer.headers.get("access-control-allow-origin")
        assert allowed == (origin if status == 200 else None)
        assert answer.headers["vary"] == "origin"
        if status == 200:
            assert "authorization" in answer.headers["access-control-allow-headers"]
            assert "access-control-allow-credentials" not in answer.headers


async def test_the_request_itself_is_for_its_own_operator_s_page(
    stage: Stage, plain: httpx.AsyncClient
) -> None:
    player = await stage.player()
    key = await stage.key(operator_id="other")
    for credential, right, wrong in ((player.token, OURS, THEIRS), (key.api_key, THEIRS, OURS)):
        path = "/v1/balance" if credential == player.token else "/v1/rounds/x"
        for origin, reason in (
            (right, None),
            (wrong, "ORIGIN_FORBIDDEN"),
            ("http://e.example", "ORIGIN_FORBIDDEN"),
        ):
            headers = {"origin": origin, "authorization": f"Bearer {credential}"}
            answer = await plain.get(path, headers=headers)
            told = answer.json().get("reason") if answer.status_code == 403 else None
            assert told == reason
            assert answer.headers.get("access-control-allow-origin") == (None if reason else origin)
    # Without a credential it is everybody's; a page of our own needs no list.
    own = str(plain.base_url).rstrip("/")
    for origin, status in ((OURS, 200), (THEIRS, 200), (own, 200), ("https://evil.example", 403)):
        assert (await plain.get("/v1/games", headers={"origin": origin})).status_code == status


async def test_a_forbidden_page_moves_nothing(stage: Stage, plain: httpx.AsyncClient) -> None:
    player = await stage.player()
    before = await stage.money()
    headers = {"origin": THEIRS, "authorization": f"Bearer {player.token}"}
    body = {
        "request_id": "0190c0de-0000-4000-8000-000000000001",
        "stake": {"currency_code": "USD", "amount_minor": 100},
    }
    assert (await plain.post("/v1/spins", headers=headers, json=body)).status_code == 403
    assert await stage.money() == before


# Headers


async def test_every_answer_says_how_it_is_to_be_taken(
    plain: httpx.AsyncClient, tls: httpx.AsyncClient
) -> None:
    for client in (plain, tls):
        for path in ("/v1/games", "/v1/nothing", "/v1/spins"):
            headers = (await client.get(path, headers=from_address(7))).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cache-control"] == "no-store"
            assert headers["referrer-policy"] == "no-referrer"
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert "server" not in headers
            assert ("strict-transport-security" in headers) == (client is tls)


# TLS


def rpc(mesh: Mesh, authority: Authority) -> tuple[Any, grpc.aio.Channel]:
    """A stub of the strict gateway."""
    credentials = grpc.ssl_channel_credentials(authority.ca_file.read_bytes())
    channel = grpc.aio.secure_channel(
        f"127.0.0.1:{mesh.ports('gateway-2').grpc}", credentials, options=[("grpc.enable_http_proxy", 0)]
    )
    return gateway_pb2_grpc.GatewayServiceStub(channel), channel


async def serial(mesh: Mesh, authority: Authority, port: int, **options: Any) -> str:
    """The serial number of the certificate that a new connection is shown."""
    context = ssl.create_default_context(cafile=authority.ca_file)
    for name, value in options.items():
        setattr(context, name, value)
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    certificate: dict[str, Any] = writer.get_extra_info("peercert")
    writer.close()
    return str(certificate["serialNumber"])


async def test_a_certificate_is_replaced_and_no_connection_drops(
    strict: Mesh, authority: Authority, certificate: tuple[Path, Path], tls: httpx.AsyncClient
) -> None:
    ports = strict.ports("gateway-2")
    stub, channel = rpc(strict, authority)
    assert (await tls.get("/v1/games", headers=from_address(8))).status_code == 200
    games = await stub.ListGames(
        gateway_pb2.ListGamesRequest(), metadata=(("x-forwarded-for", "203.0.113.8"),)
    )
    before = await serial(strict, authority, ports.rest)
    cert, key = certificate
    # First half of a pair, which fits nothing: the old one goes on.
    issued_cert, issued_key = authority.issue("second")
    cert.write_bytes(issued_cert.read_bytes())
    assert await serial(strict, authority, ports.rest) == before
    key.write_bytes(issued_key.read_bytes())

    async def renewed() -> bool:
        serials = [await serial(strict, authority, port) for port in (ports.rest, ports.grpc)]
        return before not in serials

    await until(renewed, seconds_max=PATIENCE_S)
    # The connections from before serve on.
    assert (await tls.get("/v1/games", headers=from_address(8))).status_code == 200
    again = await stub.ListGames(
        gateway_pb2.ListGamesRequest(), metadata=(("x-forwarded-for", "203.0.113.8"),)
    )
    assert again == games
    await channel.close()


async def test_old_versions_and_plaintext_are_refused(strict: Mesh, authority: Authority) -> None:
    ports = strict.ports("gateway-2")
    for port in (ports.rest, ports.grpc):
        assert await serial(strict, authority, port, minimum_version=ssl.TLSVersion.TLSv1_2)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            with pytest.warns(DeprecationWarning):
                await serial(strict, authority, port, maximum_version=ssl.TLSVersion.TLSv1_1)
    async with httpx.AsyncClient(base_url=strict.rest_url("gateway-2"), verify=False) as client:
        with pytest.raises(httpx.TransportError):
            await client.get("/v1/games")
