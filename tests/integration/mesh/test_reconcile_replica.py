"""In a cluster `make reconcile` reads replicas: what one of them cannot show yet is no difference."""

import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest

from deploy.local import binaries
from deploy.local.databases import Server
from deploy.local.ports import free_ports
from deploy.local.postgres import Cluster
from services.reconciliation.command import Report
from tests.databases import TEST_SETTINGS
from tests.mesh.reconciling import reconcile
from tests.mesh.stage import STAKE_MINOR, Stage
from tests.waiting import until

SPINS = 3
_BEHIND = "select pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()"


@pytest.fixture(scope="module")
def replica(server: Server, postgres_directory: Path) -> Iterator[Server]:
    """A server that follows the session's."""
    cluster = Cluster(postgres_directory / "replica", free_ports(1)[0], settings=TEST_SETTINGS)
    directory, data = cluster.directory, cluster.directory / "data"
    directory.mkdir(mode=0o755)
    options, programs = cluster._process_options(), binaries.find()
    if cluster._user is not None:
        programs = binaries.readable_copy(programs, cluster._user, directory)
        data.mkdir(mode=0o700)
        subprocess.run(["chown", str(cluster._user.pw_uid), str(data)], check=True)
    if not (programs.directory / "pg_basebackup").exists():
        pytest.skip("needs the program pg_basebackup of this PostgreSQL")
    source = f"host={server.host} port={server.port} user={server.superuser} password={server.password}"
    copy = [
        str(programs.directory / "pg_basebackup"),
        "-D",
        str(data),
        "-R",
        "--checkpoint=fast",
        "-d",
        source,
    ]
    subprocess.run(copy, check=True, capture_output=True, **options)
    command = [str(programs.directory / "postgres"), "-D", str(data)]
    for name, value in cluster._settings.items():
        command += ["-c", f"{name}={value}"]
    with (postgres_directory / "replica.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, **options)
        yield Server(server.host, cluster.port, server.superuser, server.password, server.secret)
        process.terminate()
        process.wait(60)


@asynccontextmanager
async def held_back(replica: Server) -> AsyncIterator[psycopg.Connection]:
    """Receives, and shows nothing of it."""

    def answers() -> bool:
        try:
            replica.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    await until(answers, seconds_max=60)
    with replica.connect() as connection:
        connection.execute("select pg_wal_replay_pause()")
        state = "select pg_get_wal_replay_pause_state() = 'paused'"
        await until(lambda: asked(connection, state))
        yield connection
        connection.execute("select pg_wal_replay_resume()")
        await until(lambda: not asked(connection, _BEHIND))


def asked(connection: psycopg.Connection, question: str) -> bool:
    row = connection.execute(question.encode()).fetchone()
    return bool(row and row[0])


@pytest.mark.parametrize("service", ["events", "wallet", "game"])
async def test_what_a_replica_does_not_show_yet_is_no_difference(
    stage: Stage, server: Server, replica: Server, monkeypatch: pytest.MonkeyPatch, service: str
) -> None:
    player = await stage.player()
    await player.spin(STAKE_MINOR)
    await stage.books.wait_quiet()
    url = stage.mesh.database_urls[service]
    async with held_back(replica) as connection:
        for _ in range(SPINS):
            await player.spin(STAKE_MINOR)
        await stage.books.wait_quiet()
        await until(lambda: asked(connection, _BEHIND))
        monkeypatch.setitem(
            stage.mesh.database_urls, service, url.replace(f":{server.port}/", f":{replica.port}/")
        )
        behind = await reconcile(stage.mesh)
        assert behind.findings == []
    caught_up = await reconcile(stage.mesh)
    assert caught_up.findings == [] and caught_up.end_time > behind.end_time

    def rounds(report: Report) -> int:
        return sum(total.game.rounds for total in report.compared.values())

    assert rounds(caught_up) == rounds(behind) + SPINS
