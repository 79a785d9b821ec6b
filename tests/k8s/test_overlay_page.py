"""docs/kubernetes/overlay.md: its patches render as they stand, and its table is what production asks for."""

import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.k8s.custom_resources import is_custom, validate_custom
from tests.k8s.manifests import K8S, ROOT, SERVICES, Manifest, of_kind, pod_template, render, workloads
from tests.k8s.overlays import overlay

PAGE = (ROOT / "docs" / "kubernetes" / "overlay.md").read_text()
_UNITS = {"": 1.0, "m": 0.001, "Mi": 2.0**20, "Gi": 2.0**30}
GIB = 2**30


def amount(quantity: str) -> float:
    """A quantity of Kubernetes as a number: cores, or bytes."""
    found = re.fullmatch(r"([\d.]+)(m|Mi|Gi)?", quantity)
    assert found, quantity
    return float(found[1]) * _UNITS[found[2] or ""]


def asked(workload: Manifest) -> tuple[float, float]:
    """Cores and bytes of memory that one pod of it requests."""
    [container] = pod_template(workload)["spec"]["containers"]
    requests = container["resources"]["requests"]
    return amount(requests["cpu"]), amount(requests["memory"])


def row(name: str) -> list[list[float]]:
    """The numbers of the table's row, cell by cell."""
    [line] = re.findall(rf"^\| {name} \|(.*)\|$", PAGE, re.MULTILINE)
    return [[float(number) for number in re.findall(r"[\d.]+", cell)] for cell in line.split("|")]


@cache
def patched(folder: Path) -> tuple[Manifest, ...]:
    """Production with every patch of the page."""
    [block] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    kustomization = {"resources": [os.path.relpath(K8S / "overlays" / "production", folder)]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump({**kustomization, **yaml.safe_load(block)}))
    return tuple(render(folder))


def test_what_services_ask_for() -> None:
    manifests = overlay("production")
    deployments, scalers = of_kind(manifests, "Deployment"), of_kind(manifests, "HorizontalPodAutoscaler")
    sums: dict[str, list[float]] = {}
    for bound in ("minReplicas", "maxReplicas"):
        counts = {service: scalers[service]["spec"][bound] for service in SERVICES}
        each = {service: asked(deployments[service]) for service in SERVICES}
        sums[bound] = [
            sum(counts.values()),
            sum(counts[service] * each[service][0] for service in SERVICES),
            sum(counts[service] * each[service][1] for service in SERVICES) / GIB,
        ]
    assert row("five services")[:3] == [
        list(pair) for pair in zip(sums["minReplicas"], sums["maxReplicas"], strict=True)
    ]


def test_what_databases_ask_for() -> None:
    pods, cores, memory, disks = 0, 0.0, 0.0, 0.0
    for cluster in of_kind(overlay("production"), "Cluster").values():
        spec = cluster["spec"]
        pods += spec["instances"]
        cores += spec["instances"] * amount(spec["resources"]["requests"]["cpu"])
        memory += spec["instances"] * amount(spec["resources"]["requests"]["memory"])
        for volume in (spec["storage"], spec["walStorage"]):
            disks += spec["instances"] * amount(volume["size"])
    found = row("fifteen instances of PostgreSQL")
    assert found == [[pods], [cores], [memory / GIB], [disks / GIB]]


def test_what_poolers_ask_for() -> None:
    """Something: who requests nothing is evicted first, and every spin goes through one."""
    pods, cores, memory = 0, 0.0, 0.0
    for pooler in of_kind(overlay("production"), "Pooler").values():
        [container] = pooler["spec"]["template"]["spec"]["containers"]
        assert container["name"] == "pgbouncer"
        requests = container["resources"]["requests"]
        pods += pooler["spec"]["instances"]
        cores += pooler["spec"]["instances"] * amount(requests["cpu"])
        memory += pooler["spec"]["instances"] * amount(requests["memory"])
    assert row("ten poolers")[:3] == [[pods], [round(cores, 6)], [memory / GIB]]


def test_what_telemetry_asks_for() -> None:
    totals, disks = [0.0, 0.0, 0.0], 0.0
    for workload in workloads(overlay("production")):
        if workload["metadata"]["name"] in {"otel-collector", "otel-sampler", "jaeger"}:
            cores, memory = asked(workload)
            count = workload["spec"]["replicas"]
            totals = [totals[0] + count, totals[1] + count * cores, totals[2] + count * memory / GIB]
            for claim in workload["spec"].get("volumeClaimTemplates", ()):
                disks += amount(claim["spec"]["resources"]["requests"]["storage"])
    assert row("collectors and Jaeger") == [*([total] for total in totals), [disks / GIB]]


def test_the_patches_render_and_are_valid(tmp_path: Path) -> None:
    manifests = list(patched(tmp_path))
    for manifest in manifests:
        if is_custom(manifest):
            validate_custom(manifest)
    assert len(manifests) == len(overlay("production"))
    for account in of_kind(manifests, "ServiceAccount").values():
        assert account["imagePullSecrets"] == [{"name": "registry"}]
    for cluster in of_kind(manifests, "Cluster").values():
        assert cluster["spec"]["imagePullSecrets"] == [{"name": "registry"}]
        assert cluster["spec"]["storage"]["storageClass"] == cluster["spec"]["walStorage"]["storageClass"]
    assert of_kind(manifests, "Cluster")["events-database"]["spec"]["storage"]["size"] == "500Gi"


def test_every_pod_of_ours_has_an_account_of_its_own() -> None:
    """Of which it can be said with which secret its image is pulled."""
    accounts = of_kind(overlay("production"), "ServiceAccount")
    for workload in workloads(overlay("production")):
        pod = pod_template(workload)["spec"]
        if pod["containers"][0]["image"].startswith("registry.example.com/"):
            assert pod["serviceAccountName"] in accounts, workload["metadata"]["name"]


def test_the_wallet_finds_the_operators_and_reaches_them(tmp_path: Path) -> None:
    manifests = list(patched(tmp_path))
    wallet = of_kind(manifests, "Deployment")["wallet"]
    pod: dict[str, Any] = pod_template(wallet)["spec"]
    [container] = pod["containers"]
    [source] = container["envFrom"]
    settings = of_kind(manifests, "ConfigMap")[source["configMapRef"]["name"]]["data"]
    [mount] = [each for each in container["volumeMounts"] if each["name"] == "operators"]
    assert settings["REELMESH_WALLET_EXTERNAL_WALLETS_PATH"] == f"{mount['mountPath']}/wallets.yaml"
    [volume] = [each for each in pod["volumes"] if each["name"] == "operators"]
    # 0440: the files belong to the group of the process (fsGroup of components/mtls).
    assert volume["secret"] == {"secretName": "operators", "defaultMode": 0o440}
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]
    # What it had is still there, and one way out more.
    before = of_kind(overlay("production"), "Deployment")["wallet"]
    assert len(pod["volumes"]) == len(pod_template(before)["spec"]["volumes"]) + 1
    ways = of_kind(manifests, "NetworkPolicy")["wallet"]["spec"]["egress"]
    assert ways[:-1] == of_kind(overlay("production"), "NetworkPolicy")["wallet"]["spec"]["egress"]
