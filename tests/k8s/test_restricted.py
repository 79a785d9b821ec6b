"""Each rule of the Pod Security Standard `restricted` is seen to fail, on a pod of ours that breaks it."""

import copy
from typing import Any

import pytest

from tests.k8s.manifests import BASE, Manifest, check_restricted, of_kind, pod_template, render

# Where in the pod's spec, and what stands there. A number is a place in a list.
Break = tuple[tuple[str | int, ...], Any]

POD = ("securityContext",)
ONE = ("containers", 0)
CONTEXT = (*ONE, "securityContext")
BROKEN: dict[str, Break] = {
    "host network": (("hostNetwork",), True),
    "host processes": (("hostPID",), True),
    "host memory": (("hostIPC",), True),
    "a folder of the node": (("volumes", 0), {"name": "tmp", "hostPath": {"path": "/"}}),
    "a volume of another kind": (("volumes", 0), {"name": "tmp", "nfs": {"server": "a", "path": "/"}}),
    "a sysctl": ((*POD, "sysctls"), [{"name": "kernel.msgmax", "value": "1"}]),
    "the pod as root": ((*POD, "runAsUser"), 0),
    "the container as root": ((*CONTEXT, "runAsUser"), 0),
    "a pod that may be root": ((*POD, "runAsNonRoot"), False),
    "a pod that does not say": ((*POD, "runAsNonRoot"), None),
    "a container that may be root": ((*CONTEXT, "runAsNonRoot"), False),
    "no system call refused": ((*POD, "seccompProfile", "type"), "Unconfined"),
    "none in the container": ((*CONTEXT, "seccompProfile"), {"type": "Unconfined"}),
    "no profile": ((*POD, "seccompProfile"), None),
    "a pod without AppArmor": ((*POD, "appArmorProfile"), {"type": "Unconfined"}),
    "a container without": ((*CONTEXT, "appArmorProfile"), {"type": "Unconfined"}),
    "another SELinux type": ((*POD, "seLinuxOptions"), {"type": "spc_t"}),
    "an SELinux user": ((*CONTEXT, "seLinuxOptions"), {"user": "system_u"}),
    "an SELinux role": ((*CONTEXT, "seLinuxOptions"), {"role": "sysadm_r"}),
    "privileged": ((*CONTEXT, "privileged"), True),
    "escalation": ((*CONTEXT, "allowPrivilegeEscalation"), True),
    "escalation not ruled out": ((*CONTEXT, "allowPrivilegeEscalation"), None),
    "the whole of /proc": ((*CONTEXT, "procMount"), "Unmasked"),
    "capabilities kept": ((*CONTEXT, "capabilities"), {"drop": ["NET_RAW"]}),
    "capabilities not named": ((*CONTEXT, "capabilities"), None),
    "a capability added": ((*CONTEXT, "capabilities", "add"), ["SYS_TIME"]),
    "a port of the node": ((*ONE, "ports", 0, "hostPort"), 50051),
    "a probe of another host": ((*ONE, "livenessProbe"), {"httpGet": {"port": 1, "host": "10.0.0.1"}}),
    "a hook to another host": (
        (*ONE, "lifecycle", "preStop"),
        {"tcpSocket": {"port": 1, "host": "10.0.0.1"}},
    ),
    "a process of the host": ((*POD, "windowsOptions"), {"hostProcess": True}),
    "one of the host in a container": ((*CONTEXT, "windowsOptions"), {"hostProcess": True}),
    "a container before it": (("initContainers",), [{"name": "first"}]),
    "a container for debugging": (("ephemeralContainers",), [{"name": "debug"}]),
}
ALLOWED: dict[str, Break] = {
    "a low port": ((*CONTEXT, "capabilities", "add"), ["NET_BIND_SERVICE"]),
    "a safe sysctl": ((*POD, "sysctls"), [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]),
    "a profile of the node's": (
        (*CONTEXT, "seccompProfile"),
        {"type": "Localhost", "localhostProfile": "a.json"},
    ),
    "a secret": (("volumes", 0), {"name": "tmp", "secret": {"secretName": "tls"}}),
    "the container says it alone": ((*CONTEXT, "runAsNonRoot"), True),
}


@pytest.fixture(scope="module")
def pod() -> Manifest:
    """The wallet's."""
    spec: Manifest = pod_template(of_kind(render(BASE), "Deployment")["wallet"])["spec"]
    return spec


def changed(pod: Manifest, change: Break) -> Manifest:
    """A copy of it with this in it; None takes away what is there."""
    (*way, last), value = change
    spec = copy.deepcopy(pod)
    place: Any = spec
    for step in way:
        place = place[step] if isinstance(step, int) else place.setdefault(step, {})
    if value is None:
        del place[last]
    else:
        place[last] = value
    return spec


@pytest.mark.parametrize("name", BROKEN)
def test_a_pod_that_breaks_a_rule_is_refused(pod: Manifest, name: str) -> None:
    assert check_restricted(pod) == []
    assert check_restricted(changed(pod, BROKEN[name])) != []


@pytest.mark.parametrize("name", ALLOWED)
def test_what_the_standard_allows_is_allowed(pod: Manifest, name: str) -> None:
    assert check_restricted(changed(pod, ALLOWED[name])) == []


def test_an_annotation_of_before_counts_too(pod: Manifest) -> None:
    key = "container.apparmor.security.beta.kubernetes.io/wallet"
    assert check_restricted(pod, {key: "unconfined"}) != []
    assert check_restricted(pod, {key: "runtime/default", "another": "unconfined"}) == []
