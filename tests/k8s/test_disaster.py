"""docs/kubernetes/backup.md, everything anew: what each apply takes and leaves, by the labels it names."""

import re

from tests.k8s.manifests import ROOT, SERVICES, Manifest
from tests.k8s.overlays import overlay

PAGE = (ROOT / "docs" / "kubernetes" / "backup.md").read_text()
ANEW = PAGE[PAGE.index("## Everything") :]


def label(manifest: Manifest, name: str) -> str | None:
    found: str | None = manifest["metadata"].get("labels", {}).get(f"app.kubernetes.io/{name}")
    return found


def before_the_services() -> list[Manifest]:
    """What the first apply takes: `notin` takes what has no such label, too."""
    [values] = re.findall(r"-l 'app\.kubernetes\.io/component notin \((.*?)\)'", ANEW)
    return [each for each in overlay("production") if label(each, "component") not in values.split(", ")]


def of_service(service: str) -> list[Manifest]:
    """What the apply of one service takes."""
    [values] = re.findall(r'-l "app\.kubernetes\.io/name in \((.*?)\)"', ANEW)
    names = values.replace("$service", service).split(", ")
    return [each for each in overlay("production") if label(each, "name") in names]


def test_databases_come_back_before_anything_uses_them() -> None:
    kinds = [(each["kind"], each["metadata"]["name"]) for each in before_the_services()]
    for service in SERVICES:
        assert ("Cluster", f"{service}-database") in kinds
        assert ("Deployment", service) not in kinds
    assert not [name for kind, name in kinds if kind == "Job"]
    # Databases need both: the bucket's key, and the policies that let instances see each other.
    assert ("ExternalSecret", "database-backups") in kinds
    assert ("NetworkPolicy", "wallet-database") in kinds


def test_services_come_with_all_they_have_and_the_door_last() -> None:
    [loop] = re.findall(r"for service in ([a-z ]+); do", ANEW)
    assert set(loop.split()) == set(SERVICES) - {"gateway"}
    for service in loop.split():
        kinds = [each["kind"] for each in of_service(service)]
        assert {"Deployment", "Job", "ConfigMap", "Service", "NetworkPolicy", "Certificate"} <= set(kinds)
        assert kinds.count("ServiceAccount") == 2
    applied = {id(each) for each in before_the_services()}
    applied |= {id(each) for service in loop.split() for each in of_service(service)}
    left = {each["metadata"]["name"] for each in overlay("production") if id(each) not in applied}
    assert {name.split("-migrate")[0] for name in left} == {"gateway"}


def test_the_order_is_the_pages() -> None:
    words = ("notin", "Step 3 above", "rollout status", "The books", "the door. ")
    places = [ANEW.index(word) for word in words]
    assert places == sorted(places)
