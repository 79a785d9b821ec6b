"""Every object of the base is taken by an API server, where REELMESH_KUBE_APISERVER names a kubeconfig."""

import copy
import json
import os
import subprocess
import uuid
from collections.abc import Iterator

import pytest

from tests.k8s.manifests import BASE, Manifest, container, of_kind, pod_template, render, workloads
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
def manifests() -> Iterator[list[Manifest]]:
    """The base in a namespace of its own, removed at the end. Accounts are really made: pods need theirs."""
    name = f"reelmesh-test-{uuid.uuid4().hex[:8]}"
    found = render(BASE)
    for each in found:
        place = "name" if each["kind"] == "Namespace" else "namespace"
        each["metadata"][place] = name
    try:
        for kind in ("Namespace", "ServiceAccount"):
            for each in of_kind(found, kind).values():
                done = apply(each, dry_run=False)
                assert done.returncode == 0, done.stderr
        yield found
    finally:
        kubectl("delete", "namespace", name, "--wait=false")


def test_every_object_is_taken_without_a_warning(manifests: list[Manifest]) -> None:
    for each in manifests:
        done = apply(each)
        # The namespace warns of pods that are not restricted.
        assert (done.returncode, done.stderr) == (0, ""), (
            each["kind"],
            each["metadata"]["name"],
            done.stderr,
        )


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
