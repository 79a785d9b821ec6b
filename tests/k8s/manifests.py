"""What the tests of deploy/k8s share: render, find, validate, and the Pod Security Standard `restricted`."""

import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from kubernetes_validate.utils import ValidationError, all_versions, schema_contents
from referencing import Registry, Resource

from tests.tools import require_tool

ROOT = Path(__file__).parents[2]
K8S = ROOT / "deploy" / "k8s"
BASE = K8S / "base"
SERVICES = ("gateway", "session", "wallet", "game", "events")
# The newest, and the oldest in which each field that the base sets is on by default (preStop sleep: 1.30).
KUBERNETES_VERSIONS = ("1.30", "1.34", "1.37")

Manifest = dict[str, Any]

# What a restricted pod may mount.
_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
_SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
}
_SELINUX_TYPES = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
_PROFILES = {"RuntimeDefault", "Localhost"}
_HANDLERS = ("startupProbe", "readinessProbe", "livenessProbe")


def render(path: Path) -> list[Manifest]:
    """What `kubectl kustomize path` prints. Skips or fails the test where kubectl is absent."""
    kubectl = require_tool("kubectl")
    done = subprocess.run([kubectl, "kustomize", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def render_with(
    folder: Path, *, components: Sequence[Path] = (), resources: Sequence[Path] = (BASE,)
) -> list[Manifest]:
    """Writes an overlay of these into an empty `folder` and renders it."""
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(path, folder) for path in resources],
        "components": [os.path.relpath(path, folder) for path in components],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return render(folder)


def of_kind(manifests: Iterable[Manifest], kind: str) -> dict[str, Manifest]:
    """Those of a kind, by name."""
    return {each["metadata"]["name"]: each for each in manifests if each["kind"] == kind}


def pod_template(workload: Manifest) -> Manifest:
    """Of a Deployment, StatefulSet, DaemonSet, Job or CronJob: metadata and spec of its pods."""
    spec = workload["spec"]
    template: Manifest = (spec["jobTemplate"]["spec"] if "jobTemplate" in spec else spec)["template"]
    return template


def container(workload: Manifest) -> Manifest:
    """The only container of a workload's pods."""
    [only] = pod_template(workload)["spec"]["containers"]
    assert isinstance(only, dict)
    return only


def settings_of(manifests: Iterable[Manifest], service: str) -> dict[str, str]:
    """What the ConfigMap says that the service's Deployment reads, whatever hash its name ends with."""
    listed = list(manifests)
    [source] = container(of_kind(listed, "Deployment")[service])["envFrom"]
    data: dict[str, str] = of_kind(listed, "ConfigMap")[source["configMapRef"]["name"]]["data"]
    return data


def workloads(manifests: Iterable[Manifest]) -> list[Manifest]:
    """Everything that makes pods."""
    kinds = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob")
    return [each for each in manifests if each["kind"] in kinds]


def validate_strictly(manifest: Manifest) -> None:
    """Against each of KUBERNETES_VERSIONS, unknown fields refused. Errors: ValidationError."""
    for version in KUBERNETES_VERSIONS:
        try:
            _validator(version, manifest["kind"], manifest["apiVersion"]).validate(manifest)
        except jsonschema.ValidationError as error:
            raise ValidationError(error, version=version) from None


# As kubernetes_validate.validate, which reads a version's whole schema again for each manifest.
@cache
def _validator(version: str, kind: str, api_version: str) -> Any:
    # "networking.k8s.io/v1" is networking-v1, "v1" is v1.
    group, _, rest = api_version.rpartition("/")
    name = "-".join(filter(None, (kind.lower(), group.partition(".")[0], rest)))
    schema = schema_contents(f"{_schemas(version)}/{name}.json", version)
    return jsonschema.Draft202012Validator(schema, registry=_definitions(version))


@cache
def _definitions(version: str) -> Registry[Any]:
    contents = schema_contents(f"{_schemas(version)}/_definitions.json", version)
    return (Resource.from_contents(contents) @ Registry()).crawl()


def _schemas(version: str) -> str:
    [newest] = {each for each in all_versions() if each.startswith(f"{version}.")}
    return f"kubernetes-json-schema/v{newest}-local-strict"


def check_restricted(pod_spec: Manifest, annotations: Mapping[str, str] | None = None) -> list[str]:
    """What of the pod breaks the Pod Security Standard `restricted`, a line each; [] when nothing does.

    Every rule of baseline and restricted as of Kubernetes 1.34, for Linux pods. `annotations` are the pod's.
    https://kubernetes.io/docs/concepts/security/pod-security-standards/
    """
    found = [*_pod_violations(pod_spec, annotations or {})]
    pod_context = pod_spec.get("securityContext") or {}
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for each in pod_spec.get(kind) or ():
            found += [f"{each['name']}: {problem}" for problem in _container_violations(each, pod_context)]
    return found


def _pod_violations(spec: Manifest, annotations: Mapping[str, str]) -> Iterator[str]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield f"{field} is set"
    for volume in spec.get("volumes") or ():
        if kinds := set(volume) - {"name"} - _VOLUMES:
            yield f"volume {volume['name']} is a {', '.join(sorted(kinds))}"
    context = spec.get("securityContext") or {}
    for sysctl in context.get("sysctls") or ():
        if sysctl["name"] not in _SYSCTLS:
            yield f"sysctl {sysctl['name']}"
    for key, value in annotations.items():
        profile = "runtime/default", "localhost/"
        if key.startswith("container.apparmor.security.beta.kubernetes.io/") and not value.startswith(
            profile
        ):
            yield f"annotation {key}: {value}"
    yield from _context_violations(context)


def _container_violations(each: Manifest, pod_context: Manifest) -> Iterator[str]:
    context = each.get("securityContext") or {}
    yield from _context_violations(context)
    if context.get("privileged"):
        yield "privileged"
    if context.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if context.get("procMount", "Default") != "Default":
        yield f"procMount {context['procMount']}"
    if not (context if "runAsNonRoot" in context else pod_context).get("runAsNonRoot"):
        yield "runAsNonRoot is not true"
    if "type" not in ({**pod_context, **context}.get("seccompProfile") or {}):
        yield "no seccompProfile"
    capabilities = context.get("capabilities") or {}
    if "ALL" not in (capabilities.get("drop") or ()):
        yield "capabilities are not dropped"
    if added := set(capabilities.get("add") or ()) - {"NET_BIND_SERVICE"}:
        yield f"capabilities added: {', '.join(sorted(added))}"
    for port in each.get("ports") or ():
        if port.get("hostPort"):
            yield f"hostPort {port['hostPort']}"
    lifecycle = each.get("lifecycle") or {}
    handlers = [each.get(name) for name in _HANDLERS] + [
        lifecycle.get(name) for name in ("postStart", "preStop")
    ]
    for handler in filter(None, handlers):
        if any((handler.get(kind) or {}).get("host") for kind in ("httpGet", "tcpSocket")):
            yield "a probe or hook names a host"


def _context_violations(context: Manifest) -> Iterator[str]:
    """Rules that hold for a pod's context as for a container's."""
    if context.get("runAsUser") == 0:
        yield "runAsUser is 0"
    for field in ("seccompProfile", "appArmorProfile"):
        if field in context and context[field].get("type") not in _PROFILES:
            yield f"{field} {context[field].get('type')}"
    selinux = context.get("seLinuxOptions") or {}
    if selinux.get("type", "") not in _SELINUX_TYPES or selinux.get("user") or selinux.get("role"):
        yield "seLinuxOptions"
    if (context.get("windowsOptions") or {}).get("hostProcess"):
        yield "hostProcess"
