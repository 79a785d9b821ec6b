"""What each pod of an overlay needs is there: keys of Secrets, files, addresses, and the way to them."""

import re
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from tests.k8s.manifests import SERVICES, Manifest, container, of_kind, pod_template, workloads
from tests.k8s.network import Peer, allows
from tests.k8s.overlays import OVERLAYS, overlay, pods, variables
from tools.call_graph import callees

HOME = {"kubernetes.io/metadata.name": "reelmesh"}
DNS = Peer({"k8s-app": "kube-dns"}, {"kubernetes.io/metadata.name": "kube-system"})
PROMETHEUS = Peer({"app": "prometheus"}, {"kubernetes.io/metadata.name": "monitoring"})
# As a Service's address and a node's; and what is on the internet.
API = [("10.96.0.1", 443), ("172.18.0.2", 6443)]
BUCKET = "203.0.113.9"
GRPC_PORT = 50051

per_overlay = pytest.mark.parametrize("name", OVERLAYS)
in_cluster = pytest.mark.parametrize("name", ["staging", "production"])


def made(manifests: list[Manifest]) -> dict[str, set[str]]:
    """The keys of each Secret that somebody makes, by its name."""
    found = {name: set(each["data"]) for name, each in of_kind(manifests, "Secret").items()}
    for each in of_kind(manifests, "ExternalSecret").values():
        found[each["spec"]["target"]["name"]] = {item["secretKey"] for item in each["spec"]["data"]}
    for each in of_kind(manifests, "Certificate").values():
        found[each["spec"]["secretName"]] = {"tls.crt", "tls.key", "ca.crt"}
    for cluster in of_kind(manifests, "Cluster"):
        found |= {f"{cluster}-app": {"username", "password", "uri"}, f"{cluster}-ca": {"ca.crt", "ca.key"}}
    return found


def secrets_in(workload: Manifest) -> Iterator[tuple[str, dict[str, Any]]]:
    """(volume, source) of every Secret that is mounted, projected ones too."""
    for volume in pod_template(workload)["spec"].get("volumes", ()):
        if "secret" in volume:
            yield volume["name"], {**volume["secret"], "name": volume["secret"]["secretName"]}
        for source in volume.get("projected", {}).get("sources", ()):
            yield volume["name"], source["secret"]


@per_overlay
def test_every_key_of_a_secret_that_is_read_is_made(name: str) -> None:
    there, seen = made(overlay(name)), 0
    for workload in workloads(overlay(name)):
        for variable in variables(workload).values():
            if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                assert reference["key"] in there[reference["name"]], (workload["metadata"]["name"], variable)
                seen += 1
        for _, source in secrets_in(workload):
            for item in source.get("items", ()):
                assert item["key"] in there[source["name"]], (workload["metadata"]["name"], source)
    assert seen > len(SERVICES)


@per_overlay
def test_services_share_the_keys_that_they_must_share(name: str) -> None:
    """Each setting from the key of its own name: game seals what wallet opens."""
    read = {
        (variable["name"], variable["valueFrom"]["secretKeyRef"]["key"])
        for workload in workloads(overlay(name))
        for variable in variables(workload).values()
        if variable.get("valueFrom", {}).get("secretKeyRef", {}).get("name", "").startswith("mesh-keys")
    }
    assert len(read) >= 5
    for variable_name, key in read:
        assert variable_name.endswith(f"{key}_key".replace("-", "_").upper()), (variable_name, key)
    for each in of_kind(overlay(name), "ExternalSecret").values():
        for item in each["spec"]["data"]:
            assert item["remoteRef"]["property"] == item["secretKey"]
            assert item["remoteRef"]["key"] == f"reelmesh/{each['spec']['target']['name']}"


@in_cluster
def test_what_a_database_is_verified_with_is_a_file_of_that_database(name: str) -> None:
    seen = 0
    for workload in workloads(overlay(name)):
        mounts = {each["name"]: each["mountPath"] for each in container(workload).get("volumeMounts", ())}
        files = {
            f"{mounts[volume]}/{item['path']}": source["name"]
            for volume, source in secrets_in(workload)
            for item in source.get("items", ())
        }
        for variable in variables(workload).values():
            if variable["name"].endswith(("DATABASE_URL", "DATABASE_DIRECT_URL")):
                url = make_url(variable["value"].replace("$(", "").replace(")", ""))
                assert url.query["sslmode"] == "verify-full"
                assert files[str(url.query["sslrootcert"])] == f"{url.database}-database-ca", variable
                seen += 1
    # Servers twice, a migration each, and the comparison of three.
    assert seen == 3 * len(SERVICES) + 3


@in_cluster
def test_who_shows_a_certificate_may_read_it_where_it_is_said_to_be(name: str) -> None:
    seen = 0
    for workload in workloads(overlay(name)):
        spec, only = pod_template(workload)["spec"], container(workload)
        given = {each: variable.get("value", "") for each, variable in variables(workload).items()}
        for source in only.get("envFrom", ()):
            given |= of_kind(overlay(name), "ConfigMap")[source["configMapRef"]["name"]]["data"]
        for volume, source in secrets_in(workload):
            if source["name"].endswith("-tls"):
                [mount] = [each for each in only["volumeMounts"] if each["name"] == volume]
                assert given["REELMESH_TLS_PATH"] == mount["mountPath"] and "subPath" not in mount
                # 0o440 and root's: by its group alone the process reads them.
                assert source["defaultMode"] == 0o440
                assert spec["securityContext"]["fsGroup"] == spec["securityContext"]["runAsGroup"]
                seen += 1
    assert seen == len(SERVICES) + 1


@per_overlay
def test_each_target_is_the_headless_service_of_its_name(name: str) -> None:
    services, seen = of_kind(overlay(name), "Service"), 0
    given = [data for each in of_kind(overlay(name), "ConfigMap").values() if (data := each["data"])]
    given += [
        {each["name"]: each.get("value", "") for each in variables(workload).values()}
        for workload in workloads(overlay(name))
    ]
    for key, value in ((key, value) for settings in given for key, value in settings.items()):
        if found := re.fullmatch(r"REELMESH_(\w+)_TARGET", key):
            callee = found[1].lower()
            [port] = services[f"{callee}-headless"]["spec"]["ports"]
            assert value == f"dns:///{callee}-headless:{port['port']}", key
            seen += 1
    assert seen >= 10


@per_overlay
def test_servers_listen_where_their_pods_say(name: str) -> None:
    for service in SERVICES:
        only = container(of_kind(overlay(name), "Deployment")[service])
        [source] = only["envFrom"]
        given = of_kind(overlay(name), "ConfigMap")[source["configMapRef"]["name"]]["data"]
        assert given["REELMESH_HOST"] == "0.0.0.0", "a pod is not called on its loopback"
        for port in only["ports"]:
            assert given[f"REELMESH_{service}_{port['name']}_PORT".upper()] == str(port["containerPort"])
    # Ages of rounds and authorisations are multiples of it, at each service.
    deadlines = {
        each["data"].get("REELMESH_SPIN_DEADLINE_MS")
        for each in of_kind(overlay(name), "ConfigMap").values()
        if "REELMESH_HOST" in each["data"]
    }
    assert len(deadlines) == 1


@per_overlay
def test_migrations_are_of_their_own_service(name: str) -> None:
    for service in SERVICES:
        [job] = [
            each
            for job, each in of_kind(overlay(name), "Job").items()
            if job.startswith(f"{service}-migrate")
        ]
        assert container(job)["command"] == ["python", "-m", "services.common.migrate", service]


# The way there


@per_overlay
def test_whoever_calls_by_name_may_ask_for_names(name: str) -> None:
    for labels in pods(overlay(name)):
        silent = labels.get("app.kubernetes.io/name") in ("jaeger", "postgresql")
        for protocol, server in product(("UDP", "TCP"), (DNS, Peer(address="169.254.20.10"))):
            allowed = allows(overlay(name), Peer(labels, HOME), server, 53, protocol)
            assert allowed is not silent, (labels, protocol, server)


@in_cluster
def test_databases_reach_what_they_are_run_by(name: str) -> None:
    """An instance asks the Kubernetes API who is primary; it and the pooler take their files from it."""
    operator = Peer({"app": "x"}, {"kubernetes.io/metadata.name": "cnpg-system"})
    databases = [labels for labels in pods(overlay(name)) if "cnpg.io/cluster" in labels]
    assert len(databases) == 2 * len(SERVICES)
    for labels in databases:
        one = Peer(labels, HOME)
        assert all(allows(overlay(name), one, Peer(address=at), port) for at, port in API), labels
        assert allows(overlay(name), one, Peer(address=BUCKET), 443)
        if labels["cnpg.io/podRole"] == "instance":
            same = Peer({**labels, "cnpg.io/instanceName": "another"}, HOME)
            for port in (5432, 8000):
                assert allows(overlay(name), operator, one, port)
                assert allows(overlay(name), one, same, port)


@in_cluster
def test_telemetry_reaches_its_end(name: str) -> None:
    def one(of: str) -> Peer:
        [labels] = [each for each in pods(overlay(name)) if each.get("app.kubernetes.io/name") == of]
        return Peer(labels, HOME)

    collector, sampler, jaeger = one("otel-collector"), one("otel-sampler"), one("jaeger")
    hops = [(one(service), collector, 4318) for service in SERVICES]
    hops += [(collector, sampler, 4317), (sampler, jaeger, 4317), (collector, PROMETHEUS, 9090)]
    hops += [(PROMETHEUS, each, 8888) for each in (collector, sampler, jaeger)]
    for source, target, port in hops:
        assert allows(overlay(name), source, target, port), (source, target, port)
    assert not allows(overlay(name), one("wallet"), jaeger, 4317)
    assert not allows(overlay(name), jaeger, PROMETHEUS, 9090)


@per_overlay
def test_every_service_reaches_those_it_calls_and_nobody_else(name: str) -> None:
    labels = {each.get("app.kubernetes.io/name", ""): each for each in pods(overlay(name))}
    for caller, callee in product(SERVICES, SERVICES):
        ends = Peer(labels[caller], HOME), Peer(labels[callee], HOME)
        assert allows(overlay(name), *ends, GRPC_PORT) is (callee in callees(caller)), (caller, callee)
