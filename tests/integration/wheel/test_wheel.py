"""The wheel as a stranger has it: installed where the repository is not, calling a mesh and a bad peer."""

import asyncio
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from deploy.local.mesh import Mesh
from services.common import identity
from tests.conformance.operator_wallet import OperatorWallet
from tests.conformance.operator_wallet import serving as serving_operator
from tests.integration.wheel.authority import Authority
from tests.integration.wheel.environment import PROGRAM, Environment
from tests.integration.wheel.peer import Peer, serving
from tests.mesh.stage import Stage
from tests.meshes import API_KEY
from tools import wheel as wheels

PATH = "/reelmesh.wallet.v1.WalletService/GetAccount"
DEADLINE_S = identity.methods()[PATH].deadline_ms / 1000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheels.build(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = Environment(tmp_path_factory.mktemp("environment"))
    environment.install(wheel)
    return environment


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def service_token(mesh: Mesh, service: str) -> str:
    """Says "I am that service" to the others of this mesh."""
    keys = json.loads((mesh.directory / "keys.json").read_text())
    return identity.sign(service, keys["identity_key"], 60)


async def test_reelmesh_comes_from_the_wheel_and_from_nowhere_else(environment: Environment) -> None:
    program = "import reelmesh.client as c, reelmesh.wallet.v1 as w; print(c.__file__, *w.__path__)"
    for path in (await environment.run("-c", program)).split():
        assert Path(path).is_relative_to(environment.python.parents[1])
    with pytest.raises(AssertionError, match="No module named 'services'"):
        await environment.run("-c", "import services")


def test_the_wheel_requires_what_its_stubs_were_generated_for(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = archive.read(name).decode()
        stub = archive.read("reelmesh/wallet/v1/wallet_pb2_grpc.py").decode()
        messages = archive.read("reelmesh/wallet/v1/wallet_pb2.py").decode()
        assert {"reelmesh/py.typed", "reelmesh/wallet/v1/wallet_pb2.pyi"} <= set(archive.namelist())
    assert f"Version: {wheels.version()}\n" in metadata
    [grpc_version] = re.findall(r"GRPC_GENERATED_VERSION = '(.*)'", stub)
    assert f"Requires-Dist: grpcio>={grpc_version}\n" in metadata
    [protobuf_version] = re.findall(r"# Protobuf Python Version: (.*)", messages)
    assert re.search(rf"Requires-Dist: protobuf(<8,)?>={re.escape(protobuf_version)}\b", metadata)


def test_a_type_checker_sees_the_types_of_the_stubs(environment: Environment, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "from reelmesh.client import connect\n"
        "from reelmesh.wallet.v1.wallet_pb2 import GetAccountRequest, VoidRequest\n"
        "async def main() -> None:\n"
        "    async with connect('wallet', 'localhost:7102', credential='') as wallet:\n"
        "        answer = await wallet.GetAccount(GetAccountRequest(), timeout=1)\n"
        "        reveal_type(answer.account.balance.amount_minor)\n"
        "        wallet.GetAccount(VoidRequest())\n"
        "    connect('walet', 'localhost:7102')\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir=cache"]
    command += ["--python-executable", str(environment.python), "program.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    found = re.findall(r"^program.py:(\d+): (?:.*\"(int)\"|error: .*\[(.*)\])$", done.stdout, re.MULTILINE)
    assert found == [("6", "int", ""), ("7", "", "arg-type"), ("8", "", "call-overload")], done.stdout


@pytest.mark.parametrize("request_", ["dict", "nothing", "other"])
async def test_a_wrong_message_is_refused_before_it_is_sent(environment: Environment, request_: str) -> None:
    async with serving(Peer()) as peer:
        told = await environment.call("get_account", target=peer.target, request=request_)
    assert told["type_error"].startswith(f"{PATH} takes GetAccountRequest, not ")
    assert not peer.asked


async def test_without_the_guard_a_wrong_message_arrives_empty_and_is_answered(
    environment: Environment,
) -> None:
    async with serving(Peer()) as peer:
        told = await environment.call("get_account_unguarded", target=peer.target, request="nothing")
    assert "answer" in told and [asked.request.account_id for asked in peer.asked] == [0]


async def test_a_call_has_the_deadline_of_its_method(environment: Environment) -> None:
    async with serving(Peer()) as peer:
        assert "answer" in await environment.call("get_account", target=peer.target)
        assert "answer" in await environment.call("get_account", target=peer.target, timeout=30)
        # Without connect() a call waits for ever.
        assert "answer" in await environment.call("get_account_unguarded", target=peer.target)
    own, longer, none = (asked.left_s for asked in peer.asked)
    assert own is not None and 0 < own <= DEADLINE_S
    assert longer is not None and DEADLINE_S < longer <= 30
    assert none is None


async def test_a_silent_service_is_deadline_exceeded(environment: Environment) -> None:
    async with serving(Peer(silent=True)) as peer:
        told = await environment.call("get_account", target=peer.target, timeout=0.2)
    assert (told["reason"], told["class"]) == ("DEADLINE_EXCEEDED", "RETRY_SAME_ID")
    assert told["code"] == "DEADLINE_EXCEEDED"


async def test_a_cancelled_call_is_cancelled_at_the_service(environment: Environment) -> None:
    async with serving(Peer(silent=True)) as peer:
        process = await environment.start(str(PROGRAM), "cancel", json.dumps({"target": peer.target}))
        await asyncio.wait_for(peer.was_asked.wait(), 30)
        output, _ = await process.communicate(b"\n")
        await asyncio.wait_for(peer.was_cancelled.wait(), 30)
    assert json.loads(output) == "cancelled"


async def test_an_unavailable_service_is_asked_three_times(environment: Environment) -> None:
    async with serving(Peer(failures=2)) as peer:
        assert "answer" in await environment.call("get_account", target=peer.target, timeout=30)
        assert len(peer.asked) == 3
    async with serving(Peer(failures=9)) as peer:
        told = await environment.call("get_account", target=peer.target, timeout=30)
        assert (told["reason"], told["class"], told["message"]) == ("UNAVAILABLE", "RETRY_SAME_ID", "not now")
        assert len(peer.asked) == 3


async def test_without_connect_an_unavailable_service_is_asked_once(environment: Environment) -> None:
    async with serving(Peer(failures=2)) as peer:
        told = await environment.call("get_account_unguarded", target=peer.target)
    assert (told, len(peer.asked)) == ({"code": "UNAVAILABLE"}, 1)


async def test_a_failure_without_a_reason_gets_the_nearest_one(environment: Environment) -> None:
    too_large = "SERVER: Received message larger than max (300000 vs. 262144)"
    cases = {
        ("CANCELLED", "", ""): ["UNAVAILABLE", "RETRY_SAME_ID", {}],
        ("UNIMPLEMENTED", "Method not found!", ""): ["INTERNAL", "RETRY_SAME_ID", {}],
        ("RESOURCE_EXHAUSTED", "", ""): ["OVERLOADED", "RETRY_SAME_ID", {"retry_after_ms": "100"}],
        ("RESOURCE_EXHAUSTED", too_large, ""): ["BODY_TOO_LARGE", "NOT_YET", {"size_bytes_max": "262144"}],
        # Of a service that is newer than the wheel.
        ("ABORTED", "", "MOON_IN_THE_WAY"): ["MOON_IN_THE_WAY", "RETRY_SAME_ID", {}],
    }
    assert await environment.call("failures", cases=list(cases)) == list(cases.values())


async def test_connect_names_what_it_does_not_take(environment: Environment) -> None:
    opening = "from reelmesh.client import Tls, connect; "
    with pytest.raises(AssertionError, match="no service 'walet'; there are events, game, gateway"):
        await environment.run("-c", opening + "connect('walet', 'localhost:1')")
    with pytest.raises(AssertionError, match="certificate_file and key_file go together"):
        await environment.run("-c", opening + "Tls(certificate_file='own.pem')")


@pytest.mark.tool("openssl")
async def test_tls_trusts_the_given_authority_and_no_other(
    environment: Environment, authority: Authority
) -> None:
    async with serving(Peer(), authority.server_credentials(require_client=False)) as peer:
        trusting = {"ca_file": str(authority.ca_file)}
        assert "answer" in await environment.call("get_account", target=peer.target, timeout=30, tls=trusting)
        others: tuple[dict[str, str] | None, ...] = ({}, None)
        for tls in others:
            told = await environment.call("get_account", target=peer.target, timeout=30, tls=tls)
            assert told["reason"] == "UNAVAILABLE"
    assert len(peer.asked) == 1


@pytest.mark.tool("openssl")
async def test_tls_shows_a_certificate_where_the_service_asks_for_one(
    environment: Environment, authority: Authority
) -> None:
    certificate, key = authority.issue("client")
    async with serving(Peer(), authority.server_credentials(require_client=True)) as peer:
        tls = {"ca_file": str(authority.ca_file)}
        told = await environment.call("get_account", target=peer.target, timeout=30, tls=tls)
        assert told["reason"] == "UNAVAILABLE"
        tls |= {"certificate_file": str(certificate), "key_file": str(key)}
        assert "answer" in await environment.call("get_account", target=peer.target, timeout=30, tls=tls)
    assert len(peer.asked) == 1


async def test_the_wallet_of_a_mesh_answers_its_callers(mesh: Mesh, environment: Environment) -> None:
    target, token = mesh.target("wallet"), service_token(mesh, "gateway")
    account_id = await environment.call("open_account", target=target, identity=token)
    told = await environment.call("get_account", target=target, account_id=account_id, identity=token)
    assert f"account_id: {account_id}" in told["answer"]
    told = await environment.call("get_account", target=target, account_id=10**12, identity=token)
    assert (told["reason"], told["class"], told["code"]) == ("ACCOUNT_NOT_FOUND", "NOT_YET", "NOT_FOUND")
    told = await environment.call("get_account", target=target, identity=service_token(mesh, "game"))
    assert told["reason"] == "CALLER_FORBIDDEN"
    assert told["metadata"] == {"caller": "game", "method": PATH}
    told = await environment.call("get_account", target=target)
    assert told["reason"] == "CALLER_UNKNOWN"


async def test_its_conformance_command_passes_the_wallet_of_a_mesh(
    mesh: Mesh, environment: Environment
) -> None:
    command = str(environment.python.with_name("reelmesh-conformance"))
    target, keys = f"127.0.0.1:{mesh.ports('wallet').grpc}", str(mesh.directory / "keys.json")
    told = await environment.run(command, target, "--keys-file", keys)
    assert told.startswith(f"wallet at {target}: new demo players conformance-... of operator conformance;")
    assert re.search(r"^[34]\d ok, 0 failed, \d+ skipped$", told, re.MULTILINE)


@pytest.mark.tool("openssl")
async def test_the_command_of_its_page_passes_an_operator_s_wallet(
    environment: Environment, authority: Authority, tmp_path: Path
) -> None:
    page = (wheels.ROOT / "docs/conformance.md").read_text().replace("\\\n", " ")
    [token] = re.findall(r"export REELMESH_TOKEN=(.*)", page)
    [line] = re.findall(r"^ *reelmesh-conformance (.*)$", page, re.MULTILINE)
    async with serving_operator(
        OperatorWallet(), authority.server_credentials(require_client=False)
    ) as target:
        line = line.replace("localhost:7443", target).replace("ca.pem", str(authority.ca_file))
        line = line.replace("conformance.", f"{tmp_path}/conformance.")
        command = str(environment.python.with_name("reelmesh-conformance"))
        told = await environment.run(command, *line.split(), "--token", token)
    assert " 0 failed, " in told.splitlines()[-1]
    cases = json.loads((tmp_path / "conformance.json").read_text())["cases"]
    assert len(cases) == 64 and (tmp_path / "conformance.xml").exists()


async def test_a_refusal_tells_reason_class_metadata_and_trace(mesh: Mesh, environment: Environment) -> None:
    told = await environment.call("overdraw", target=mesh.target("gateway"), credential=API_KEY)
    assert (told["reason"], told["class"]) == ("INSUFFICIENT_FUNDS", "FINAL")
    assert told["code"] == "FAILED_PRECONDITION"
    assert told["metadata"] == {"balance_minor": "100", "currency_code": "EUR"}
    assert re.fullmatch("[0-9a-f]{32}", told["trace_id"])
    assert told["text"].startswith("INSUFFICIENT_FUNDS, FINAL: ") and told["trace_id"] in told["text"]


async def test_a_call_may_carry_a_credential_of_its_own(mesh: Mesh, environment: Environment) -> None:
    target = mesh.target("gateway")
    told = await environment.call("overdraw", target=target, credential=API_KEY, own_credential="rk_other")
    assert told["reason"] == "API_KEY_INVALID"


async def test_given_a_secret_it_signs_every_call(mesh: Mesh, environment: Environment) -> None:
    stage = Stage(mesh)
    key = await stage.key(signed=True)
    await stage.close()
    target = mesh.target("gateway")
    for secret, reason in (
        (key.secret, "INSUFFICIENT_FUNDS"),
        ("rs_other", "SIGNATURE_INVALID"),
        ("", "SIGNATURE_MISSING"),
    ):
        arguments = {"target": target, "credential": key.api_key, "signing_secret": secret}
        if reason == "INSUFFICIENT_FUNDS":
            assert (await environment.call("overdraw", **arguments))["reason"] == reason
        else:
            # Already the deposit is refused, which the program does not expect.
            with pytest.raises(AssertionError, match=reason):
                await environment.call("overdraw", **arguments)


async def test_a_feed_is_opened_with_the_credential_and_signed(mesh: Mesh, environment: Environment) -> None:
    stage = Stage(mesh)
    key = await stage.key(signed=True)
    await stage.close()
    target = mesh.target("gateway")
    await environment.call("overdraw", target=target, credential=API_KEY)
    assert await environment.call("follow", target=target, credential=API_KEY) == {
        "answer": "transfer.applied"
    }
    signed = {"target": target, "credential": key.api_key}
    told = await environment.call("follow", **signed, signing_secret=key.secret)
    assert told == {"answer": "transfer.applied"}
    told = await environment.call("follow", **signed)
    assert (told["reason"], told["class"]) == ("SIGNATURE_MISSING", "NOT_YET")
    told = await environment.call("follow", target=target, credential=API_KEY, request="dict")
    assert told["type_error"].endswith("/SubscribeEvents takes SubscribeEventsRequest, not dict")


async def test_a_stream_of_spins_is_opened_with_the_credential(mesh: Mesh, environment: Environment) -> None:
    target = mesh.target("gateway")
    token = await environment.call("launch", target=target, credential=API_KEY)
    assert await environment.call("play", target=target, credential=token) == {"answer": "1 spin"}
    told = await environment.call("play", target=target, credential="st_other")
    assert (told["reason"], told["class"]) == ("TOKEN_INVALID", "NOT_YET")


async def test_each_attempt_of_a_signed_call_is_signed_anew(environment: Environment) -> None:
    async with serving(Peer(failures=2)) as peer:
        arguments = {"target": peer.target, "timeout": 30, "signing_secret": "rs_x"}
        assert "answer" in await environment.call("get_account", **arguments)
    nonces = {asked.metadata["reelmesh-nonce"] for asked in peer.asked}
    assert len(peer.asked) == len(nonces) == 3
    async with serving(Peer(failures=9)) as peer:
        told = await environment.call("get_account", **(arguments | {"target": peer.target}))
        assert (told["reason"], len(peer.asked)) == ("UNAVAILABLE", 3)


async def test_the_snippet_of_its_readme_plays_a_spin(mesh: Mesh, environment: Environment) -> None:
    [snippet] = re.findall(r"```python\n(.*?)```", (wheels.ROOT / "stubs/README.md").read_text(), re.DOTALL)
    address = f"127.0.0.1:{mesh.ports('gateway').grpc}"
    program = snippet.replace("localhost:8081", address).replace("rk_...", API_KEY)
    assert "state: ROUND_STATE_SETTLED" in await environment.run("-c", program)
