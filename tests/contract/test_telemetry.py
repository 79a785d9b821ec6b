"""The telemetry contract: what is made from it is current, it refuses what it must, no name hides."""

import ast
import re
from pathlib import Path

import msgspec
import pytest

from tools import telemetry_contract
from tools.telemetry_contract import CONVENTIONS, OURS, ROOT, Contract, contract

# What reads like one: the namespaces of the conventions that we use, and ours.
_NAME = re.compile(
    r"(reelmesh|rpc|db|http|url|server|client|network|error|messaging|service|process|otel)(\.[a-z_]+)+"
)
RPC = {"rpc.system.name": "grpc", "rpc.method": "reelmesh.wallet.v1.WalletService/Settle"}
CALL = {**RPC, "rpc.response.status_code": "OK"}


@pytest.mark.parametrize("path", telemetry_contract.made(), ids=lambda path: path.name)
def test_what_is_made_from_the_contract_is_current(path: Path) -> None:
    assert path.read_text() == telemetry_contract.made()[path], "run `make telemetry`"


# It imports nothing of ours; tests/unit/mtls holds its one name equal.
ALONE = ROOT / "services/mtls/certificates.py"


def changed(**parts: object) -> Contract:
    """The contract with other parts."""
    return msgspec.structs.replace(contract(), **parts)


def test_no_metric_may_carry_what_grows_with_use() -> None:
    assert not contract().problems()
    for name, key in (
        ("rpc.server.call.duration", "reelmesh.round.id"),
        ("reelmesh.spin.refused", "reelmesh.draw.hash"),
    ):
        metric = contract().metrics[name]
        labelled = msgspec.structs.replace(metric, attributes={**metric.attributes, key: "required"})
        found = changed(metrics={**contract().metrics, name: labelled}).problems()
        assert found == [f"metric {name}: {key} is of high cardinality"]


def test_ids_are_declared_to_grow_with_use() -> None:
    # No key of a player, session, account, request or amount is declared at all.
    for key, attribute in contract().attributes.items():
        parts = set(re.split(r"[._]", key))
        assert not parts & {
            "player",
            "session",
            "account_id",
            "request_id",
            "amount",
            "balance",
            "stake",
            "token",
        }
        if parts >= {"id"} and not parts & {"operator", "game"}:
            assert attribute.cardinality == "high", key


def test_what_is_used_is_declared_and_what_is_declared_is_used() -> None:
    attributes = dict(contract().attributes)
    del attributes["error.type"]
    assert "span {rpc.method}: error.type is not declared" in changed(attributes=attributes).problems()
    attributes = {**contract().attributes, "reelmesh.tide": contract().attributes["error.type"]}
    assert changed(attributes=attributes).problems() == ["reelmesh.tide is used nowhere"]


@pytest.mark.parametrize(
    ("name", "kind", "attributes", "problem"),
    [
        (RPC["rpc.method"], "SERVER", CALL, None),
        (RPC["rpc.method"], "SERVER", {**CALL, "enduser.id": "ada"}, "enduser.id is not declared"),
        (RPC["rpc.method"], "SERVER", RPC, "rpc.response.status_code is missing"),
        (RPC["rpc.method"], "SERVER", {**CALL, "rpc.response.status_code": "0"}, "status_code is '0'"),
        (RPC["rpc.method"], "SERVER", {**CALL, "reelmesh.idempotency.replayed": 1}, "replayed is 1"),
        ("Settle", "SERVER", CALL, "no such span"),
        (RPC["rpc.method"], "CONSUMER", CALL, "no such span"),
        ("relay", "PRODUCER", {}, "messaging.system is missing"),
        ("batch wallet.tip", "INTERNAL", {"reelmesh.batch.size": 1}, "no such span"),
    ],
)
def test_a_span_that_differs_is_found(
    name: str, kind: str, attributes: dict[str, object], problem: str | None
) -> None:
    found = contract().wrong_span(name, kind, attributes)
    assert (problem in found[0]) if problem else not found


def names_in(source: str) -> set[str]:
    """Literals that read like a name of the contract, docstrings aside."""
    found = {
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    declared = contract().attributes.keys() | contract().metrics.keys()
    return {text for text in found if text in declared or _NAME.fullmatch(text)}


def test_names_are_written_in_the_made_modules_only() -> None:
    assert names_in('span.set_attribute("reelmesh.tide", 1)') == {"reelmesh.tide"}
    written = {
        str(path.relative_to(ROOT)): names
        for folder in ("services", "deploy")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path not in (CONVENTIONS, OURS, ALONE) and (names := names_in(path.read_text()))
    }
    assert not written
