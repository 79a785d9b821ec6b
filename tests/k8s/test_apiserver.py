"""Every object that we render is taken by an API server, where REELMESH_KUBE_APISERVER names a kubeconfig."""

import copy
import json
import os
import subprocess
import uuid
from collections.abc import Iterator

import pytest

from tests.k8s.custom_resources import definitions
from tests.k8s.manifests import BASE, Manifest, container, of_kind, pod_template, render, workloads
from tests.k8s.overlays import OVERLAYS, overlay
from tests.tools import require_tool

KUBECONFIG = os.environ.get("REELMESH_KUBE_APISERVER", "")

pytestmark = pytest.mark.skipif(not KUBECONFIG, reason="REELMESH_KUBE_APISERVER names no kubeconfig")


def kubectl(*arguments: str, manifest: Manifest | None = None) -> subprocess.CompletedProcess[str]:
    """Asks the server; the caller looks at the exit code."""
    command = [require_tool("kubectl"), "--kubeconfig", KUBECONFIG, *arguments]
    return subprocess.run(
        command, input=json.dumps(manifest) if manifest else "", capture_output=True, text=True, timeout=60
    )


def apply(manifest: Manifest, *, dry_run: bool = True) -> subprocess.CompletedProcess[str]:
    """Server-side, and strictly: an unknown or doubled field is an error."""
    options = ["--server-side", "--field-manager=reelmesh-test", "--validate=strict"]
    return kubectl(
        "apply", *options, *(["--dry-run=server"] if dry_run else []), "-f", "-", manifest=manifest
    )


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    """One of our own, as restricted as the base's, removed at the end with what was made in it."""
    name = f"reelmesh-test-{uuid.uuid4().hex[:8]}"
    [wanted] = of_kind(render(BASE), "Namespace").values()
    wanted["metadata"]["name"] = name
    try:
        made(wanted)
        yield name
    finally:
        kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def kinds() -> Iterator[None]:
    """Other projects' kinds, as the server defines them; those that it lacks by their reduced schemas."""
    lacking = [each for each in definitions() if not known(each["metadata"]["name"])]
    names = [each["metadata"]["name"] for each in lacking]
    try:
        for each in lacking:
            made(each)
        for name in names:
            done = kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", name)
            assert done.returncode == 0, done.stderr
        yield
    finally:
        if names:
            kubectl("delete", "crd", *names, "--wait=false")


def known(definition: str) -> bool:
    """Whether the server has it."""
    return kubectl("get", "crd", definition).returncode == 0


def made(manifest: Manifest) -> None:
    """Really, not as a dry run."""
    done = apply(manifest, dry_run=False)
    assert done.returncode == 0, done.stderr


def placed(manifests: list[Manifest], namespace: str) -> list[Manifest]:
    """Copies of them in that namespace. Accounts are really made there: pods need theirs."""
    found = copy.deepcopy(manifests)
    for each in found:
        each["metadata"]["name" if each["kind"] == "Namespace" else "namespace"] = namespace
    for account in of_kind(found, "ServiceAccount").values():
        made(account)
    return found


@pytest.fixture(scope="module")
def manifests(namespace: str) -> list[Manifest]:
    """The base, in that namespace."""
    return placed(render(BASE), namespace)


def taken(manifest: Manifest) -> None:
    """Without a warning, such as the namespace's of a lax pod and the server's of an old version."""
    done = apply(manifest)
    named = manifest["kind"], manifest["metadata"]["name"]
    assert (done.returncode, done.stderr) == (0, ""), (*named, done.stderr)


def test_every_object_is_taken_without_a_warning(manifests: list[Manifest]) -> None:
    for each in manifests:
        taken(each)


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_object_of_an_overlay_is_taken(name: str, namespace: str, kinds: None) -> None:
    for each in placed(overlay(name), namespace):
        taken(each)


def test_a_misspelt_field_of_another_project_is_refused(namespace: str, kinds: None) -> None:
    broken = copy.deepcopy(of_kind(overlay("production"), "Cluster")["wallet-database"])
    broken["metadata"]["namespace"] = namespace
    broken["spec"]["instance"] = 3
    refused = apply(broken)
    assert refused.returncode != 0 and "instance" in refused.stderr


def pod(workload: Manifest) -> Manifest:
    """One of those that the workload makes."""
    template = copy.deepcopy(pod_template(workload))
    template["metadata"] |= {"name": "one", "namespace": workload["metadata"]["namespace"]}
    return {"apiVersion": "v1", "kind": "Pod", **template}


def test_the_pods_themselves_are_let_in_and_a_laxer_one_is_not(manifests: list[Manifest]) -> None:
    for workload in workloads(manifests):
        done = apply(pod(workload))
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
    laxer = copy.deepcopy(of_kind(manifests, "Deployment")["wallet"])
    container(laxer)["securityContext"]["allowPrivilegeEscalation"] = True
    refused = apply(pod(laxer))
    assert refused.returncode != 0 and "violates PodSecurity" in refused.stderr


def test_a_misspelt_field_is_refused(manifests: list[Manifest]) -> None:
    broken = copy.deepcopy(of_kind(manifests, "Deployment")["wallet"])
    broken["spec"]["replica"] = 2
    assert apply(broken).returncode != 0
