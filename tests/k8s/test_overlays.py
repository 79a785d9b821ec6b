"""deploy/k8s/overlays: each renders, validates strictly, is restricted, holds no secret, and adds up."""

import base64
import copy
import dataclasses
import importlib
import re
from typing import Any

import jsonschema
import pytest

from tests.k8s.custom_resources import is_custom, validate_custom
from tests.k8s.manifests import (
    SERVICES,
    Manifest,
    check_restricted,
    container,
    of_kind,
    pod_template,
    validate_strictly,
    workloads,
)
from tests.k8s.network import matches_selector
from tests.k8s.overlays import OVERLAYS, migrations, overlay, pods, selected, variables

DEVELOPMENT_ONLY = "local-development-only"
# Of which other variables are made.
OTHER_VARIABLES = {"DATABASE_USER", "DATABASE_PASSWORD", "POD_NAME"}

# The base allows the way to them, and a laptop has none.
COLLECTORS = {"matchLabels": {"app.kubernetes.io/name": "otel-collector"}}

per_overlay = pytest.mark.parametrize("name", OVERLAYS)


@per_overlay
def test_every_manifest_validates_strictly(name: str) -> None:
    for manifest in overlay(name):
        if is_custom(manifest):
            validate_custom(manifest)
        else:
            validate_strictly(manifest)


def test_a_misspelt_field_of_a_custom_resource_is_refused() -> None:
    one_of_each = {each["kind"]: each for each in overlay("production") if is_custom(each)}
    assert len(one_of_each) >= 12
    for manifest in one_of_each.values():
        for where in ("spec", "metadata"):
            broken = copy.deepcopy(manifest)
            broken[where]["replica"] = 1
            with pytest.raises(jsonschema.ValidationError, match="replica"):
                validate_custom(broken)
    deep = copy.deepcopy(of_kind(overlay("production"), "Cluster")["wallet-database"])
    deep["spec"]["postgresql"]["synchronous"]["numbers"] = 2
    with pytest.raises(jsonschema.ValidationError, match="numbers"):
        validate_custom(deep)
    with pytest.raises(KeyError):
        validate_custom({**deep, "apiVersion": "postgresql.cnpg.io/v2"})


@per_overlay
def test_names_are_unique_and_everything_is_in_the_namespace(name: str) -> None:
    keys = [(each["apiVersion"], each["kind"], each["metadata"]["name"]) for each in overlay(name)]
    assert len(keys) == len(set(keys))
    for manifest in overlay(name):
        assert manifest["kind"] == "Namespace" or manifest["metadata"]["namespace"] == "reelmesh"
    [namespace] = of_kind(overlay(name), "Namespace").values()
    labels = namespace["metadata"]["labels"]
    assert {labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "audit", "warn")} == {
        "restricted"
    }


@per_overlay
def test_pods_are_restricted_and_bounded(name: str) -> None:
    assert len(workloads(overlay(name))) >= 2 * len(SERVICES)
    for workload in workloads(overlay(name)):
        template = pod_template(workload)
        found = check_restricted(template["spec"], template["metadata"].get("annotations"))
        assert not found, (workload["metadata"]["name"], found)
        assert template["spec"]["automountServiceAccountToken"] is False
        only = container(workload)
        assert only["securityContext"]["readOnlyRootFilesystem"] is True
        assert {"cpu", "memory"} <= only["resources"]["requests"].keys()
        assert "memory" in only["resources"]["limits"]


@per_overlay
def test_images_are_pinned_to_a_release(name: str) -> None:
    images = {container(each)["image"] for each in workloads(overlay(name))}
    images |= {each["spec"]["imageName"] for each in of_kind(overlay(name), "Cluster").values()}
    for image in images:
        assert re.search(r"(:v?\d+\.\d+[\w.-]*|@sha256:[0-9a-f]{64})$", image), image


def test_a_release_is_one_version_everywhere() -> None:
    for name in OVERLAYS:
        for service in SERVICES:
            server = container(of_kind(overlay(name), "Deployment")[service])["image"]
            assert container(migrations(overlay(name))[service])["image"] == server
    tags = {
        container(each)["image"].rpartition(":")[2]
        for each in of_kind(overlay("production"), "Deployment").values()
        if "reelmesh-" in container(each)["image"]
    }
    assert len(tags) == 1


@pytest.mark.parametrize("name", ["staging", "production"])
def test_no_secret_stands_in_the_manifests(name: str) -> None:
    assert not of_kind(overlay(name), "Secret")
    made = {each["spec"]["target"]["name"] for each in of_kind(overlay(name), "ExternalSecret").values()}
    made |= {each["spec"]["secretName"] for each in of_kind(overlay(name), "Certificate").values()}
    for cluster in of_kind(overlay(name), "Cluster"):
        made |= {f"{cluster}-app", f"{cluster}-ca"}
    for workload in workloads(overlay(name)):
        assert secrets_of(workload) <= made, workload["metadata"]["name"]
        for variable in variables(workload).values():
            assert not re.search(r"://[^$@/]+:[^$@]+@", variable.get("value", "")), variable


def test_secrets_of_the_local_overlay_are_none_by_their_own_word() -> None:
    given = of_kind(overlay("local"), "Secret")
    for secret in given.values():
        assert "data" in secret or "stringData" in secret
    for workload in workloads(overlay("local")):
        assert secrets_of(workload) <= given.keys()
    for secret in given.values():
        for value in secret["data"].values():
            assert DEVELOPMENT_ONLY in base64.b64decode(value).decode()
    for manifest in overlay("local"):
        assert manifest["kind"] == "Secret" or DEVELOPMENT_ONLY not in str(manifest)


def secrets_of(workload: Manifest) -> set[str]:
    """Names of the Secrets that its pods read."""
    spec = pod_template(workload)["spec"]
    names = {volume["secret"]["secretName"] for volume in spec.get("volumes", ()) if "secret" in volume}
    for variable in variables(workload).values():
        if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
            names.add(reference["name"])
    return names


@per_overlay
def test_each_variable_is_a_setting_and_each_required_setting_is_given(name: str) -> None:
    for service in SERVICES:
        config = importlib.import_module(f"services.{service}.config").Config
        fields = dataclasses.fields(config)
        own = f"{service.upper()}_"
        known = {f"REELMESH_{prefix}{each.name.upper()}" for each in fields for prefix in ("", own)}
        given = given_to(name, service)
        others = {each for each in given if each.startswith("OTEL_")} | OTHER_VARIABLES
        assert given - others <= known, service
        for field in fields:
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                upper = field.name.upper()
                assert {f"REELMESH_{upper}", f"REELMESH_{service.upper()}_{upper}"} & given, (service, upper)


def given_to(name: str, service: str) -> set[str]:
    """Every variable of the service's container."""
    deployment = of_kind(overlay(name), "Deployment")[service]
    given = set(variables(deployment))
    for source in container(deployment).get("envFrom", ()):
        given |= set(of_kind(overlay(name), "ConfigMap")[source["configMapRef"]["name"]]["data"])
    return given


@per_overlay
def test_a_variable_comes_after_those_that_its_value_names(name: str) -> None:
    for workload in workloads(overlay(name)):
        before: set[str] = set()
        for variable in variables(workload).values():
            assert "value" not in variable or "valueFrom" not in variable
            assert set(re.findall(r"\$\((\w+)\)", variable.get("value", ""))) <= before, variable
            before.add(variable["name"])


@per_overlay
def test_what_pods_mount_and_read_is_there(name: str) -> None:
    maps = of_kind(overlay(name), "ConfigMap")
    for workload in workloads(overlay(name)):
        spec = pod_template(workload)["spec"]
        volumes = {each["name"] for each in spec.get("volumes", ())}
        volumes |= {each["metadata"]["name"] for each in workload["spec"].get("volumeClaimTemplates", ())}
        mounted = {each["name"] for each in container(workload).get("volumeMounts", ())}
        assert mounted == volumes, workload["metadata"]["name"]
        named = {each["configMap"]["name"] for each in spec.get("volumes", ()) if "configMap" in each}
        named |= {each["configMapRef"]["name"] for each in container(workload).get("envFrom", ())}
        assert named <= maps.keys()
        account = spec.get("serviceAccountName", "default")
        assert account == "default" or account in of_kind(overlay(name), "ServiceAccount")


@per_overlay
def test_services_and_budgets_select_pods_that_are(name: str) -> None:
    every = pods(overlay(name))
    for workload in workloads(overlay(name)):
        selector = workload["spec"].get("selector")
        assert selector is None or matches_selector(selector, pod_template(workload)["metadata"]["labels"])
    for service in of_kind(overlay(name), "Service").values():
        found = [
            labels
            for labels in every
            if matches_selector({"matchLabels": service["spec"]["selector"]}, labels)
        ]
        assert len(found) == 1, service["metadata"]["name"]
    for budget in of_kind(overlay(name), "PodDisruptionBudget").values():
        assert selected(budget["spec"]["selector"], every), budget["metadata"]


@per_overlay
def test_peers_of_network_policies_are_pods_that_are(name: str) -> None:
    every = pods(overlay(name))
    for policy in of_kind(overlay(name), "NetworkPolicy").values():
        spec = policy["spec"]
        assert selected(spec["podSelector"], every), policy["metadata"]["name"]
        peers = [peer for rule in spec.get("ingress", ()) for peer in rule.get("from", ())]
        peers += [peer for rule in spec.get("egress", ()) for peer in rule.get("to", ())]
        for peer in peers:
            if "podSelector" in peer and "namespaceSelector" not in peer:
                selector = peer["podSelector"]
                if name == "local" and selector == COLLECTORS:
                    continue
                assert selected(selector, every), policy["metadata"]["name"]


@per_overlay
def test_who_may_ask_for_names_may_ask_a_cache_on_the_node(name: str) -> None:
    seen = 0
    for policy in of_kind(overlay(name), "NetworkPolicy").values():
        for rule in policy["spec"].get("egress", ()):
            if {"protocol": "UDP", "port": 53} in rule.get("ports", ()):
                seen += 1
                assert {"ipBlock": {"cidr": "169.254.20.10/32"}} in rule["to"], policy["metadata"]["name"]
                assert {"protocol": "TCP", "port": 53} in rule["ports"]
    assert seen >= (1 if name == "local" else 9)


def replicas(manifests: list[Manifest]) -> dict[str, int]:
    """The fewest pods of each workload and pooler, by name."""
    least: dict[str, Any] = {
        each["metadata"]["name"]: each["spec"].get("replicas", 1)
        for each in workloads(manifests)
        if each["kind"] in ("Deployment", "StatefulSet")
    }
    for scaler in of_kind(manifests, "HorizontalPodAutoscaler").values():
        least[scaler["spec"]["scaleTargetRef"]["name"]] = scaler["spec"]["minReplicas"]
    return least | {name: each["spec"]["instances"] for name, each in of_kind(manifests, "Pooler").items()}


@pytest.mark.parametrize("name", ["staging", "production"])
def test_a_node_can_be_drained_and_something_is_left(name: str) -> None:
    least = replicas(overlay(name))
    budgets = of_kind(overlay(name), "PodDisruptionBudget")
    covered = set()
    for budget in budgets.values():
        spec = budget["spec"]
        assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        assert spec["maxUnavailable"] == 1 and "minAvailable" not in spec
        covered.add(budget["metadata"]["name"])
    for workload, number in least.items():
        if workload == "jaeger":
            continue
        assert workload in covered and number >= 2, workload


def test_locally_nothing_keeps_a_node_from_draining() -> None:
    assert set(replicas(overlay("local")).values()) == {1}
    assert not of_kind(overlay("local"), "HorizontalPodAutoscaler")
    for budget in of_kind(overlay("local"), "PodDisruptionBudget").values():
        assert budget["spec"].get("maxUnavailable") == 1


def test_staging_is_production_in_small() -> None:
    def shape(name: str) -> set[tuple[str, str]]:
        hashed = re.compile(r"-[a-z0-9]{10}$")
        return {(each["kind"], hashed.sub("", each["metadata"]["name"])) for each in overlay(name)}

    assert shape("staging") == shape("production")
    for each in overlay("staging"):
        assert "s3://reelmesh-production" not in str(each)
        if each["kind"] in ("Gateway", "HTTPRoute", "GRPCRoute"):
            assert ".staging.example.com" in str(each["spec"])
