"""components/mtls: each service has a certificate that says who it is, mounted so that it can change."""

from datetime import timedelta

import pytest

from tests.k8s.manifests import SERVICES, Manifest, container, of_kind, pod_template
from tests.k8s.overlays import overlay

PATH = "/tls"

both = pytest.mark.parametrize("name", ["staging", "production"])


def lasts(text: str) -> timedelta:
    return timedelta(hours=int(text.removesuffix("h")))


@both
def test_each_service_is_one_identity(name: str) -> None:
    certificates = of_kind(overlay(name), "Certificate")
    assert set(certificates) == {"reelmesh-ca", *(f"{service}-tls" for service in SERVICES)}
    for service in SERVICES:
        spec = certificates[f"{service}-tls"]["spec"]
        assert spec["uris"] == [f"spiffe://reelmesh/{service}"]
        assert spec["secretName"] == f"{service}-tls"
        # Both: a service calls, and is called.
        assert {"server auth", "client auth"} <= set(spec["usages"])
        assert "isCA" not in spec


@both
def test_a_certificate_has_every_name_under_which_its_service_is_called(name: str) -> None:
    services = of_kind(overlay(name), "Service")
    certificates = of_kind(overlay(name), "Certificate")
    maps = of_kind(overlay(name), "ConfigMap")
    for service in SERVICES:
        names = set(certificates[f"{service}-tls"]["spec"]["dnsNames"])
        own = [each for each in services if each in (service, f"{service}-headless")]
        for each in own:
            assert {each, f"{each}.reelmesh", f"{each}.reelmesh.svc"} <= names
        # Nobody else's: a service that is taken over must not answer for another.
        assert all(each.split(".")[0] in (service, f"{service}-headless") for each in names)
    for config in maps.values():
        for key, value in config["data"].items():
            if key.startswith("REELMESH_") and key.endswith("_TARGET"):
                host = value.removeprefix("dns:///").partition(":")[0]
                callee = host.partition(".")[0].removesuffix("-headless")
                assert host in certificates[f"{callee}-tls"]["spec"]["dnsNames"], key


@both
def test_certificates_are_short_and_their_keys_new_each_time(name: str) -> None:
    for service in SERVICES:
        spec = of_kind(overlay(name), "Certificate")[f"{service}-tls"]["spec"]
        assert lasts(spec["duration"]) == timedelta(hours=24)
        assert lasts(spec["renewBefore"]) == timedelta(hours=8)
        assert spec["privateKey"]["rotationPolicy"] == "Always"
        assert spec["issuerRef"] == {"name": "reelmesh", "kind": "Issuer", "group": "cert-manager.io"}


@both
def test_the_authority_signs_itself_and_keeps_its_key(name: str) -> None:
    spec = of_kind(overlay(name), "Certificate")["reelmesh-ca"]["spec"]
    issuers = of_kind(overlay(name), "Issuer")
    assert spec["isCA"] is True and "cert sign" in spec["usages"]
    assert "selfSigned" in issuers[spec["issuerRef"]["name"]]["spec"]
    assert issuers["reelmesh"]["spec"]["ca"]["secretName"] == spec["secretName"]
    # A new key at a renewal would leave half of the mesh not trusting the other for 16 hours.
    assert spec["privateKey"]["rotationPolicy"] == "Never"
    assert lasts(spec["renewBefore"]) > 2 * timedelta(hours=24)


@both
def test_files_are_mounted_as_a_directory_so_that_they_change(name: str) -> None:
    for service in SERVICES:
        deployment = of_kind(overlay(name), "Deployment")[service]
        spec = pod_template(deployment)["spec"]
        [mount] = [each for each in container(deployment)["volumeMounts"] if each["mountPath"] == PATH]
        # A subPath is a copy of the day when the pod started.
        assert "subPath" not in mount and mount["readOnly"] is True
        [volume] = [each for each in spec["volumes"] if each["name"] == mount["name"]]
        assert volume["secret"]["secretName"] == f"{service}-tls" and "items" not in volume["secret"]
        # 0o440: the group of the process reads them, others do not.
        assert volume["secret"]["defaultMode"] == 0o440
        assert spec["securityContext"]["fsGroup"] == spec["securityContext"]["runAsGroup"]
        assert config_of(name, deployment)["REELMESH_TLS_PATH"] == PATH


@both
def test_the_authoritys_key_is_in_no_pod(name: str) -> None:
    for kind in ("Deployment", "StatefulSet", "Job"):
        for workload in of_kind(overlay(name), kind).values():
            for volume in pod_template(workload)["spec"].get("volumes", ()):
                assert volume.get("secret", {}).get("secretName") != "reelmesh-ca"


@both
def test_probes_stay_plaintext_and_services_say_no_more_that_they_are(name: str) -> None:
    for service in SERVICES:
        only = container(of_kind(overlay(name), "Deployment")[service])
        [admin] = [each["containerPort"] for each in only["ports"] if each["name"] == "admin"]
        assert {only[f"{probe}Probe"]["grpc"]["port"] for probe in ("startup", "readiness", "liveness")} == {
            admin
        }
        for headed in (service, f"{service}-headless"):
            if found := of_kind(overlay(name), "Service").get(headed):
                assert all("appProtocol" not in port for port in found["spec"]["ports"])


def config_of(name: str, deployment: Manifest) -> dict[str, str]:
    """What the container's ConfigMaps say."""
    maps = of_kind(overlay(name), "ConfigMap")
    given: dict[str, str] = {}
    for source in container(deployment)["envFrom"]:
        given |= maps[source["configMapRef"]["name"]]["data"]
    return given
