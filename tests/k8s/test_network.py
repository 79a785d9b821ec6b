"""Who may open which connection, by the base's NetworkPolicies: what the call graph says, and no more."""

import copy
from itertools import product

import pytest

from services.common.identity import PUBLIC
from tests.k8s.manifests import BASE, SERVICES, Manifest, of_kind, pod_template, render, workloads
from tests.k8s.network import Peer, allows
from tools.call_graph import GRPC_PORT, REST_PORT, callees, callers, network_policy

OURS = {"kubernetes.io/metadata.name": "reelmesh"}
OTHER = {"kubernetes.io/metadata.name": "other"}
ADMIN_PORT, DATABASE_PORT, OTLP_PORT = 50052, 5432, 4318
COLLECTOR = Peer({"app.kubernetes.io/name": "otel-collector"}, OURS)
DNS = Peer({"k8s-app": "kube-dns"}, {"kubernetes.io/metadata.name": "kube-system"})
STRANGERS = {
    "a pod of the namespace": Peer({"app.kubernetes.io/name": "shell"}, OURS),
    "one that bears a service's name elsewhere": Peer({"app.kubernetes.io/name": "gateway"}, OTHER),
    "an address": Peer(address="203.0.113.7"),
}


@pytest.fixture(scope="module")
def manifests() -> list[Manifest]:
    """The rendered base."""
    return render(BASE)


def pods(manifests: list[Manifest]) -> dict[str, Peer]:
    """By the name of what makes them."""
    return {
        each["metadata"]["name"]: Peer(pod_template(each)["metadata"]["labels"], OURS)
        for each in workloads(manifests)
    }


def test_each_policy_file_is_made_from_the_call_graph() -> None:
    for service in SERVICES:
        assert (BASE / service / "network.yaml").read_text() == network_policy(service)


def test_services_reach_whom_they_call_and_nobody_else(manifests: list[Manifest]) -> None:
    found = pods(manifests)
    for caller, callee in product(found, SERVICES):
        # The door is open to all, but none of the mesh calls it.
        called = caller in SERVICES and callee in callees(caller)
        assert allows(manifests, found[caller], found[callee], GRPC_PORT) is called, (caller, callee)
        for port in (ADMIN_PORT, REST_PORT, DATABASE_PORT - 1):
            assert not allows(manifests, found[caller], found[callee], port), (caller, callee, port)


@pytest.mark.parametrize("who", STRANGERS)
def test_a_stranger_finds_the_door_only(manifests: list[Manifest], who: str) -> None:
    for name, pod in pods(manifests).items():
        public = name in SERVICES and PUBLIC in callers(name)
        for port in (GRPC_PORT, REST_PORT):
            assert allows(manifests, STRANGERS[who], pod, port) is public, (name, port)
        assert not allows(manifests, STRANGERS[who], pod, ADMIN_PORT)


def test_every_pod_reaches_names_and_its_database(manifests: list[Manifest]) -> None:
    for name, pod in pods(manifests).items():
        for protocol in ("TCP", "UDP"):
            assert allows(manifests, pod, DNS, 53, protocol), name
        for database in (
            Peer({"anything": "at all"}, OTHER),
            Peer(address="10.1.2.3"),
            Peer(address="fd00::7"),
        ):
            assert allows(manifests, pod, database, DATABASE_PORT), name
        assert not allows(manifests, pod, Peer(address="203.0.113.7"), DATABASE_PORT)
        assert not allows(manifests, pod, Peer({}, OTHER), 53)
        assert not allows(manifests, pod, Peer(address="169.254.169.254"), 80)


def test_servers_alone_tell_the_collector(manifests: list[Manifest]) -> None:
    for name, pod in pods(manifests).items():
        assert allows(manifests, pod, COLLECTOR, OTLP_PORT) is (name in SERVICES), name
        assert not allows(manifests, pod, Peer(COLLECTOR.labels, OTHER), OTLP_PORT)


def test_events_alone_reach_the_internet_and_no_inner_network(manifests: list[Manifest]) -> None:
    for name, pod in pods(manifests).items():
        for address in ("203.0.113.7", "2001:4860::8"):
            assert allows(manifests, pod, Peer(address=address), 443) is (name == "events"), name
        for address in (
            "10.0.0.1",
            "172.20.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "127.0.0.1",
            "fd00::1",
            "fe80::1",
        ):
            assert not allows(manifests, pod, Peer(address=address), 443), (name, address)
        assert not allows(manifests, pod, Peer({"app": "anything"}, OTHER), 443)


def test_a_pod_of_the_mesh_without_a_policy_of_its_own_is_closed(manifests: list[Manifest]) -> None:
    labels = {"app.kubernetes.io/name": "sixth", "app.kubernetes.io/component": "server"}
    sixth = Peer(labels, OURS)
    assert not any(allows(manifests, each, sixth, GRPC_PORT) for each in pods(manifests).values())
    assert not any(allows(manifests, sixth, each, GRPC_PORT) for each in pods(manifests).values())


def test_what_works_out_the_policies_sees_each_of_them_go(manifests: list[Manifest]) -> None:
    """Without one of them something above is answered differently: none is idle, and the tests see it."""

    def answers(of: list[Manifest]) -> list[bool]:
        ends = [*pods(manifests).values(), *STRANGERS.values(), COLLECTOR, DNS, Peer(address="10.1.2.3")]
        # A pod that a rule of ours has forgotten.
        ends += [Peer({"app.kubernetes.io/name": "sixth", "app.kubernetes.io/component": "server"}, OURS)]
        asked = [(GRPC_PORT, "TCP"), (443, "TCP"), (53, "UDP"), (DATABASE_PORT, "TCP"), (OTLP_PORT, "TCP")]
        return [allows(of, one, other, *how) for one, other, how in product(ends, ends, asked)]

    whole = answers(manifests)
    for name in of_kind(manifests, "NetworkPolicy"):
        rest = [
            copy.copy(each)
            for each in manifests
            if (each["kind"], each["metadata"]["name"]) != ("NetworkPolicy", name)
        ]
        assert answers(rest) != whole, name
