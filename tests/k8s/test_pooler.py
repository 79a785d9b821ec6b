"""Spins through a real PgBouncer with the Pooler's own parameters: many transactions, few connections.

Needs PgBouncer 1.22 or newer, which Debian has from 13 on: a long form, not run by CI.
"""

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest

from deploy.local.databases import SERVICES, role_name
from deploy.local.mesh import Mesh
from deploy.local.ports import free_ports
from deploy.local.seed import seed
from services.common.db import create_engine
from tests.databases import Databases
from tests.k8s.manifests import of_kind
from tests.k8s.overlays import overlay
from tests.mesh.books import Books
from tests.mesh.stage import STAKE_MINOR, Stage, new_id
from tests.meshes import API_KEY
from tests.waiting import until

pytestmark = pytest.mark.long

VERSION_MIN = (1, 22)
# Far fewer than the processes ask for: what is left over in a session would meet another's statement.
POOL_SIZE = 3
PLAYERS, SPINS = 12, 8
# CloudNativePG's own, pkg/management/pgbouncer/config/config.go.
IGNORED = "extra_float_digits,options"


@dataclass(frozen=True)
class Pooled:
    """A mesh behind the pooler, and the databases' URLs past it."""

    mesh: Mesh
    direct: dict[str, str]
    pooled: dict[str, str]


def pgbouncer() -> str:
    """The program's path; skips where it is absent or too old."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("needs the program pgbouncer (see `make tools`)")
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"PgBouncer (\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < VERSION_MIN:
        pytest.skip(f"needs PgBouncer {VERSION_MIN[0]}.{VERSION_MIN[1]} or newer")
    return program


def parameters() -> dict[str, str]:
    """What the wallet's Pooler sets, but for TLS and size."""
    spec = of_kind(overlay("production"), "Pooler")["wallet-pooler"]["spec"]["pgbouncer"]
    given = {key: str(value) for key, value in spec["parameters"].items() if "tls" not in key}
    return given | {
        "pool_mode": spec["poolMode"],
        "default_pool_size": str(POOL_SIZE),
        "ignore_startup_parameters": IGNORED,
    }


def configure_role(service: str, url: str) -> None:
    """Runs the statements of the service's Cluster for the roles and databases of this test."""
    cluster = of_kind(overlay("production"), "Cluster")[f"{service}-database"]["spec"]
    address = psycopg.conninfo.conninfo_to_dict(url.replace("+psycopg", ""))
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        for statement in cluster["bootstrap"]["initdb"]["postInitApplicationSQL"]:
            here = statement.replace(
                f"alter role {service} in database {service}",
                f'alter role {role_name(service)} in database "{address["dbname"]}"',
            )
            assert here != statement
            connection.execute(here.encode())


@pytest.fixture(scope="module")
def behind(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pooled]:
    program, folder = pgbouncer(), tmp_path_factory.mktemp("pooler")
    direct = {service: databases.create(service) for service in SERVICES}
    seed(direct["gateway"], API_KEY)
    server, [port] = databases.server, free_ports(1)
    names = {service: url.rpartition("/")[2] for service, url in direct.items()}
    for service in SERVICES:
        configure_role(service, direct[service])
    (folder / "users.txt").write_text(
        "".join(f'"{role_name(each)}" "{server.role_password(each)}"\n' for each in SERVICES)
    )
    settings = parameters() | {
        "listen_addr": "127.0.0.1",
        "listen_port": str(port),
        "unix_socket_dir": "",
        "auth_type": "scram-sha-256",
        "auth_file": str(folder / "users.txt"),
    }
    if os.geteuid() == 0:
        settings["user"] = "nobody"
    lines = [f"{name} = host={server.host} port={server.port}" for name in names.values()]
    lines = ["[databases]", *lines, "[pgbouncer]", *(f"{key} = {value}" for key, value in settings.items())]
    (folder / "pgbouncer.ini").write_text("\n".join(lines) + "\n")
    pooled = {each: direct[each].replace(f":{server.port}/", f":{port}/") for each in SERVICES}
    environment = {f"REELMESH_{each.upper()}_DATABASE_DIRECT_URL": url for each, url in direct.items()}
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([program, str(folder / "pgbouncer.ini")], stdout=log, stderr=log)
        try:
            asyncio.run(until(lambda: listens(pooled["wallet"]), seconds_max=60))
            mesh = Mesh(folder / "mesh", pooled, replicas={"gateway": 2}, environment=environment)
            try:
                mesh.start()
                yield Pooled(mesh, direct, pooled)
            finally:
                mesh.kill()
        finally:
            # SIGTERM would wait for its clients.
            process.kill()
            process.wait(30)
    for url in direct.values():
        databases.drop(url)


def listens(url: str) -> bool:
    try:
        with psycopg.connect(url.replace("+psycopg", ""), connect_timeout=5):
            return True
    except psycopg.OperationalError:
        return False


async def test_books_are_right_behind_a_pooler_that_everyone_shares(behind: Pooled) -> None:
    stage = Stage(behind.mesh)
    players = await asyncio.gather(*(stage.player() for _ in range(PLAYERS)))

    async def play(number: int) -> None:
        player = players[number]
        for _ in range(SPINS):
            request_id = new_id()
            first, again = await asyncio.gather(
                player.spin(STAKE_MINOR, request_id), player.spin(STAKE_MINOR, request_id)
            )
            assert first.status == again.status == 200, (first, again)
            assert first.body["round"] == again.body["round"]

    await asyncio.gather(*map(play, range(PLAYERS)))
    books = Books(behind.direct)
    await books.wait_quiet()
    await books.check(players)
    await stage.close()
    # Of some forty that were asked for; the others are the relay's, the auditor's and this test's.
    with psycopg.connect(behind.direct["wallet"].replace("+psycopg", "")) as connection:
        through = connection.execute(
            "select count(*) from pg_stat_activity where datname = current_database()"
        ).fetchone()
    assert through is not None and 1 <= through[0] <= POOL_SIZE + 8


async def test_a_connection_of_the_pool_has_the_roles_settings(behind: Pooled) -> None:
    """What services/common/db.py asks for when it connects, without being able to pass it on."""
    for service in SERVICES:
        asked = create_engine(behind.pooled[service], pool_size=1, application_name="settings")
        async with asked.connect() as connection:
            for name, value in {
                "statement_timeout": "2s",
                "lock_timeout": "1s",
                "idle_in_transaction_session_timeout": "5s",
                "plan_cache_mode": "force_generic_plan",
                "default_transaction_isolation": "read committed",
            }.items():
                shown = (await connection.exec_driver_sql(f"show {name}")).scalar_one()
                assert shown == value, (service, name)
        await asked.dispose()


async def test_what_a_migration_asks_for_holds_on_a_direct_connection(
    behind: Pooled, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = of_kind(overlay("production"), "Job")
    job = next(job for name, job in jobs.items() if name.startswith("wallet-migrate"))
    [only] = job["spec"]["template"]["spec"]["containers"]
    [options] = [each["value"] for each in only["env"] if each["name"] == "PGOPTIONS"]
    monkeypatch.setenv("PGOPTIONS", options)
    with psycopg.connect(behind.direct["wallet"].replace("+psycopg", "")) as connection:
        for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
            assert connection.execute(f"show {name}".encode()).fetchone() == ("0",)
