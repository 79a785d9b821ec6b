"""A mesh over mutual TLS: it plays, and certificates alone say who calls."""

import asyncio
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest
from cryptography import x509
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from rich.console import Console

from deploy.local import reach
from deploy.local.authority import Authority, names_of
from deploy.local.databases import SERVICES
from deploy.local.explain import explain
from deploy.local.first_spin import script as first_spin
from deploy.local.mesh import REPOSITORY, Mesh
from deploy.local.play import play
from deploy.local.review import review
from deploy.local.stuck import stuck
from deploy.local.webhooks import webhooks
from services.common import identity
from tests.databases import Databases
from tests.mesh.books import Books
from tests.mesh.certified import Pair, Stranger, reason, self_signed, serial, serial_of
from tests.mesh.script import Script
from tests.mesh.stage import SIMPLE_GAME_ID, STAKE_MINOR, new_id
from tests.meshes import API_KEY, running_mesh
from tests.otlp import Received
from tests.waiting import until
from tools.telemetry_contract import contract

AMOUNT = {"currency_code": "USD", "amount_minor": STAKE_MINOR}
# No trace receiver.
NOBODY = "http://127.0.0.1:1"
INTERNAL = tuple(service for service in SERVICES if service != "gateway")


@pytest.fixture(scope="module")
def authority() -> Authority:
    """Signs the certificates of the mesh."""
    return Authority()


@pytest.fixture(scope="module")
def received() -> Iterator[Received]:
    """What the mesh tells of itself."""
    with Received() as received:
        yield received


@pytest.fixture(scope="module")
def mesh(databases: Databases, authority: Authority, received: Received) -> Iterator[Mesh]:
    """Every service with a certificate of its own."""
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint,
        "OTEL_METRIC_EXPORT_INTERVAL": "1000",
    }
    with running_mesh(databases, authority=authority, environment=environment) as mesh:
        yield mesh
        assert set(mesh.stop().values()) == {0}


async def test_a_spin_is_played_over_all_three_protocols(script: Script, mesh: Mesh) -> None:
    player_id = f"p-{new_id()}"
    deposit = {"currency_code": "USD", "amount_minor": 10_000}
    await script.ask("FundPlayer", request_id=new_id(), player_id=player_id, amount=deposit)
    token = await script.launch(player_id, SIMPLE_GAME_ID)
    played = [await script.ask("Spin", token, request_id=new_id(), stake=AMOUNT) for _ in range(3)]
    assert {one["round"]["state"] for one in played} == {"SETTLED"}
    # Certificates are shared by replicas: which of them drew is still known.
    rows = await Books(mesh.database_urls).rows("game", "select distinct gateway from round")
    assert [row.gateway for row in rows] == ["gateway"]


@pytest.mark.tool("curl")
def test_the_lines_that_make_run_prints_play_a_spin(mesh: Mesh) -> None:
    assert mesh.tls is not None
    lines = first_spin(mesh.rest_url(), API_KEY, ca_file=mesh.tls.ca_file)
    done = subprocess.run(["sh", "-c", lines], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and '"state":"SETTLED"' in done.stdout, done.stderr
    # Without the authority nothing is believed, so that the line above proves something.
    blind = subprocess.run(["curl", "-sS", f"{mesh.rest_url()}/v1/games"], capture_output=True, timeout=60)
    assert blind.returncode == 60


@pytest.mark.parametrize("service", INTERNAL)
async def test_each_method_is_open_to_its_callers_only(
    mesh: Mesh, authority: Authority, service: str
) -> None:
    callers = [*SERVICES, "public", "nobody"]
    asked = 0
    for caller in callers:
        stranger = Stranger(mesh, service, authority.issue_for(caller))
        for method, listed in identity.call_graph()[service].methods.items():
            told = await stranger.reason(method)
            if caller in listed.callers:
                assert told not in ("CALLER_FORBIDDEN", "CALLER_UNKNOWN", "UNAVAILABLE"), (caller, method)
            else:
                assert told == "CALLER_FORBIDDEN", (caller, method)
            asked += 1
        await stranger.close()
    assert asked == len(callers) * len(identity.call_graph()[service].methods)


def uri(name: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(name)


def strangers(authority: Authority) -> dict[str, tuple[Pair, str]]:
    """Who they are, what they show, and why they are refused."""
    gateway = names_of("gateway")
    ours, name = "spiffe://reelmesh/", x509.DNSName("gateway")
    return {
        # The handshake itself fails: there is no answer that could have a reason.
        "no certificate": (None, "UNAVAILABLE"),
        "another authority": (Authority().issue("gateway", gateway), "UNAVAILABLE"),
        "another authority of the same name": (Authority().issue_for("gateway"), "UNAVAILABLE"),
        "self-signed": (self_signed("gateway", gateway), "UNAVAILABLE"),
        # The authority's own word, but no identity of this mesh.
        "a common name only": (authority.issue("gateway", []), "CALLER_UNKNOWN"),
        "a DNS name only": (authority.issue("gateway", [name]), "CALLER_UNKNOWN"),
        "a DNS name like the URI": (
            authority.issue("gateway", [x509.DNSName(f"{ours}gateway")]),
            "CALLER_UNKNOWN",
        ),
        "another trust domain": (
            authority.issue("gateway", [uri("spiffe://reelmesh.example/gateway"), name]),
            "CALLER_UNKNOWN",
        ),
        "another scheme": (authority.issue("gateway", [uri("https://reelmesh/gateway")]), "CALLER_UNKNOWN"),
        "two identities": (
            authority.issue("gateway", [uri(f"{ours}gateway"), uri(f"{ours}session")]),
            "CALLER_UNKNOWN",
        ),
        "the trust domain itself": (authority.issue("gateway", [uri(ours)]), "CALLER_UNKNOWN"),
        "a path below": (authority.issue("gateway", [uri(f"{ours}gateway/1")]), "CALLER_FORBIDDEN"),
        "another case": (authority.issue("gateway", [uri(f"{ours}Gateway")]), "CALLER_FORBIDDEN"),
    }


async def test_who_shows_anything_else_is_refused(mesh: Mesh, authority: Authority) -> None:
    told = {who: await reason(mesh, pair) for who, (pair, _) in strangers(authority).items()}
    assert told == {who: why for who, (_, why) in strangers(authority).items()}
    # The guard lets the right one in.
    right = await reason(mesh, authority.issue_for("gateway"))
    assert right not in ("UNAVAILABLE", "CALLER_UNKNOWN", "CALLER_FORBIDDEN")


async def test_a_stolen_token_is_worth_nothing(mesh: Mesh, authority: Authority) -> None:
    # Signed with the very key that a mesh without TLS would believe, in game's name, who alone may void.
    stolen = [(identity.METADATA_KEY, identity.sign("game", mesh.key("identity_key"), 60))]
    empty = [(identity.METADATA_KEY, identity.sign("game", "", 60))]
    session, unnamed = authority.issue_for("session"), authority.issue("session", [])
    for metadata in (stolen, empty):
        shown = {"method": "Void", "metadata": metadata}
        assert await told_to(mesh, None, shown) == "UNAVAILABLE"
        assert await told_to(mesh, None, {**shown, "plaintext": True}) == "UNAVAILABLE"
        assert await told_to(mesh, session, shown) == "CALLER_FORBIDDEN"
        assert await told_to(mesh, unnamed, shown) == "CALLER_UNKNOWN"


async def told_to(mesh: Mesh, pair: Pair, options: dict[str, Any]) -> str:
    return await reason(mesh, pair, **options)


async def test_the_public_port_asks_nobody_for_a_certificate(mesh: Mesh, authority: Authority) -> None:
    assert await reason(mesh, None, service="gateway", method="ListGames") == ""
    assert await reason(mesh, None, service="gateway", method="GetBalance") != "UNAVAILABLE"
    # One that is shown opens nothing.
    pair = authority.issue_for("game")
    assert await reason(mesh, pair, service="gateway", method="GetBalance") == await reason(
        mesh, None, service="gateway", method="GetBalance"
    )
    assert await reason(mesh, None, service="gateway", method="ListGames", plaintext=True) == "UNAVAILABLE"


async def test_behind_an_ingress_rest_is_plain_and_grpc_shows_the_gateway_s_certificate(
    mesh: Mesh, authority: Authority
) -> None:
    assert mesh.tls is not None
    # With REELMESH_TLS_PATH alone.
    await asyncio.to_thread(mesh.restart, "gateway", environment={"REELMESH_GATEWAY_TLS_CERT_PATH": ""})
    try:
        ports, own = mesh.ports("gateway"), mesh.tls.of("gateway")
        assert await serial(ports.grpc, mesh.tls.ca_file, own) == serial_of(own)
        for pair in (None, authority.issue_for("game")):
            assert await reason(mesh, pair, service="gateway", method="ListGames") == ""
        plain = {"service": "gateway", "method": "ListGames", "plaintext": True}
        assert await told_to(mesh, None, plain) == "UNAVAILABLE"
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"http://127.0.0.1:{ports.rest}/v1/games")).status_code == 200
    finally:
        await asyncio.to_thread(mesh.restart, "gateway")


@pytest.mark.parametrize("service", SERVICES)
async def test_health_and_reflection_are_plaintext_on_the_admin_port(mesh: Mesh, service: str) -> None:
    assert mesh.serving(service)
    options = [("grpc.enable_http_proxy", 0)]
    target = f"127.0.0.1:{mesh.ports(service).admin}"
    async with grpc.aio.insecure_channel(target, options=options) as channel:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)  # type: ignore[no-untyped-call]
        asked = reflection_pb2.ServerReflectionRequest(list_services="*")
        async for answer in stub.ServerReflectionInfo(iter([asked]), timeout=10.0):
            listed = {one.name for one in answer.list_services_response.service}
            break
    assert identity.call_graph()[service].grpc_service in listed


async def test_how_long_certificates_are_valid_is_a_metric(mesh: Mesh, received: Received) -> None:
    name = "reelmesh.tls.certificate.validity"
    declared = contract().metrics[name]

    def told() -> dict[str, float]:
        return {
            service: point.as_double
            for service, metric in received.metrics
            if metric.name == name and metric.unit == declared.unit
            for point in metric.gauge.data_points
        }

    await until(lambda: told().keys() == set(SERVICES))
    assert all(0 < validity_s <= 24 * 3600 for validity_s in told().values())


def test_commands_find_the_certificates_of_the_mesh_here(mesh: Mesh) -> None:
    url, verify = mesh.rest_url(), reach.trusted(mesh.directory)
    assert url == reach.rest_url(mesh.directory, mesh.ports("gateway").rest)
    keys_path, said = mesh.directory / "keys.json", io.StringIO()
    console = Console(file=said, width=200)
    shared: dict[str, Any] = {"rest_url": url, "api_key": API_KEY, "verify": verify}
    play(console, spins=4, players=2, traces_url=NOBODY, **shared)
    [[round_id]] = asyncio.run(
        Books(mesh.database_urls).rows("game", "select cast(round_id as text) from round limit 1")
    )
    assert explain(console, round_id=round_id, traces_url=NOBODY, replay=False, **shared)
    targets = {service: f"dns:///127.0.0.1:{mesh.ports(service).grpc}" for service in INTERNAL}
    of_dev: dict[str, Any] = {"keys_path": keys_path, "operator_id": "dev"}
    review(console, None, game_target=targets["game"], wallet_target=targets["wallet"], **of_dev)
    stuck(console, target=targets["wallet"], call="", action="", actor="", reason="", **of_dev)
    nothing: dict[str, Any] = {"webhook_id": "", "action": "", "url": "", "event_types": "", "environ": {}}
    webhooks(console, target=targets["events"], **nothing, **of_dev)
    for answer in ("no round waits for a person", "call to its wallet is answered", "0 webhooks of dev"):
        assert answer in said.getvalue()


def test_the_conformance_kit_calls_with_certificates(mesh: Mesh) -> None:
    assert mesh.tls is not None
    # A stake without a credential, a replay, a rollback in game's name, an overdraft in a race.
    cases = [option for number in ("3", "31", "39", "F6") for option in ("--case", number)]
    command = ["-m", "reelmesh.conformance", f"127.0.0.1:{mesh.ports('wallet').grpc}", *cases]
    keys = ["--keys-file", str(mesh.directory / "keys.json")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((".", "gen", "stubs"))}
    codes = []
    for options in ([], ["--mtls", str(mesh.tls.path)]):
        done = subprocess.run(
            [sys.executable, *command, *keys, *options],
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        codes.append(done.returncode)
    assert codes == [2, 0] and "3 ok, 0 failed, 1 skipped" in done.stdout, done.stdout + done.stderr
