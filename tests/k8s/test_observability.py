"""The observability component: renders onto the base, and its collectors speak of what the services emit."""

import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from reelmesh.game.v1 import game_pb2
from reelmesh.wallet.v1 import wallet_pb2

from deploy.local.ports import free_ports
from deploy.local.traces import TraceReceiver
from tests.k8s.manifests import (
    ROOT,
    SERVICES,
    Manifest,
    container,
    of_kind,
    render_with,
    settings_of,
    validate_strictly,
)

COMPONENT = ROOT / "deploy" / "k8s" / "components" / "observability"
CONFIGS = {
    name: COMPONENT / folder / f"{file}-config.yaml"
    for name, folder, file in (
        ("otel-collector", "collector", "collector"),
        ("otel-sampler", "collector", "sampler"),
        ("jaeger", "jaeger", "jaeger"),
    )
}
# The generated code of these declares the methods that a policy may name.
PROTOS = (game_pb2, wallet_pb2)


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    """The base with the component, as docs/traces.md says to combine them."""
    return render_with(tmp_path_factory.mktemp("overlay"), components=[COMPONENT])


def config(name: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(CONFIGS[name].read_text())
    return read


def workloads(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Those that the component adds."""
    kinds = {**of_kind(manifests, "Deployment"), **of_kind(manifests, "StatefulSet")}
    return {name: workload for name, workload in kinds.items() if name not in SERVICES}


def test_every_manifest_validates_strictly(manifests: list[Manifest]) -> None:
    assert workloads(manifests).keys() == CONFIGS.keys()
    for manifest in manifests:
        validate_strictly(manifest)
        assert manifest["kind"] == "Namespace" or manifest["metadata"]["namespace"] == "reelmesh"


def test_every_service_sends_everything_to_a_collector_that_is_there(manifests: list[Manifest]) -> None:
    services = of_kind(manifests, "Service")
    for name in SERVICES:
        data = settings_of(manifests, name)
        host, port = data["OTEL_EXPORTER_OTLP_ENDPOINT"].removeprefix("http://").split(":")
        assert int(port) in {each["port"] for each in services[host]["spec"]["ports"]}
        assert data["REELMESH_TRACE_RATIO"] == "1.0"
        # POD_NAME comes before the variable that names it: Kubernetes resolves them in order.
        names = [each["name"] for each in container(of_kind(manifests, "Deployment")[name])["env"]]
        assert names.index("POD_NAME") < names.index("OTEL_RESOURCE_ATTRIBUTES")


def test_each_hop_leads_to_the_next(manifests: list[Manifest]) -> None:
    services = of_kind(manifests, "Service")
    hops = [
        ("otel-collector", config("otel-collector")["exporters"]["load_balancing"]["resolver"]["dns"]),
        ("otel-sampler", config("otel-sampler")["exporters"]["otlp_grpc/traces"]),
    ]
    for _, hop in hops:
        named = hop.get("hostname") or hop["endpoint"]
        host, _, port = re.sub(r"\$\{env:\w+:-(.*)\}", r"\1", named).partition(":")
        assert int(port or hop["port"]) in {each["port"] for each in services[host]["spec"]["ports"]}
    assert services["otel-sampler-headless"]["spec"]["clusterIP"] == "None"


def test_ports_of_services_and_probes_are_listened_on(manifests: list[Manifest]) -> None:
    for name, workload in workloads(manifests).items():
        ports = {port["name"]: port["containerPort"] for port in container(workload)["ports"]}
        listened = {
            int(port) for port in re.findall(r"(?:0\.0\.0\.0:|port: )(\d+)", CONFIGS[name].read_text())
        }
        assert set(ports.values()) <= listened, name
        probes = [probe for key, probe in container(workload).items() if key.endswith("Probe")]
        assert len(probes) >= 2 and {probe["httpGet"]["port"] for probe in probes} <= ports.keys()
        labels = workload["spec"]["template"]["metadata"]["labels"]
        [service] = [
            each
            for each in of_kind(manifests, "Service").values()
            if each["spec"]["selector"].items() <= labels.items()
        ]
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports.keys()


def test_a_changed_configuration_rolls_its_pods(manifests: list[Manifest]) -> None:
    maps = of_kind(manifests, "ConfigMap")
    for name, workload in workloads(manifests).items():
        mounted = {
            volume["configMap"]["name"]
            for volume in workload["spec"]["template"]["spec"]["volumes"]
            if "configMap" in volume
        }
        [hashed] = mounted
        assert re.fullmatch(rf"{name}-[a-z0-9]{{10}}", hashed)
        assert maps[hashed]["data"]["config.yaml"] == CONFIGS[name].read_text()
        [argument] = container(workload)["args"]
        [mount] = [each for each in container(workload)["volumeMounts"] if each["name"] == "config"]
        assert argument == f"--config={mount['mountPath']}/config.yaml"


def test_pods_are_restricted_bounded_and_pinned(manifests: list[Manifest]) -> None:
    for name, workload in workloads(manifests).items():
        pod, only = workload["spec"]["template"]["spec"], container(workload)
        assert pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"]
        assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
        assert only["securityContext"]["allowPrivilegeEscalation"] is False
        assert only["securityContext"]["readOnlyRootFilesystem"] is True
        assert only["securityContext"]["capabilities"]["drop"] == ["ALL"]
        assert re.search(r":\d+\.\d+\.\d+$", only["image"])
        limit_mib = {"512Mi": 512, "2Gi": 2048}[only["resources"]["limits"]["memory"]]
        [go_limit] = [each["value"] for each in only["env"] if each["name"] == "GOMEMLIMIT"]
        assert 0.7 * limit_mib <= int(go_limit.removesuffix("MiB")) <= 0.85 * limit_mib, name


# What the policies speak of


def policies() -> dict[str, dict[str, Any]]:
    """The sampler's, by name."""
    listed = config("otel-sampler")["processors"]["tail_sampling"]["policies"]
    return {policy["name"]: policy[policy["type"]] for policy in listed}


def test_every_attribute_value_and_span_of_a_policy_is_declared() -> None:
    contract = yaml.safe_load((ROOT / "services" / "telemetry.yaml").read_text())
    spans = {name for span in contract["spans"] for name in span.get("names", ())}
    on_spans = {key for span in contract["spans"] for key in span["attributes"]}
    methods = {
        f"{service.full_name}/{method.name}"
        for module in PROTOS
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    seen = 0
    for policy in policies().values():
        for name in re.findall(r'span\.name == "([^"]+)"', " ".join(policy.get("span", ()))):
            assert name in spans, name
            seen += 1
        if key := policy.get("key"):
            assert key in on_spans, key
            declared = methods if key == "rpc.method" else set(contract["attributes"][key]["values"])
            assert set(policy["values"]) <= declared, key
            seen += 1
    assert seen == 5
    assert set(policies()["kept"]["values"]) == set(contract["attributes"]["reelmesh.keep"]["values"])


@contextmanager
def running(program: str, settings: dict[str, Any], health: str, tmp_path: Path) -> Iterator[None]:
    """The collector with these settings, answering at `health`."""
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen([program, f"--config={path}"], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(health, timeout=1):
                    break
            except (urllib.error.URLError, ConnectionError):
                assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
                time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def found(name: str) -> str:
    """The program's path. Debian has no package of these: what needs them is a long form, not run by CI."""
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"needs the program {name} (see `make tools`)")
    return program


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "program"),
    [("otel-collector", "otelcol-contrib"), ("otel-sampler", "otelcol-contrib"), ("jaeger", "jaeger")],
)
def test_each_program_takes_its_configuration(name: str, program: str) -> None:
    done = subprocess.run(
        [found(program), "validate", f"--config={CONFIGS[name]}"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


CASES: dict[str, dict[str, Any]] = {
    "errors": {"status": Status(code=Status.STATUS_CODE_ERROR)},
    "slow": {"took_ms": 501},
    "replays": {"attribute": ("reelmesh.keep", "replay")},
    "reviews": {"attribute": ("reelmesh.keep", "review")},
    "voids": {"attribute": ("reelmesh.keep", "void")},
    "reconciled": {"name": "reconciler.void"},
    "rollbacks": {"attribute": ("rpc.method", "reelmesh.wallet.v1.WalletService/RollbackRound")},
    "a spin like others": {"attribute": ("rpc.method", "reelmesh.wallet.v1.WalletService/BatchSettle")},
}


def exported(
    number: int,
    *,
    name: str = "span",
    took_ms: int = 10,
    status: Status | None = None,
    attribute: tuple[str, str] | None = None,
) -> ExportTraceServiceRequest:
    """A trace of one span; the number is its id."""
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add()
    span.trace_id, span.span_id, span.name = number.to_bytes(16), number.to_bytes(8), name
    span.start_time_unix_nano = time.time_ns()
    span.end_time_unix_nano = span.start_time_unix_nano + took_ms * 1_000_000
    span.status.CopyFrom(status or Status())
    if attribute is not None:
        pair = span.attributes.add()
        pair.key, pair.value.string_value = attribute
    return request


@pytest.mark.long
def test_what_matters_is_kept_whatever_the_share(trace_receiver: TraceReceiver, tmp_path: Path) -> None:
    program = found("otelcol-contrib")
    settings = config("otel-sampler")
    otlp, health, own = free_ports(3)
    settings["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"] = f"127.0.0.1:{otlp}"
    settings["extensions"]["health_check"]["endpoint"] = f"127.0.0.1:{health}"
    reader = settings["service"]["telemetry"]["metrics"]["readers"][0]["pull"]["exporter"]["prometheus"]
    reader |= {"host": "127.0.0.1", "port": own}
    sampling = settings["processors"]["tail_sampling"]
    sampling["decision_wait"] = "1s"
    [rest] = [policy for policy in sampling["policies"] if policy["name"] == "rest"]
    rest["probabilistic"]["sampling_percentage"] = 0
    settings["exporters"] = {"otlp_http/traces": {"endpoint": trace_receiver.endpoint}}
    settings["service"]["pipelines"]["traces"]["exporters"] = ["otlp_http/traces"]
    with running(program, settings, f"http://127.0.0.1:{health}", tmp_path):
        options = [("grpc.enable_http_proxy", 0)]
        with grpc.insecure_channel(f"127.0.0.1:{otlp}", options=options) as channel:
            export = channel.unary_unary(
                "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
                request_serializer=ExportTraceServiceRequest.SerializeToString,
                response_deserializer=ExportTraceServiceResponse.FromString,
            )
            # The ordinary one first: when the others are there, it has been decided.
            for number, case in reversed(list(enumerate(CASES.values(), start=1))):
                export(exported(number, **case), timeout=10)
        wanted = {number for number, name in enumerate(CASES, start=1) if name != "a spin like others"}
        trace_receiver.wait_for(lambda spans: {int(span.trace_id, 16) for span in spans} >= wanted)
    # It has ended and sent what it still had.
    assert {int(span.trace_id, 16) for span in trace_receiver.spans()} == wanted
