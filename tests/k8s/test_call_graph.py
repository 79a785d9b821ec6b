"""services/call_graph.yaml is what the code does: each call of the source is allowed, and no more."""

import ast
import importlib
import re
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

import pytest

from services.common import client, identity
from services.common.errors import CallerForbidden
from services.common.identity import call_graph
from services.gateway import back_office
from tests.k8s.manifests import ROOT, SERVICES
from tools import call_graph as made

Call = tuple[str, str, str]

RPCS = {name for service in call_graph().values() for name in service.methods}
# In whose name a source calls. Commands do it in the gateway's: make reconcile, make review.
CALL_AS = {
    **{f"services/{service}": service for service in SERVICES},
    "services/reconciliation": "gateway",
    "deploy/local/review.py": "gateway",
}
# What is no stub, though it has an attribute that is an RPC's name.
NO_STUBS = {("services/gateway", "messages")}
# Of each, the code calls the twin that takes many; the contract keeps both (R12).
UNARY = {
    ("gateway", "session", "Authorize"),
    ("gateway", "game", "Play"),
    ("gateway", "wallet", "Settle"),
    ("game", "wallet", "Void"),
}


def sources(folder: str) -> list[Path]:
    """The files of a folder, or the one that is named."""
    path = ROOT / folder
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def receiver(node: ast.expr) -> str:
    """What a call is made on: `wallet` of `self._stubs.wallet.Settle`."""
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name.lstrip("_")


def calls_in(path: Path, folder: str) -> Iterator[tuple[str, str]]:
    """(callee, RPC) of each attribute that is the name of an RPC."""
    text = path.read_text()
    # In a file of one peer the stub needs no name of its own.
    typed = {name.lower() for name in re.findall(r"\b(\w+?)ServiceAsyncStub", text)}
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Attribute) or node.attr not in RPCS:
            continue
        on = receiver(node.value)
        if on == "stub" and len(typed) == 1:
            [on] = typed
        if on in call_graph():
            yield on, node.attr
        else:
            assert (folder, on) in NO_STUBS, f"{path}:{node.lineno}: whose is {on}.{node.attr}?"


@cache
def called() -> frozenset[Call]:
    """(caller, callee, RPC) of the whole source."""
    found = set()
    for folder, caller in CALL_AS.items():
        for path in sources(folder):
            found |= {(caller, *call) for call in calls_in(path, folder)}
            if "import Relay" in path.read_text():
                relayed = calls_in(ROOT / "services/common/outbox.py", "services/common")
                found |= {(caller, *call) for call in relayed}
    # The one place where stub and method are looked up by name.
    carried = back_office._CARRIED.items()
    return frozenset(found | {("gateway", service, rpc or name) for name, (service, rpc) in carried})


def allowed() -> set[Call]:
    """The same, of the file; without the public's."""
    return {
        (caller, callee, name)
        for callee, service in call_graph().items()
        for name, method in service.methods.items()
        for caller in method.callers - {identity.PUBLIC}
    }


def test_each_call_of_the_source_is_allowed() -> None:
    assert len(called()) > 50
    assert called() <= allowed()


def test_nothing_else_is_allowed() -> None:
    """Who may call what it never calls could do harm with it once taken over."""
    assert allowed() - called() == UNARY
    for caller, callee, rpc in UNARY:
        assert (caller, callee, f"Batch{rpc}") in called()


def test_stubs_are_looked_up_by_name_in_one_place_only() -> None:
    places = {
        path.name
        for folder in CALL_AS
        for path in sources(folder)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr"
        if "stub" in ast.unparse(node.args[0])
    }
    # The other one speaks to an operator's own wallet, which is none of the mesh.
    assert places == {"back_office.py", "operator_wallet.py"}


def test_a_call_that_the_file_does_not_list_is_found(tmp_path: Path) -> None:
    source = tmp_path / "rules.py"
    source.write_text("async def give_back(self, ask):\n    await self._stubs.wallet.Void(ask)\n")
    assert set(calls_in(source, "services/gateway")) == {("wallet", "Void")}
    assert ("gateway", "wallet", "Void") not in allowed()
    source.write_text("async def give_back(peer, ask):\n    await peer.Void(ask)\n")
    with pytest.raises(AssertionError, match=r"whose is peer\.Void"):
        list(calls_in(source, "services/gateway"))


def test_each_service_asks_for_the_stubs_of_those_it_calls() -> None:
    for service in SERVICES:
        root = (ROOT / "services" / service / "__main__.py").read_text()
        asked = re.findall(r'runtime\.stub\("(\w+)"', root)
        assert set(asked) == set(made.callees(service)), service


# What is made from the file, or read from it


def test_the_table_of_the_architecture_is_made_from_the_file() -> None:
    assert made.ARCHITECTURE.read_text() == made.architecture()


def test_the_table_names_every_caller_callee_and_method() -> None:
    rows = [line.strip("| ").split(" | ") for line in made.table().splitlines()[2:]]
    told = {
        (caller, callee, name)
        for caller, callee, cells in rows
        for cell in cells.split(" · ")
        for name in cell.partition(": ")[2].split(", ")
    }
    public = {(identity.PUBLIC, "gateway", name) for name in call_graph()["gateway"].methods}
    assert told == allowed() | public


def test_the_server_lets_in_who_is_listed_and_nobody_else() -> None:
    key = "a-key-for-tests-only"
    for callee, service in call_graph().items():
        for name in service.methods:
            path = f"/{service.grpc_service}/{name}"
            let_in = set()
            for caller in SERVICES:
                token = identity.sign(caller, key, 60)
                try:
                    who = identity.authorize(path, partial(identity.verify, token, key)).service
                except CallerForbidden:
                    continue
                let_in |= {caller} if who == caller else set()
            assert let_in == {caller for caller, of, rpc in allowed() if (of, rpc) == (callee, name)}


async def test_a_client_takes_its_deadlines_from_the_file_and_the_channel_sets_none() -> None:
    assert "timeout" not in str(client.SERVICE_CONFIG)
    for callee, service in call_graph().items():
        module = importlib.import_module(f"reelmesh.{callee}.v1.{callee}_pb2_grpc")
        stub_type = getattr(module, f"{service.grpc_service.rpartition('.')[2]}Stub")
        # Of requests only the public has a stream; services call with none.
        channel = client.GuardedChannel("dns:///127.0.0.1:1", caller="game", identity_key="a-key")
        if callee != "gateway":
            stub = channel.stub(stub_type)
            for name, method in service.methods.items():
                assert getattr(stub, name)._deadline_s == method.deadline_ms / 1000
        await channel.close()


def test_no_service_opens_a_channel_past_the_guarded_one() -> None:
    """Nor past what renews it; but the wallet to an operator's own, which is none of the mesh."""
    opened = re.compile(r"grpc\.(?:aio\.)?(?:in)?secure_channel\(")
    places = {
        str(path.relative_to(ROOT / "services"))
        for path in (ROOT / "services").rglob("*.py")
        if opened.search(path.read_text())
    }
    assert places == {"common/client.py", "mtls/channel.py", "wallet/external/operator_wallet.py"}
