"""components/postgresql: synchronous where it must be, pools that fit, and who reaches what."""

import re
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from services.common import db
from services.common.identity import call_graph
from services.reconciliation.__main__ import SETTINGS
from tests.k8s.manifests import SERVICES, Manifest, of_kind, pod_template
from tests.k8s.network import Peer, allows
from tests.k8s.overlays import migrations, overlay, variables

# What may not be forgotten once it was answered: money, and what was drawn for it.
SYNCHRONOUS = {"wallet", "game"}
# Connections per process beside the pool: a batcher has one each, and the relay and the auditor theirs.
LANES_MAX = 8

both = pytest.mark.parametrize("name", ["staging", "production"])


def cluster(name: str, service: str) -> dict[str, Any]:
    spec: dict[str, Any] = of_kind(overlay(name), "Cluster")[f"{service}-database"]["spec"]
    return spec


def pooler(name: str, service: str) -> dict[str, Any]:
    spec: dict[str, Any] = of_kind(overlay(name), "Pooler")[f"{service}-pooler"]["spec"]
    return spec


@both
def test_each_service_has_a_cluster_of_its_own_and_a_pooler(name: str) -> None:
    assert set(of_kind(overlay(name), "Cluster")) == {f"{service}-database" for service in SERVICES}
    assert set(of_kind(overlay(name), "Pooler")) == {f"{service}-pooler" for service in SERVICES}
    for service in SERVICES:
        assert cluster(name, service)["bootstrap"]["initdb"]["owner"] == service
        assert cluster(name, service)["instances"] == 3
        assert pooler(name, service)["cluster"]["name"] == f"{service}-database"


@both
def test_wallet_and_game_commit_on_two_machines(name: str) -> None:
    for service in SERVICES:
        synchronous = cluster(name, service).get("postgresql", {}).get("synchronous")
        assert (synchronous is not None) == (service in SYNCHRONOUS), service
        if synchronous is not None:
            # `preferred` would go on committing on one machine alone while the others are away.
            assert synchronous["dataDurability"] == "required"
            assert synchronous["method"] == "any" and synchronous["number"] == 1
            # One of three may be away, and what is promoted has what was acknowledged.
            assert cluster(name, service)["instances"] - synchronous["number"] >= 2
            assert synchronous["failoverQuorum"] is True


def test_instances_of_a_cluster_are_on_different_nodes() -> None:
    for service in SERVICES:
        affinity = cluster("production", service)["affinity"]
        assert affinity["podAntiAffinityType"] == "required"
        assert affinity["topologyKey"] == "kubernetes.io/hostname"


@both
def test_services_go_through_the_pooler_and_what_needs_a_session_does_not(name: str) -> None:
    for service in SERVICES:
        given = variables(of_kind(overlay(name), "Deployment")[service])
        pooled = url(given, f"REELMESH_{service.upper()}_DATABASE_URL")
        direct = url(given, f"REELMESH_{service.upper()}_DATABASE_DIRECT_URL")
        job = variables(migrations(overlay(name))[service])
        migrating = url(job, f"REELMESH_{service.upper()}_DATABASE_URL")
        assert pooled.host == f"{service}-pooler"
        assert direct.host == migrating.host == f"{service}-database-rw"
        for each in (pooled, direct, migrating):
            assert each.drivername == "postgresql+psycopg" and each.database == service
            # The server proves who it is: without verify-full anybody in between could be it.
            assert each.query["sslmode"] == "verify-full"
        # The role's limits are for the service.
        assert "-c statement_timeout=0" in job["PGOPTIONS"]["value"]


def url(given: dict[str, Manifest], name: str) -> Any:
    return make_url(given[name]["value"].replace("$(", "").replace(")", ""))


@both
def test_what_the_certificate_is_checked_with_is_there_and_its_key_is_not(name: str) -> None:
    for service in SERVICES:
        assert set(cluster(name, service)["certificates"]["serverAltDNSNames"]) >= {f"{service}-pooler"}
        for workload in (of_kind(overlay(name), "Deployment")[service], migrations(overlay(name))[service]):
            spec = pod_template(workload)["spec"]
            [authority] = [each for each in spec["volumes"] if each["name"] == "database-ca"]
            assert authority["secret"]["secretName"] == f"{service}-database-ca"
            assert authority["secret"]["items"] == [{"key": "ca.crt", "path": "ca.crt"}]
            [mount] = [
                each for each in spec["containers"][0]["volumeMounts"] if each["name"] == "database-ca"
            ]
            used = url(variables(workload), f"REELMESH_{service.upper()}_DATABASE_URL").query["sslrootcert"]
            assert used == f"{mount['mountPath']}/ca.crt"


async def test_the_role_has_what_the_pooler_drops() -> None:
    """PgBouncer cannot pass startup options on, and CloudNativePG has it ignore them."""
    engine = db.create_engine("postgresql+psycopg://nobody@localhost/none", pool_size=1, application_name="x")
    options = db._lanes[engine]._arguments["options"].replace(r"\ ", " ")
    await engine.dispose()
    wanted = dict(each.split("=") for each in re.split(r"(?:^| )-c ", options) if each)
    assert len(wanted) == 5
    for service in SERVICES:
        given = {}
        for statement in cluster("production", service)["bootstrap"]["initdb"]["postInitApplicationSQL"]:
            found = re.fullmatch(
                rf"alter role {service} in database {service} set (\w+) = '([\w ]+)'", statement
            )
            assert found, statement
            given[found[1]] = found[2]
        assert given == wanted


@both
def test_connections_fit(name: str) -> None:
    scalers = of_kind(overlay(name), "HorizontalPodAutoscaler")
    for service in SERVICES:
        spec, most = pooler(name, service), scalers[service]["spec"]["maxReplicas"]
        parameters = {
            key: int(value) for key, value in spec["pgbouncer"]["parameters"].items() if value.isdigit()
        }
        # One process more while a rollout is on. The default of database_pool_size.
        processes = most + 1
        assert processes * (10 + LANES_MAX) <= parameters["max_client_conn"]
        at_primary = spec["instances"] * parameters["default_pool_size"]
        # Beside the pools: relay and auditor of each process; a migration, backups, metrics, a person.
        direct = processes * 3 + 10
        connections = int(cluster(name, service)["postgresql"]["parameters"]["max_connections"])
        assert at_primary + direct <= connections * 0.8, service


@both
def test_poolers_keep_prepared_statements_and_no_one_waiting(name: str) -> None:
    for service in SERVICES:
        spec = pooler(name, service)
        assert spec["type"] == "rw" and spec["pgbouncer"]["poolMode"] == "transaction"
        # 0 would switch them off: every statement of ours is a prepared one.
        assert int(spec["pgbouncer"]["parameters"]["max_prepared_statements"]) >= 100
        assert spec["pgbouncer"]["parameters"]["client_tls_sslmode"] == "require"
        # Below a spin's deadline.
        assert int(spec["pgbouncer"]["parameters"]["query_wait_timeout"]) < 3


@both
def test_every_cluster_archives_its_log_and_is_backed_up_daily(name: str) -> None:
    stores, schedules = of_kind(overlay(name), "ObjectStore"), of_kind(overlay(name), "ScheduledBackup")
    minutes = set()
    for service in SERVICES:
        [plugin] = cluster(name, service)["plugins"]
        assert plugin["name"] == "barman-cloud.cloudnative-pg.io" and plugin["isWALArchiver"] is True
        store = stores[plugin["parameters"]["barmanObjectName"]]["spec"]
        days = int(store["retentionPolicy"].removesuffix("d"))
        assert timedelta(days=days) >= timedelta(days=30)
        schedule = schedules[f"{service}-database"]["spec"]
        assert schedule["cluster"]["name"] == f"{service}-database" and schedule["method"] == "plugin"
        second, minute, hour, *rest = schedule["schedule"].split()
        assert (second, hour, rest) == ("0", "2", ["*", "*", "*"])
        minutes.add(minute)
    assert len(minutes) == len(SERVICES)


def test_the_five_differ_in_what_they_should_only() -> None:
    def neutral(service: str) -> str:
        spec = {key: value for key, value in cluster("production", service).items()}
        spec = {**spec, "storage": {}, "walStorage": {}, "postgresql": dict(spec["postgresql"])}
        spec["postgresql"].pop("synchronous", None)
        return str(spec).replace("_session_", "_").replace(service, "service")

    assert len({neutral(service) for service in SERVICES}) == 1


# Who reaches what

HOME = {"kubernetes.io/metadata.name": "reelmesh"}


def pod(name: str, kind: str) -> Peer:
    """A server, a migration, an instance or a pooler of a service."""
    if kind in ("server", "migration"):
        suffix = "" if kind == "server" else "-migrate"
        own = {"app.kubernetes.io/name": f"{name}{suffix}", "app.kubernetes.io/component": kind}
        return Peer(own, HOME)
    database = {"cnpg.io/cluster": f"{name}-database", "cnpg.io/podRole": kind}
    return Peer(database | ({"cnpg.io/poolerName": f"{name}-pooler"} if kind == "pooler" else {}), HOME)


def test_a_database_is_reached_by_its_own_service_and_nobody_elses() -> None:
    manifests = overlay("production")
    for service in SERVICES:
        for target in ("instance", "pooler"):
            database = pod(service, target)
            for other in SERVICES:
                for kind in ("server", "migration"):
                    assert allows(manifests, pod(other, kind), database, 5432) == (other == service)
            assert not allows(manifests, Peer({"app": "stranger"}, HOME), database, 5432)
            assert not allows(manifests, Peer({}, {"kubernetes.io/metadata.name": "default"}), database, 5432)
        # The base, which does not know where PostgreSQL is, lets services look for it anywhere nearby.
        elsewhere = Peer({"app": "postgresql"}, {"kubernetes.io/metadata.name": "other"})
        assert not allows(manifests, pod(service, "server"), elsewhere, 5432)
        instance = pod(service, "instance")
        assert allows(manifests, pod(service, "pooler"), instance, 5432)
        assert allows(manifests, instance, instance, 5432)


def test_the_operator_and_prometheus_reach_databases() -> None:
    manifests = overlay("production")
    operator = Peer(
        {"app.kubernetes.io/name": "cloudnative-pg"}, {"kubernetes.io/metadata.name": "cnpg-system"}
    )
    prometheus = Peer({"app": "prometheus"}, {"kubernetes.io/metadata.name": "monitoring"})
    for service in SERVICES:
        for port in (8000, 5432):
            assert allows(manifests, operator, pod(service, "instance"), port)
        assert not allows(manifests, prometheus, pod(service, "instance"), 5432)
        assert allows(manifests, prometheus, pod(service, "instance"), 9187)
        assert allows(manifests, prometheus, pod(service, "pooler"), 9127)


def test_the_local_database_is_reached_by_services_and_migrations_only() -> None:
    database = Peer({"app.kubernetes.io/name": "postgresql"}, HOME)
    for service in SERVICES:
        for kind in ("server", "migration"):
            assert allows(overlay("local"), pod(service, kind), database, 5432)
    assert not allows(overlay("local"), Peer({"app": "stranger"}, HOME), database, 5432)


def test_the_nightly_comparison_has_what_it_reads_and_whom_it_asks() -> None:
    [job] = of_kind(overlay("production"), "CronJob").values()
    given, labels = variables(job), pod_template(job)["metadata"]["labels"]
    assert set(SETTINGS) <= given.keys()
    manifests, me = overlay("production"), Peer(labels, HOME)
    for service in SERVICES:
        reads = service in ("game", "wallet", "events")
        assert allows(manifests, me, pod(service, "instance"), 5432) == reads
        assert allows(manifests, me, pod(service, "server"), 50051) == (service == "game")
        if reads:
            where = url(given, f"REELMESH_{service.upper()}_DATABASE_URL")
            # Replicas, and no pooler: it has a time limit of its own.
            assert (where.host, where.database) == (f"{service}-database-ro", service)
            assert where.query["sslmode"] == "verify-full"
    [mount] = [each for each in pod_template(job)["spec"]["volumes"] if each["name"] == "tls"]
    # Only the gateway may open a review (services/call_graph.yaml).
    assert mount["secret"]["secretName"] == "gateway-tls"
    assert call_graph()["game"].methods["OpenReview"].callers == {"gateway"}


def test_the_comparison_is_made_again_where_it_could_not_be_told() -> None:
    """Exit code 1 is an answer (services/reconciliation); 2, an eviction and a node that is gone are none."""
    [job] = of_kind(overlay("production"), "CronJob").values()
    spec = job["spec"]["jobTemplate"]["spec"]
    assert spec["backoffLimit"] >= 1 and pod_template(job)["spec"]["restartPolicy"] == "Never"
    answer, disrupted = spec["podFailurePolicy"]["rules"]
    assert answer["action"] == "FailJob"
    assert answer["onExitCodes"] == {"containerName": "reconcile", "operator": "In", "values": [1]}
    assert disrupted["action"] == "Ignore"
    assert disrupted["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
