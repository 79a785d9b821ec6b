"""The rendered overlays, each once per session, and what tests ask of them."""

from functools import cache

from kubernetes_validate import utils

from tests.k8s.manifests import K8S, SERVICES, Manifest, of_kind, pod_template, render, workloads
from tests.k8s.network import matches_selector

OVERLAYS = ("local", "staging", "production")

# It would read all definitions of a version, a megabyte, for every manifest.
utils.schema_contents = cache(utils.schema_contents)


@cache
def overlay(name: str) -> list[Manifest]:
    """What `kubectl kustomize deploy/k8s/overlays/<name>` prints; nobody changes it."""
    return render(K8S / "overlays" / name)


def variables(workload: Manifest) -> dict[str, Manifest]:
    """The container's `env`, by name, in its order."""
    [only] = pod_template(workload)["spec"]["containers"]
    return {each["name"]: each for each in only.get("env", ())}


def migrations(manifests: list[Manifest]) -> dict[str, Manifest]:
    """The migration Job of each service."""
    jobs = of_kind(manifests, "Job")
    return {
        service: next(job for name, job in jobs.items() if name.startswith(f"{service}-migrate"))
        for service in SERVICES
    }


def pods(manifests: list[Manifest]) -> list[dict[str, str]]:
    """Labels of every pod that will be: of workloads, of CloudNativePG's instances and poolers."""
    found = [pod_template(each)["metadata"]["labels"] for each in workloads(manifests)]
    for name in of_kind(manifests, "Cluster"):
        found.append({"cnpg.io/cluster": name, "cnpg.io/podRole": "instance"})
    for name, pooler in of_kind(manifests, "Pooler").items():
        labels = {"cnpg.io/cluster": pooler["spec"]["cluster"]["name"], "cnpg.io/podRole": "pooler"}
        found.append({**labels, "cnpg.io/poolerName": name})
    return found


def selected(selector: Manifest, every: list[dict[str, str]]) -> list[dict[str, str]]:
    """Those of the pods, by their labels, that the selector finds."""
    return [labels for labels in every if matches_selector(selector, labels)]
