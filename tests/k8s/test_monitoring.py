"""components/monitoring and external-secrets: what deploy/observability has, and what the services read."""

import json

import pytest
import yaml

from tests.k8s.manifests import ROOT, SERVICES, of_kind, pod_template, workloads
from tests.k8s.network import matches_selector
from tests.k8s.overlays import overlay, pods, selected, variables
from tools import prometheus_rules

OBSERVABILITY = ROOT / "deploy" / "observability"
RUNBOOK = "https://docs.example.com/reelmesh/docs/runbook.md"

both = pytest.mark.parametrize("name", ["staging", "production"])


def test_the_committed_rules_are_those_of_the_source() -> None:
    assert prometheus_rules.TARGET.read_text() == prometheus_rules.rendered(), "run make dashboards"


@both
def test_every_rule_is_there_as_it_is_tested(name: str) -> None:
    given = of_kind(overlay(name), "PrometheusRule")
    sources = sorted((OBSERVABILITY / "rules").glob("*.yaml"))
    assert len(sources) == len(given) >= 6
    for path in sources:
        expected = path.read_text().replace("runbook_url: docs/runbook.md#", f"runbook_url: {RUNBOOK}#")
        assert given[f"reelmesh-{path.stem}"]["spec"] == yaml.safe_load(expected)
    # A pager shows it as a link; where it leads is the overlay's to say, and no object of the cluster.
    alerts = str(given).count("'alert': ")
    assert alerts == str(given).count(f"'runbook_url': '{RUNBOOK}#") >= 20
    assert "runbook" not in of_kind(overlay(name), "ConfigMap")


@both
def test_every_dashboard_is_there_as_it_is_tested(name: str) -> None:
    maps = of_kind(overlay(name), "ConfigMap")
    paths = sorted((OBSERVABILITY / "dashboards").glob("*.json"))
    assert len(paths) >= 6
    for path in paths:
        found = maps[f"dashboard-{path.stem}"]
        assert json.loads(found["data"][path.name]) == json.loads(path.read_text())
        assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    # A ConfigMap takes a megabyte, and `kubectl apply` keeps it a second time, in 256 KiB.
    assert max(path.stat().st_size for path in paths) < 200_000


@both
def test_what_is_scraped_is_a_port_of_somebody(name: str) -> None:
    every = pods(overlay(name))
    for monitor in of_kind(overlay(name), "PodMonitor").values():
        found = selected(monitor["spec"]["selector"], every)
        assert found
        [endpoint] = monitor["spec"]["podMetricsEndpoints"]
        for workload in workloads(overlay(name)):
            template = pod_template(workload)
            if matches_selector(monitor["spec"]["selector"], template["metadata"]["labels"]):
                ports = {port["name"] for each in template["spec"]["containers"] for port in each["ports"]}
                assert endpoint["port"] in ports


@both
def test_metrics_go_where_the_operators_prometheus_listens(name: str) -> None:
    collector = of_kind(overlay(name), "Deployment")["otel-collector"]
    assert variables(collector)["METRICS_ENDPOINT"]["value"].startswith(
        "http://prometheus-operated.monitoring:"
    )


@both
def test_every_key_that_is_read_comes_from_the_store(name: str) -> None:
    given = {
        each["spec"]["target"]["name"]: {item["secretKey"] for item in each["spec"]["data"]}
        for each in of_kind(overlay(name), "ExternalSecret").values()
    }
    read = set()
    for service in SERVICES:
        for variable in variables(of_kind(overlay(name), "Deployment")[service]).values():
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            if reference and reference["name"] == "mesh-keys":
                read.add(reference["key"])
    assert read and read <= given["mesh-keys"]
    for store in of_kind(overlay(name), "ObjectStore").values():
        for reference in store["spec"]["configuration"]["s3Credentials"].values():
            assert reference["key"] in given[reference["name"]]
    [secrets] = of_kind(overlay(name), "SecretStore").values()
    for each in of_kind(overlay(name), "ExternalSecret").values():
        assert each["spec"]["secretStoreRef"] == {"kind": "SecretStore", "name": secrets["metadata"]["name"]}
        # A store that is emptied by mistake must not take the mesh's keys away.
        assert each["spec"]["target"]["deletionPolicy"] == "Retain"
