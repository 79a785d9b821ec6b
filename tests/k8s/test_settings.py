"""The base's ConfigMaps and Secrets say what the services read: nothing else, and nothing is forgotten."""

import dataclasses
import importlib
import ipaddress

import pytest

from services.gateway.protection.rates import Addresses
from tests.k8s.manifests import (
    BASE,
    SERVICES,
    Manifest,
    container,
    of_kind,
    pod_template,
    render,
    settings_of,
)
from tools.call_graph import GRPC_PORT, callees

# Whose default serves a deployment as it is; a new setting goes to settings.env, or here.
DEFAULTS_SERVE = {
    "API_KEY_CACHE_MS",
    "AUDIT_INTERVAL_MS",
    "BODY_SIZE_BYTES_MAX",
    # /tmp.
    "BOOKS_CACHE_FOLDER",
    "CATALOGUE_CACHE_MS",
    "CHECKPOINT_INTERVAL_MS",
    "CONNECTIONS_PER_ADDRESS_MAX",
    "CONNECTION_AGE_MS",
    "CURRENCIES_PATH",
    # Beside a pooler only: components/postgresql.
    "DATABASE_DIRECT_URL",
    "DATABASE_POOL_SIZE",
    # For development only.
    "DEMO_API_KEY",
    "DRAIN_GRACE_MS",
    "DRAIN_WAIT_MS",
    # An operator's own wallet takes a file, an overlay's.
    "EXTERNAL_WALLETS_PATH",
    "FINISH_LINGER_MS",
    "GAMES_FOLDER",
    "GAMES_WITHDRAWN",
    # The pod's name.
    "INSTANCE",
    "MONITOR_INTERVAL_MS",
    "OPEN_TIMEOUT_MS",
    "ORIGINS_CACHE_MS",
    "PAGE",
    "POLICIES_PATH",
    "RECONCILE_INTERVAL_MS",
    "RECOUNT_INTERVAL_MS",
    "SPINS_IN_FLIGHT_MAX",
    # TLS ends in front of the gateway, or an overlay mounts the certificates.
    "TLS_CERT_PATH",
    "TLS_KEY_PATH",
    "TLS_PATH",
    "TRACE_URL",
}


@pytest.fixture(scope="module")
def manifests() -> list[Manifest]:
    """The rendered base."""
    return render(BASE)


def known(service: str) -> dict[str, "dataclasses.Field[object]"]:
    """By every variable that the service reads: its own name, and the shared one."""
    fields = dataclasses.fields(importlib.import_module(f"services.{service}.config").Config)
    return {
        f"REELMESH_{prefix}{field.name.upper()}": field
        for field in fields
        for prefix in ("", f"{service.upper()}_")
    }


def from_secrets(manifests: list[Manifest], service: str) -> set[str]:
    """Variables of the container that are read from Secrets."""
    return {each["name"] for each in container(of_kind(manifests, "Deployment")[service])["env"]}


def test_each_variable_is_a_setting_that_the_service_knows(manifests: list[Manifest]) -> None:
    for service in SERVICES:
        given = settings_of(manifests, service).keys() | from_secrets(manifests, service)
        assert given <= known(service).keys(), service


def test_each_setting_is_given_or_is_one_whose_default_serves(manifests: list[Manifest]) -> None:
    left = set()
    for service in SERVICES:
        given = settings_of(manifests, service).keys() | from_secrets(manifests, service)
        fields = known(service)
        names = {field.name for field in fields.values()} - {fields[variable].name for variable in given}
        required = {field.name for field in fields.values() if default_of(field) is dataclasses.MISSING}
        assert not names & required, service
        left |= {name.upper() for name in names if not name.endswith("_target")}
    assert left == DEFAULTS_SERVE


def default_of(field: "dataclasses.Field[object]") -> object:
    """MISSING where there is none."""
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory


def test_what_a_config_never_shows_comes_from_a_secret_and_the_rest_does_not(
    manifests: list[Manifest],
) -> None:
    for service in SERVICES:
        assert not any(known(service)[name].repr for name in from_secrets(manifests, service))
        assert all(known(service)[name].repr for name in settings_of(manifests, service))


def test_each_value_is_one_that_the_service_takes(manifests: list[Manifest]) -> None:
    from services.common.config import load

    for service in SERVICES:
        config = importlib.import_module(f"services.{service}.config").Config
        secrets = {name: "a-secret-of-a-test" for name in from_secrets(manifests, service)}
        loaded = load(config, service=service, environ=settings_of(manifests, service) | secrets)
        assert (loaded.env, loaded.log_format) == ("production", "json")
        ports = {
            each["name"]: each["containerPort"]
            for each in container(of_kind(manifests, "Deployment")[service])["ports"]
        }
        read = {name: getattr(loaded, f"{name}_port") for name in ports}
        assert read == ports


def test_each_service_is_told_where_the_services_are_that_it_calls(manifests: list[Manifest]) -> None:
    services = of_kind(manifests, "Service")
    for service in SERVICES:
        targets = {
            name: value for name, value in settings_of(manifests, service).items() if name.endswith("_TARGET")
        }
        assert targets == {
            f"REELMESH_{callee.upper()}_TARGET": f"dns:///{callee}-headless:{GRPC_PORT}"
            for callee in callees(service)
        }
        for callee in callees(service):
            assert GRPC_PORT in {each["port"] for each in services[f"{callee}-headless"]["spec"]["ports"]}


def test_a_changed_setting_rolls_the_pods(manifests: list[Manifest]) -> None:
    for service in SERVICES:
        [source] = container(of_kind(manifests, "Deployment")[service])["envFrom"]
        assert source["configMapRef"]["name"].removeprefix(f"{service}-").isalnum()
        assert source["configMapRef"]["name"] != service


def test_an_ingress_of_a_private_network_is_believed_and_nobody_else(manifests: list[Manifest]) -> None:
    addresses = Addresses(settings_of(manifests, "gateway")["REELMESH_GATEWAY_TRUSTED_PROXIES"])
    for proxy in ("10.42.0.7", "172.17.0.2", "192.168.1.1", "100.64.3.4", "fd12::7"):
        assert addresses.of(proxy, "203.0.113.7") == "203.0.113.7"
        # What the caller itself wrote before its own address is not looked at.
        assert addresses.of(proxy, "198.51.100.1, 203.0.113.7, 10.1.1.1") == "203.0.113.7"
    for stranger in ("203.0.113.9", "100.128.0.1", "172.32.0.1"):
        assert addresses.of(stranger, "203.0.113.7") == stranger
    for network in settings_of(manifests, "gateway")["REELMESH_GATEWAY_TRUSTED_PROXIES"].split(","):
        assert not ipaddress.ip_network(network).is_global


def test_only_tmp_can_be_written(manifests: list[Manifest]) -> None:
    for deployment in of_kind(manifests, "Deployment").values():
        assert container(deployment)["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]
        assert pod_template(deployment)["spec"]["volumes"][0].keys() == {"name", "emptyDir"}
