"""docs/kubernetes: what the pages name is there, and what goes into an overlay renders and validates."""

import importlib.util
import os
import re
from pathlib import Path

import pytest
import yaml

from tests.k8s.custom_resources import is_custom, validate_custom
from tests.k8s.manifests import K8S, ROOT, SERVICES, of_kind, render
from tests.k8s.network import matches_selector
from tests.k8s.overlays import overlay
from tools.call_graph import callees

PAGES = sorted((ROOT / "docs" / "kubernetes").glob("*.md"))
# By the word of kubectl.
KINDS = {
    "deployment": "Deployment",
    "service": "Service",
    "cronjob": "CronJob",
    "hpa": "HorizontalPodAutoscaler",
    "certificate": "Certificate",
    "cluster.postgresql.cnpg.io": "Cluster",
    "gateway.gateway.networking.k8s.io": "Gateway",
}

per_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def blocks(page: Path, language: str) -> list[str]:
    """The page's blocks of that language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def page_of(name: str) -> Path:
    return ROOT / "docs" / "kubernetes" / f"{name}.md"


def test_there_is_a_page_for_each_thing_to_do() -> None:
    assert {page.stem for page in PAGES} == {
        "start",
        "overlay",
        "upgrade",
        "scaling",
        "backup",
        "keys",
        "incidents",
        "rollout-proof",
    }
    first = page_of("start").read_text()
    assert all(f"({page.name})" in first for page in PAGES if page.stem != "start")


@per_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[\w-]*)?\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


@per_page
def test_commands_name_what_is_there(page: Path) -> None:
    text = page.read_text()
    for folder in re.findall(r"-k (\S+)|kubectl kustomize (\S+)", text):
        assert (ROOT / "".join(folder) / "kustomization.yaml").exists(), folder
    for module in re.findall(r"python,? -m,? ([\w.]+)", text):
        assert importlib.util.find_spec(module), module
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make ([a-z-]+)", text):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    there = {
        (each["kind"], each["metadata"]["name"]) for name in ("local", "production") for each in overlay(name)
    }
    # What CloudNativePG makes of a Cluster.
    there |= {
        ("Service", f"{name}-{suffix}")
        for name in of_kind(overlay("production"), "Cluster")
        for suffix in ("rw", "ro")
    }
    words = "|".join(map(re.escape, KINDS))
    named = re.findall(rf"\b({words})[/ ](?!in )([a-z][a-z0-9-]*)(?=\s)", "\n".join(blocks(page, "sh")))
    for word, name in named:
        assert (KINDS[word], name) in there, (word, name)


def test_commands_of_every_page_were_looked_at() -> None:
    """So that the pattern above does not come to find nothing."""
    found = [each for page in PAGES for each in re.findall(r"deployment/\w+|cronjob/\w+", page.read_text())]
    assert len(found) > 15


def test_who_is_called_is_rolled_before_who_calls() -> None:
    def orders(name: str) -> list[list[str]]:
        found = re.findall(r"for service in ([\w ]+); do\n((?:  .*\n)+)done", page_of(name).read_text())
        return [services.split() for services, body in found if "rollout status" in body]

    up, back = orders("upgrade")
    for order in (*orders("start"), up, back[::-1]):
        assert sorted(order) == sorted(SERVICES)
        for place, caller in enumerate(order):
            assert set(callees(caller)) <= set(order[:place]), caller
    assert orders("start")


def test_the_class_of_the_gateway_is_made() -> None:
    [gateway] = of_kind(overlay("production"), "Gateway").values()
    [made] = re.findall(r"kind: GatewayClass\nmetadata:\n  name: (\w+)", page_of("start").read_text())
    assert made == gateway["spec"]["gatewayClassName"]


def test_what_the_door_is_verified_with_is_made() -> None:
    text = page_of("start").read_text()
    [policy] = of_kind(overlay("production"), "BackendTLSPolicy").values()
    [authority] = policy["spec"]["validation"]["caCertificateRefs"]
    made = re.findall(r"create configmap (\S+) --from-file=ca\.crt", text)
    assert (authority["kind"], [authority["name"]]) == ("ConfigMap", made)
    [gateway] = of_kind(overlay("production"), "Gateway").values()
    shown = {each["name"] for one in gateway["spec"]["listeners"] for each in one["tls"]["certificateRefs"]}
    assert shown == set(re.findall(r"public certificate is a Secret `([\w-]+)`", text))


def test_secrets_made_by_hand_have_every_key() -> None:
    text = page_of("start").read_text()
    for each in of_kind(overlay("production"), "ExternalSecret").values():
        for item in each["spec"]["data"]:
            assert re.search(rf"--from-(literal|file)={item['secretKey']}\b", text), item


def test_selecting_by_label_takes_what_the_pods_need() -> None:
    """docs/kubernetes/upgrade.md applies one service at a time: its ConfigMap has to come with it."""
    maps = of_kind(overlay("production"), "ConfigMap")
    for service, deployment in of_kind(overlay("production"), "Deployment").items():
        for source in deployment["spec"]["template"]["spec"]["containers"][0].get("envFrom", ()):
            labels = maps[source["configMapRef"]["name"]]["metadata"]["labels"]
            assert labels["app.kubernetes.io/name"] == service
    for job in of_kind(overlay("production"), "Job").values():
        assert job["metadata"]["labels"]["app.kubernetes.io/component"] == "migration"
    restored = [
        each["kind"]
        for each in overlay("production")
        if each["metadata"].get("labels", {}).get("app.kubernetes.io/name") == "wallet-database"
    ]
    assert sorted(restored) == ["Cluster", "ObjectStore", "ScheduledBackup"]


def test_a_restored_cluster_begins_from_the_bucket_and_archives_elsewhere(tmp_path: Path) -> None:
    [snippet] = [block for block in blocks(page_of("backup"), "yaml") if block.startswith("patches:")]
    kustomization = {
        "resources": [os.path.relpath(K8S / "overlays" / "production", tmp_path)],
        **yaml.safe_load(snippet),
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    manifests = render(tmp_path)
    restored = of_kind(manifests, "Cluster")["wallet-database"]
    validate_custom(restored)
    spec, before = restored["spec"], of_kind(overlay("production"), "Cluster")["wallet-database"]["spec"]
    assert "initdb" not in spec["bootstrap"]
    [source] = [
        each for each in spec["externalClusters"] if each["name"] == spec["bootstrap"]["recovery"]["source"]
    ]
    read, written = source["plugin"]["parameters"], spec["plugins"][0]["parameters"]
    assert (
        read["barmanObjectName"]
        == written["barmanObjectName"]
        == before["plugins"][0]["parameters"]["barmanObjectName"]
    )
    # An archive is under its cluster's name unless that says otherwise: never over the one it is read from.
    assert read["serverName"] == "wallet-database" != written["serverName"]
    assert spec["postgresql"]["synchronous"] == before["postgresql"]["synchronous"]
    for manifest in manifests:
        if manifest["kind"] != "Cluster" or manifest["metadata"]["name"] != "wallet-database":
            assert manifest in overlay("production")


def test_a_backup_by_hand_is_one_of_the_plugin() -> None:
    [backup] = [
        yaml.safe_load(block) for block in blocks(page_of("backup"), "yaml") if "kind: Backup" in block
    ]
    assert is_custom(backup)
    # `kubectl create` makes a name of it.
    backup["metadata"]["name"] = backup["metadata"].pop("generateName") + "x"
    validate_custom(backup)
    schedule = of_kind(overlay("production"), "ScheduledBackup")["wallet-database"]["spec"]
    assert backup["spec"].items() <= schedule.items()


def test_the_prometheus_of_the_page_is_the_one_of_the_rules() -> None:
    [ours] = blocks(page_of("start"), "yaml")
    spec = yaml.safe_load(ours)
    source = yaml.safe_load((ROOT / "deploy/observability/prometheus.yaml").read_text())
    assert spec["otlp"]["translationStrategy"] == source["otlp"]["translation_strategy"]
    assert spec["otlp"]["promoteResourceAttributes"] == source["otlp"]["promote_resource_attributes"]
    assert spec["tsdb"]["outOfOrderTimeWindow"] == source["storage"]["tsdb"]["out_of_order_time_window"]
    # Without selectors the operator's Prometheus takes no rule and scrapes nobody.
    for kind, word in (("PrometheusRule", "rule"), ("PodMonitor", "podMonitor")):
        for each in of_kind(overlay("production"), kind).values():
            assert matches_selector(spec[f"{word}Selector"], each["metadata"]["labels"])
        home = {"kubernetes.io/metadata.name": each["metadata"]["namespace"]}
        assert matches_selector(spec[f"{word}NamespaceSelector"], home)
    assert spec["enableOTLPReceiver"] is True and spec["enableFeatures"] == ["exemplar-storage"]
