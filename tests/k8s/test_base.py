"""deploy/k8s/base renders, validates strictly, and says what the services expect."""

import dataclasses
import importlib
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes_validate.utils import ValidationError, validate

from services.common import VERSION
from services.common.identity import call_graph
from tests.tools import require_tool

ROOT = Path(__file__).parents[2]
BASE = ROOT / "deploy" / "k8s" / "base"
SERVICES = ("gateway", "session", "wallet", "game", "events")
KUBERNETES_VERSION = "1.37"

Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def manifests() -> list[Manifest]:
    """The rendered base."""
    kubectl = require_tool("kubectl")
    rendered = subprocess.run([kubectl, "kustomize", str(BASE)], check=True, capture_output=True, text=True)
    return list(yaml.safe_load_all(rendered.stdout))


def of_kind(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    return {each["metadata"]["name"]: each for each in manifests if each["kind"] == kind}


def container(workload: Manifest) -> Manifest:
    [only] = workload["spec"]["template"]["spec"]["containers"]
    assert isinstance(only, dict)
    return only


def test_every_manifest_validates_strictly_against_a_current_schema(manifests: list[Manifest]) -> None:
    for manifest in manifests:
        validate(manifest, KUBERNETES_VERSION, strict=True)


@pytest.mark.parametrize(
    "path", sorted(BASE.glob("*/*.yaml")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_every_file_validates_by_itself_without_kubectl(path: Path) -> None:
    for manifest in yaml.safe_load_all(path.read_text()):
        if manifest["kind"] != "Kustomization":
            validate(manifest, KUBERNETES_VERSION, strict=True)


def test_validation_refuses_a_misspelt_field(manifests: list[Manifest]) -> None:
    deployment = of_kind(manifests, "Deployment")["wallet"]
    broken = {**deployment, "spec": {**deployment["spec"], "replica": 2}}
    with pytest.raises(ValidationError):
        validate(broken, KUBERNETES_VERSION, strict=True)


def test_each_service_has_its_deployment_services_config_and_migration(manifests: list[Manifest]) -> None:
    assert set(of_kind(manifests, "Deployment")) == set(SERVICES)
    assert set(of_kind(manifests, "ConfigMap")) == set(SERVICES)
    assert set(of_kind(manifests, "Job")) == {
        f"{service}-migrate-{VERSION.replace('.', '-')}" for service in SERVICES
    }
    headless = {
        name
        for name, each in of_kind(manifests, "Service").items()
        if each["spec"].get("clusterIP") == "None"
    }
    assert headless == {f"{service}-headless" for service in SERVICES}


def test_probes_ask_three_different_questions_of_the_admin_port(manifests: list[Manifest]) -> None:
    for deployment in of_kind(manifests, "Deployment").values():
        probes = {
            name: container(deployment)[f"{name}Probe"]["grpc"]
            for name in ("startup", "readiness", "liveness")
        }
        assert {name: probe["service"] for name, probe in probes.items()} == {name: name for name in probes}
        admin = next(port for port in container(deployment)["ports"] if port["name"] == "admin")
        assert {probe["port"] for probe in probes.values()} == {admin["containerPort"]}


def test_selectors_find_the_pods(manifests: list[Manifest]) -> None:
    labels = {
        name: each["spec"]["template"]["metadata"]["labels"]
        for name, each in of_kind(manifests, "Deployment").items()
    }
    for name, deployment in of_kind(manifests, "Deployment").items():
        assert deployment["spec"]["selector"]["matchLabels"].items() <= labels[name].items()
    for name, service in of_kind(manifests, "Service").items():
        found = [pod for pod in labels.values() if service["spec"]["selector"].items() <= pod.items()]
        assert len(found) == 1, name
        [workload] = [
            w
            for w in of_kind(manifests, "Deployment").values()
            if service["spec"]["selector"].items() <= w["spec"]["template"]["metadata"]["labels"].items()
        ]
        named = {port["name"] for port in container(workload)["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= named


def test_migration_pods_are_not_behind_the_services(manifests: list[Manifest]) -> None:
    for job in of_kind(manifests, "Job").values():
        labels = job["spec"]["template"]["metadata"]["labels"]
        for service in of_kind(manifests, "Service").values():
            assert not service["spec"]["selector"].items() <= labels.items()


def settings(service: str) -> set[str]:
    """Every variable that the service's Config reads."""
    config = importlib.import_module(f"services.{service}.config").Config
    names = {field.name.upper() for field in dataclasses.fields(config)}
    return {f"REELMESH_{name}" for name in names} | {f"REELMESH_{service.upper()}_{name}" for name in names}


def environment(deployment: Manifest, config_map: Manifest) -> set[str]:
    return set(config_map["data"]) | {each["name"] for each in container(deployment)["env"]}


def test_each_variable_is_a_setting_that_the_service_knows(manifests: list[Manifest]) -> None:
    for service in SERVICES:
        given = environment(
            of_kind(manifests, "Deployment")[service], of_kind(manifests, "ConfigMap")[service]
        )
        assert given <= settings(service), f"{service}: {given - settings(service)}"


def test_each_required_setting_is_given(manifests: list[Manifest]) -> None:
    for service in SERVICES:
        config = importlib.import_module(f"services.{service}.config").Config
        given = environment(
            of_kind(manifests, "Deployment")[service], of_kind(manifests, "ConfigMap")[service]
        )
        for field in dataclasses.fields(config):
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                name = field.name.upper()
                assert {f"REELMESH_{name}", f"REELMESH_{service.upper()}_{name}"} & given, (
                    f"{service}: {name}"
                )


def test_each_service_is_told_where_the_services_are_that_it_may_call(manifests: list[Manifest]) -> None:
    graph = call_graph()
    headless = of_kind(manifests, "Service")
    for service in SERVICES:
        data = of_kind(manifests, "ConfigMap")[service]["data"]
        callees = {
            callee
            for callee, entry in graph.items()
            if any(service in method.callers for method in entry.methods.values())
        }
        targets = {name for name in data if name.endswith("_TARGET")}
        assert targets == {f"REELMESH_{callee.upper()}_TARGET" for callee in callees}, service
        for name in targets:
            host, port = data[name].removeprefix("dns:///").split(":")
            assert int(port) in {each["port"] for each in headless[host]["spec"]["ports"]}


def test_drain_fits_into_the_grace_period(manifests: list[Manifest]) -> None:
    telemetry_flush_s = 5
    for service, deployment in of_kind(manifests, "Deployment").items():
        config = importlib.import_module(f"services.{service}.config").Config
        defaults: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(config)}
        drain_s = (defaults["drain_wait_ms"] + defaults["drain_grace_ms"]) / 1000
        pre_stop_s = container(deployment)["lifecycle"]["preStop"]["sleep"]["seconds"]
        grace_s = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        assert pre_stop_s + drain_s + telemetry_flush_s < grace_s


def test_pods_are_restricted_and_images_are_pinned(manifests: list[Manifest]) -> None:
    workloads = [*of_kind(manifests, "Deployment").values(), *of_kind(manifests, "Job").values()]
    for workload in workloads:
        pod = workload["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
        security = container(workload)["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"]["drop"] == ["ALL"]
        image = container(workload)["image"]
        assert ":" in image and not image.endswith(":latest")


def test_no_secret_stands_in_the_manifests(manifests: list[Manifest]) -> None:
    assert not of_kind(manifests, "Secret")
    for deployment in of_kind(manifests, "Deployment").values():
        for variable in container(deployment)["env"]:
            assert "valueFrom" in variable, variable["name"]
