"""deploy/k8s/base renders, validates strictly, and its objects fit each other and the services."""

import importlib
import re
from itertools import combinations
from typing import Any

import pytest
import yaml
from kubernetes_validate.utils import ValidationError

from services.common import VERSION
from services.common import service as common_service
from tests.k8s.manifests import (
    BASE,
    KUBERNETES_VERSIONS,
    SERVICES,
    Manifest,
    check_restricted,
    container,
    of_kind,
    pod_template,
    render,
    settings_of,
    validate_strictly,
    workloads,
)
from tests.k8s.network import matches_selector


@pytest.fixture(scope="module")
def manifests() -> list[Manifest]:
    """The rendered base."""
    return render(BASE)


def test_every_manifest_validates_strictly_against_three_versions(manifests: list[Manifest]) -> None:
    assert len(KUBERNETES_VERSIONS) == 3
    for manifest in manifests:
        validate_strictly(manifest)


def test_every_file_validates_by_itself_without_kubectl() -> None:
    seen = 0
    for path in sorted(BASE.rglob("*.yaml")):
        for manifest in yaml.safe_load_all(path.read_text()):
            if manifest["kind"] != "Kustomization":
                validate_strictly(manifest)
                seen += 1
    assert seen > 50


def test_validation_refuses_a_misspelt_field(manifests: list[Manifest]) -> None:
    deployment = of_kind(manifests, "Deployment")["wallet"]
    broken = {**deployment, "spec": {**deployment["spec"], "replica": 2}}
    with pytest.raises(ValidationError):
        validate_strictly(broken)


def test_each_service_has_all_that_a_service_has(manifests: list[Manifest]) -> None:
    version = VERSION.replace(".", "-")
    migrations = {f"{service}-migrate" for service in SERVICES}
    for kind in ("Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget"):
        assert set(of_kind(manifests, kind)) == set(SERVICES), kind
    assert set(of_kind(manifests, "Job")) == {f"{name}-{version}" for name in migrations}
    assert set(of_kind(manifests, "ServiceAccount")) == set(SERVICES) | migrations
    assert set(of_kind(manifests, "NetworkPolicy")) >= set(SERVICES)
    headless = {
        name: each["spec"].get("clusterIP") == "None" for name, each in of_kind(manifests, "Service").items()
    }
    assert headless == {service: False for service in SERVICES} | {
        f"{name}-headless": True for name in SERVICES
    }


def test_everything_is_in_the_namespace_and_says_whose_it_is(manifests: list[Manifest]) -> None:
    for each in manifests:
        labels = each["metadata"]["labels"]
        assert labels["app.kubernetes.io/part-of"] == "reelmesh"
        assert labels["app.kubernetes.io/version"] == VERSION
        assert each["kind"] == "Namespace" or each["metadata"]["namespace"] == "reelmesh"
    [namespace] = of_kind(manifests, "Namespace").values()
    for mode in ("enforce", "audit", "warn"):
        assert namespace["metadata"]["labels"][f"pod-security.kubernetes.io/{mode}"] == "restricted"


# Pods


def test_pods_are_restricted(manifests: list[Manifest]) -> None:
    for workload in workloads(manifests):
        template = pod_template(workload)
        assert check_restricted(template["spec"], template["metadata"].get("annotations")) == []
        # Beyond the standard.
        assert container(workload)["securityContext"]["readOnlyRootFilesystem"] is True
        assert template["spec"]["automountServiceAccountToken"] is False
        assert template["spec"]["enableServiceLinks"] is False


def test_each_pod_has_an_account_of_its_own_without_token(manifests: list[Manifest]) -> None:
    accounts = of_kind(manifests, "ServiceAccount")
    used = [pod_template(each)["spec"]["serviceAccountName"] for each in workloads(manifests)]
    assert sorted(used) == sorted(accounts)
    assert not any(each["automountServiceAccountToken"] for each in accounts.values())
    kinds = {each["kind"] for each in manifests}
    assert not any("Role" in kind for kind in kinds), "nothing of ours asks Kubernetes"


def test_images_are_those_of_this_version(manifests: list[Manifest]) -> None:
    for workload in workloads(manifests):
        service = workload["metadata"]["labels"]["app.kubernetes.io/name"].removesuffix("-migrate")
        assert container(workload)["image"] == f"reelmesh-{service}:{VERSION}"


def test_every_container_says_what_it_needs(manifests: list[Manifest]) -> None:
    for workload in workloads(manifests):
        resources = container(workload)["resources"]
        assert {"cpu", "memory", "ephemeral-storage"} <= resources["requests"].keys()
        # As much as it asks for; and never throttled.
        assert resources["limits"]["memory"] == resources["requests"]["memory"]
        assert resources["limits"].keys() == {"memory", "ephemeral-storage"}
        [volume] = pod_template(workload)["spec"]["volumes"]
        assert volume["name"] == "tmp"
        assert mib(volume["emptyDir"]["sizeLimit"]) < mib(resources["limits"]["ephemeral-storage"])


def mib(quantity: str) -> int:
    """Of a quantity like 64Mi."""
    return int(quantity.removesuffix("Mi"))


def test_probes_ask_three_different_questions_of_the_admin_port(manifests: list[Manifest]) -> None:
    for deployment in of_kind(manifests, "Deployment").values():
        names = ("startup", "readiness", "liveness")
        probes = {name: container(deployment)[f"{name}Probe"] for name in names}
        assert {name: probe["grpc"]["service"] for name, probe in probes.items()} == {
            name: name for name in probes
        }
        for one, other in combinations(probes.values(), 2):
            assert one != other
        admin = next(port for port in container(deployment)["ports"] if port["name"] == "admin")
        assert {probe["grpc"]["port"] for probe in probes.values()} == {admin["containerPort"]}
        # What is not ready loses its traffic long before what does not live is restarted.
        seconds = {name: probe["periodSeconds"] * probe["failureThreshold"] for name, probe in probes.items()}
        assert seconds["readiness"] < seconds["liveness"] <= seconds["startup"]


def test_what_ends_a_pod_fits_into_its_grace_period(manifests: list[Manifest]) -> None:
    for service, deployment in of_kind(manifests, "Deployment").items():
        assert (
            ending_s(service, deployment)
            < deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        )
        slower = settings_of(manifests, service) | {"REELMESH_DRAIN_GRACE_MS": "40000"}
        assert ending_s(service, deployment, slower) > 45


def ending_s(service: str, deployment: Manifest, settings: dict[str, str] | None = None) -> float:
    """preStop, the drain, and what a process gives itself to end everything else, flushes included."""
    pre_stop_s: float = container(deployment)["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain_ms = sum(setting(service, name, settings or {}) for name in ("drain_wait_ms", "drain_grace_ms"))
    return pre_stop_s + drain_ms / 1000 + common_service.EXIT_RESERVE_S


def setting(service: str, name: str, settings: dict[str, str]) -> int:
    """As the service would read it."""
    default: Any = (
        importlib.import_module(f"services.{service}.config").Config.__dataclass_fields__[name].default
    )
    own, shared = f"REELMESH_{service}_{name}".upper(), f"REELMESH_{name}".upper()
    return int(settings.get(own, settings.get(shared, default)))


def test_replicas_are_spread_over_zones_and_nodes(manifests: list[Manifest]) -> None:
    for deployment in of_kind(manifests, "Deployment").values():
        template = pod_template(deployment)
        spread = template["spec"]["topologySpreadConstraints"]
        assert [each["topologyKey"] for each in spread] == [
            "topology.kubernetes.io/zone",
            "kubernetes.io/hostname",
        ]
        for each in spread:
            assert matches_selector(each["labelSelector"], template["metadata"]["labels"])


# Objects that name each other


def test_selectors_find_the_pods_of_one_service(manifests: list[Manifest]) -> None:
    templates = {
        each["metadata"]["name"]: pod_template(each)["metadata"]["labels"] for each in workloads(manifests)
    }
    selecting = [
        (each["metadata"]["name"].removesuffix("-headless"), selector)
        for kind, of in (
            ("Deployment", lambda spec: spec["selector"]),
            ("PodDisruptionBudget", lambda spec: spec["selector"]),
            ("Service", lambda spec: {"matchLabels": spec["selector"]}),
        )
        for each in of_kind(manifests, kind).values()
        for selector in [of(each["spec"])]
    ]
    assert len(selecting) == 4 * len(SERVICES)
    for service, selector in selecting:
        # Never those of a migration, of which nobody expects an answer.
        assert [name for name, labels in templates.items() if matches_selector(selector, labels)] == [service]


def test_services_lead_to_ports_that_the_pods_have(manifests: list[Manifest]) -> None:
    deployments = of_kind(manifests, "Deployment")
    for name, service in of_kind(manifests, "Service").items():
        deployment = deployments[name.removesuffix("-headless")]
        ports = {port["name"]: port["containerPort"] for port in container(deployment)["ports"]}
        for each in service["spec"]["ports"]:
            assert ports[each["targetPort"]] == each["port"]
            # The admin port is the kubelet's.
            assert each["targetPort"] != "admin"
        assert not service["spec"].get("publishNotReadyAddresses")


def test_the_autoscaler_owns_the_number_of_replicas(manifests: list[Manifest]) -> None:
    deployments = of_kind(manifests, "Deployment")
    for name, scaler in of_kind(manifests, "HorizontalPodAutoscaler").items():
        target = scaler["spec"]["scaleTargetRef"]
        assert (target["apiVersion"], target["kind"], target["name"]) == ("apps/v1", "Deployment", name)
        assert "replicas" not in deployments[name]["spec"]
        assert 2 <= scaler["spec"]["minReplicas"] < scaler["spec"]["maxReplicas"]


def test_a_drained_node_and_a_rollout_leave_replicas_that_serve(manifests: list[Manifest]) -> None:
    scalers = of_kind(manifests, "HorizontalPodAutoscaler")
    for name, budget in of_kind(manifests, "PodDisruptionBudget").items():
        assert may_be_away(budget, scalers[name]) in range(1, scalers[name]["spec"]["minReplicas"]), name
        rolling = of_kind(manifests, "Deployment")[name]["spec"]["strategy"]["rollingUpdate"]
        # A new one is ready before an old one goes.
        assert rolling == {"maxUnavailable": 0, "maxSurge": 1}


def may_be_away(budget: Manifest, scaler: Manifest) -> int:
    """How many of the least number of replicas an eviction may take at once."""
    spec, least = budget["spec"], int(scaler["spec"]["minReplicas"])
    return least - int(spec["minAvailable"]) if "minAvailable" in spec else int(spec["maxUnavailable"])


@pytest.mark.parametrize("spec", [{"maxUnavailable": 3}, {"minAvailable": 3}, {"maxUnavailable": 0}])
def test_a_budget_that_stops_every_drain_or_allows_all_of_them_is_seen(spec: Manifest) -> None:
    scaler = {"spec": {"minReplicas": 3}}
    assert may_be_away({"spec": spec}, scaler) not in range(1, 3)


def test_no_secret_stands_in_the_manifests(manifests: list[Manifest]) -> None:
    assert not of_kind(manifests, "Secret")
    for workload in workloads(manifests):
        for variable in container(workload)["env"]:
            assert variable["valueFrom"].keys() == {"secretKeyRef"}, variable["name"]
    for service in SERVICES:
        for name, value in settings_of(manifests, service).items():
            assert not re.search(r"KEY$|PASSWORD|SECRET|TOKEN|_URL$(?<!LAUNCH_URL)", name), name
            assert not re.search(r"://[^/]*@", value), name


def test_the_secrets_that_pods_read_are_those_that_the_base_asks_for(manifests: list[Manifest]) -> None:
    head = (BASE / "kustomization.yaml").read_text().partition("apiVersion")[0]
    used = {
        (variable["valueFrom"]["secretKeyRef"]["name"], variable["valueFrom"]["secretKeyRef"]["key"])
        for workload in workloads(manifests)
        for variable in container(workload)["env"]
    }
    [listed] = re.findall(r"Secret mesh-keys +keys ([\w, -]+):", head)
    assert {key for name, key in used if name == "mesh-keys"} == set(listed.split(", "))
    assert {each for each in used if each[0] != "mesh-keys"} == {
        (f"{name}-database", "url") for name in SERVICES
    }
