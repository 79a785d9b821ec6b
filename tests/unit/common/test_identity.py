"""Service tokens, and the table of who may call what."""

import importlib

import pytest

from services.common import identity
from services.common.errors import CallerForbidden, CallerUnknown, DomainError

KEY = "a-key-for-tests-only"


def token_of(service: str, ttl_s: float = 60) -> str:
    return identity.sign(service, KEY, ttl_s)


def authorize(path: str, token: str) -> identity.Caller:
    return identity.authorize(path, lambda: identity.verify(token, KEY))


def path_of(service: str, method: str) -> str:
    return f"/{identity.call_graph()[service].grpc_service}/{method}"


def test_a_token_names_its_service() -> None:
    assert identity.verify(token_of("game"), KEY) == ("game", "")
    signed = identity.sign("game", KEY, 60, instance="game-7f.9")
    assert identity.verify(signed, KEY) == ("game", "game-7f.9")


@pytest.mark.parametrize(
    "token",
    [
        "",
        "game",
        "..",
        "game.9999999999.",
        identity.sign("game", "another-key-entirely", 60),
        identity.sign("game", KEY, -1),
        identity.sign("game", KEY, 60).replace("game", "gateway"),
        identity.sign("game", KEY, 60)[:-1],
        "gäme.9999999999.00",
    ],
)
def test_a_forged_expired_or_malformed_token_names_nobody(token: str) -> None:
    with pytest.raises(CallerUnknown):
        identity.verify(token, KEY)


def test_the_table_lists_exactly_the_methods_of_the_contract() -> None:
    for name, service in identity.call_graph().items():
        module = importlib.import_module(f"reelmesh.{name}.v1.{name}_pb2")
        descriptor = module.DESCRIPTOR.services_by_name[service.grpc_service.rpartition(".")[2]]
        assert descriptor.full_name == service.grpc_service
        assert set(descriptor.methods_by_name) == set(service.methods)


# Answers without end: no hop waits for them.
STREAMS = {
    path_of("events", "Subscribe"),
    path_of("gateway", "SubscribeEvents"),
    path_of("gateway", "Play"),
}


def test_few_methods_are_streams_and_none_but_the_public_one_of_requests() -> None:
    streams, asking = set(), set()
    for name, service in identity.call_graph().items():
        module = importlib.import_module(f"reelmesh.{name}.v1.{name}_pb2")
        descriptor = module.DESCRIPTOR.services_by_name[service.grpc_service.rpartition(".")[2]]
        asking |= {path_of(name, method.name) for method in descriptor.methods if method.client_streaming}
        streams |= {path_of(name, method.name) for method in descriptor.methods if method.server_streaming}
    assert streams == STREAMS
    assert asking == {path_of("gateway", "Play")}


def test_callers_are_services_or_the_public_and_only_the_gateway_is_public() -> None:
    for name, service in identity.call_graph().items():
        for method in service.methods.values():
            if name == "gateway":
                assert method.callers == {identity.PUBLIC}
            else:
                assert method.callers and method.callers <= identity.call_graph().keys()


@pytest.mark.parametrize("method", ["Void", "BatchVoid", "RollbackRound", "GetSettlements"])
@pytest.mark.parametrize("caller", ["gateway", "session", "events", "wallet", "public", "nobody"])
def test_only_game_may_void_roll_back_or_ask_for_settlements(method: str, caller: str) -> None:
    path = path_of("wallet", method)
    assert authorize(path, token_of("game")).service == "game"
    with pytest.raises(CallerForbidden) as caught:
        authorize(path, token_of(caller))
    assert caught.value.metadata == {"caller": caller, "method": path}


def test_a_public_method_needs_no_token_and_trusts_none() -> None:
    assert authorize(path_of("gateway", "Spin"), "").service == identity.PUBLIC
    assert authorize(path_of("gateway", "Spin"), token_of("game")).service == identity.PUBLIC


@pytest.mark.parametrize("path", ["/reelmesh.wallet.v1.WalletService/Drain", "/other/Method", ""])
def test_a_method_outside_the_table_is_closed_to_everybody(path: str) -> None:
    with pytest.raises(DomainError):
        authorize(path, token_of("gateway"))


def test_a_hops_deadline_leaves_room_inside_its_callers() -> None:
    spin_ms = identity.methods()[path_of("gateway", "Spin")].deadline_ms
    # A report is nobody's hop: who asks for it waits.
    reports = {path_of(service, "GetDailyTotals") for service in ("gateway", "wallet")}
    for path, method in identity.methods().items():
        if path in reports | STREAMS:
            continue
        assert 0 < method.deadline_ms <= spin_ms, path
