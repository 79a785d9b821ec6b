"""components/gateway-api: what is reached from outside, by which name, and nothing else."""

import json
from pathlib import Path

import pytest
from reelmesh.gateway.v1 import gateway_pb2

from services.common.identity import call_graph
from tests.k8s.manifests import ROOT, of_kind
from tests.k8s.network import Peer, allows
from tests.k8s.overlays import overlay

OPENAPI = ROOT / "services/gateway/edge/openapi.json"
HOME = {"kubernetes.io/metadata.name": "reelmesh"}

both = pytest.mark.parametrize("name", ["staging", "production"])


@both
def test_each_route_has_a_listener_of_its_kind_and_host(name: str) -> None:
    [gateway] = of_kind(overlay(name), "Gateway").values()
    listeners = {each["name"]: each for each in gateway["spec"]["listeners"]}
    hosts = set()
    for kind in ("HTTPRoute", "GRPCRoute"):
        [route] = of_kind(overlay(name), kind).values()
        [parent] = route["spec"]["parentRefs"]
        listener = listeners[parent["sectionName"]]
        assert parent["name"] == gateway["metadata"]["name"]
        assert [each["kind"] for each in listener["allowedRoutes"]["kinds"]] == [kind]
        assert route["spec"]["hostnames"] == [listener["hostname"]]
        assert listener["protocol"] == "HTTPS" and listener["tls"]["mode"] == "Terminate"
        hosts.add(listener["hostname"])
    # Two kinds of routes on one host are refused by the specification.
    assert len(hosts) == 2


@both
def test_backends_are_ports_of_the_gateway(name: str) -> None:
    ports = {
        each["name"]: each["port"] for each in of_kind(overlay(name), "Service")["gateway"]["spec"]["ports"]
    }
    wanted = {"HTTPRoute": ports["rest"], "GRPCRoute": ports["grpc"]}
    for kind, port in wanted.items():
        [route] = of_kind(overlay(name), kind).values()
        for rule in route["spec"]["rules"]:
            assert [(each["name"], each["port"]) for each in rule["backendRefs"]] == [("gateway", port)]


def matched(path: str) -> bool:
    """Whether some rule of the HTTPRoute takes it."""
    [route] = of_kind(overlay("production"), "HTTPRoute").values()
    for rule in route["spec"]["rules"]:
        for match in rule["matches"]:
            value, kind = match["path"]["value"], match["path"]["type"]
            if path == value or (kind == "PathPrefix" and path.startswith(f"{value}/")):
                return True
    return False


def test_every_path_of_the_api_is_routed_and_the_page_is_not() -> None:
    paths = json.loads(find_openapi().read_text())["paths"]
    assert len(paths) > 20
    for path in paths:
        assert matched(path), path
    assert matched("/v1/ws") and matched("/openapi.json")
    for path in ("/", "/play", "/docs", "/v1x", "/metrics"):
        assert not matched(path), path


def find_openapi() -> Path:
    """The API's document, wherever the gateway keeps it."""
    [found] = [path for path in (ROOT / "services").rglob("openapi.json")]
    return found


def test_the_only_grpc_service_outside_is_the_gateways() -> None:
    [route] = of_kind(overlay("production"), "GRPCRoute").values()
    services = [match["method"]["service"] for rule in route["spec"]["rules"] for match in rule["matches"]]
    assert services == [call_graph()["gateway"].grpc_service]
    assert services[0] in {each.full_name for each in gateway_pb2.DESCRIPTOR.services_by_name.values()}


def test_the_proxy_outlasts_the_gateway_and_leaves_websockets_alone() -> None:
    [route] = of_kind(overlay("production"), "HTTPRoute").values()
    timeouts = {
        match["path"]["value"]: rule["timeouts"]["request"]
        for rule in route["spec"]["rules"]
        for match in rule["matches"]
    }
    assert timeouts.pop("/v1/ws") == "0s"
    longest_ms = max(
        method.deadline_ms
        for name, method in call_graph()["gateway"].methods.items()
        if name not in ("Play", "SubscribeEvents")
    )
    assert all(int(each.removesuffix("s")) * 1000 > longest_ms for each in timeouts.values())


@both
def test_behind_the_proxy_it_is_tls_again_and_verified(name: str) -> None:
    [policy] = of_kind(overlay(name), "BackendTLSPolicy").values()
    [target] = policy["spec"]["targetRefs"]
    assert (target["kind"], target["name"]) == ("Service", "gateway")
    names = of_kind(overlay(name), "Certificate")["gateway-tls"]["spec"]["dnsNames"]
    assert policy["spec"]["validation"]["hostname"] in names
    for config in of_kind(overlay(name), "ConfigMap").values():
        if "REELMESH_GATEWAY_REST_PORT" in config["data"]:
            assert config["data"]["REELMESH_GATEWAY_TLS_CERT_PATH"] == "/tls/tls.crt"
            assert config["data"]["REELMESH_GATEWAY_TLS_KEY_PATH"] == "/tls/tls.key"


def test_only_the_proxies_reach_the_gateway_and_only_its_ports() -> None:
    proxy = Peer({"app": "envoy"}, {"kubernetes.io/metadata.name": "envoy-gateway-system"})
    labels = {"app.kubernetes.io/name": "gateway", "app.kubernetes.io/component": "server"}
    gateway = Peer(labels, HOME)
    for port in (8080, 50051):
        assert allows(overlay("production"), proxy, gateway, port)
        for other in (Peer({"app": "x"}, HOME), Peer(address="203.0.113.7"), Peer({}, {"a": "b"})):
            assert not allows(overlay("production"), other, gateway, port)
    assert not allows(overlay("production"), proxy, gateway, 50052)
    wallet = {"app.kubernetes.io/name": "wallet", "app.kubernetes.io/component": "server"}
    assert not allows(overlay("production"), proxy, Peer(wallet, HOME), 50051)
