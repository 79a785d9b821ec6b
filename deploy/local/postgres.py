"""An embedded PostgreSQL server of our own, on 127.0.0.1, with its data in a directory that we make.

Only the programs of an installation are used. As root the server runs as an existing unprivileged user; no
user is created, and no mode or owner changes on anything that we did not create.
"""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from deploy.local import binaries as postgres_binaries
from deploy.local.databases import SERVICES, Server
from deploy.local.errors import LocalError
from deploy.local.guard import Guard
from deploy.local.ports import require_free
from deploy.local.processes import command_line

_UNPRIVILEGED_USER = "nobody"
_CLOSED_HOME_DIRECTORY = Path("/var/lib/reelmesh")
_DISK_FREE_MIN_MB = 300
_START_SECONDS_MAX = 60.0
_SHUTDOWN_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    # TCP only: the path of a Unix socket may not be longer than 107 bytes, which a deep checkout exceeds.
    "unix_socket_directories": "",
    "max_connections": "300",
    "jit": "off",
    "timezone": "UTC",
}


def server_directory(directory: Path) -> Path:
    """Where a server that belongs to `directory` keeps its files: there if the server's user can get there.

    As root in a home directory that other users may not enter, `directory` becomes a link to one under
    /var/lib; who removes the link starts afresh.
    """
    if os.geteuid() != 0 or postgres_binaries.reaches(pwd.getpwnam(_UNPRIVILEGED_USER), directory.parent):
        return directory
    if not directory.is_symlink():
        directory.symlink_to(_CLOSED_HOME_DIRECTORY / f"{directory.name}-{secrets.token_hex(6)}")
    return directory.readlink()


class Cluster:
    """One PostgreSQL server: `start` makes the data directory if missing, `stop` and `kill` keep it."""

    def __init__(self, directory: Path, port: int, *, settings: Mapping[str, str] | None = None) -> None:
        self.directory = server_directory(directory)
        self.port = port
        self.log_path = self.directory / "postgres.log"
        self._data = self.directory / "data"
        self._settings = {**_SETTINGS, "port": str(port), **(settings or {})}
        self._user = pwd.getpwnam(_UNPRIVILEGED_USER) if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None

    @property
    def server(self) -> Server:
        """Administration of the databases; needs a started cluster at least once before."""
        password = self._secret_path.read_text()
        return Server("127.0.0.1", self.port, "postgres", password, secret=password)

    @property
    def running(self) -> bool:
        """True while the server process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def guard_fd(self) -> int:
        """What the users of a running server may inherit: if we are killed, the server outlives them."""
        assert self._guard is not None
        return self._guard.fileno()

    def create_service_databases(self, services: tuple[str, ...] = SERVICES) -> dict[str, str]:
        """One database and one role per service; what exists is kept. Returns the URL per service."""
        return self.server.create_service_databases(services)

    def start(self) -> None:
        """Starts the server and waits until it accepts connections; raises LocalError."""
        if self.running:
            return
        try:
            programs = self._prepare()
        except OSError as error:
            raise LocalError.from_os(error, self.directory) from error
        self._stop_leftover()
        require_free(self.port, "PostgreSQL")
        command = [str(programs.directory / "postgres"), "-D", str(self._data)]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        deadline = time.monotonic() + _START_SECONDS_MAX
        while not self._try_start(command, deadline):
            # After kill -9 the old backends need a moment to notice that their postmaster is gone.
            time.sleep(0.1)

    def stop(self, mode: Literal["smart", "fast", "immediate"] = "fast") -> None:
        """Ends the server: smart waits for clients, fast rolls them back, immediate needs recovery."""
        if self._process is not None:
            self._end(_SHUTDOWN_SIGNALS[mode])

    def kill(self) -> None:
        """kill -9 of the postmaster."""
        if self._process is not None:
            self._end(signal.SIGKILL)

    @property
    def _secret_path(self) -> Path:
        return self.directory / "superuser_password"

    def _end(self, number: signal.Signals) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(number)
        self._process.wait()
        self._process = None
        if self._guard is not None:
            self._guard.close()
            self._guard = None

    def _prepare(self) -> postgres_binaries.Binaries:
        """Directory, programs and, once, the data directory."""
        _make_directory(self.directory, self._user)
        version = self._data / "PG_VERSION"
        programs = postgres_binaries.find(int(version.read_text()) if version.exists() else None)
        if self._user is not None:
            programs = postgres_binaries.readable_copy(programs, self._user, self.directory)
        if not version.exists():
            free_mb = shutil.disk_usage(self.directory).free // 2**20
            if free_mb < _DISK_FREE_MIN_MB:
                raise LocalError(f"only {free_mb} MB free at {self.directory}; {_DISK_FREE_MIN_MB} needed")
            self._initialise(programs)
        return programs

    def _initialise(self, programs: postgres_binaries.Binaries) -> None:
        """initdb into a partial directory renamed when complete: an interrupted one is never used."""
        partial = self.directory / "data.partial"
        shutil.rmtree(partial, ignore_errors=True)
        self._secret_path.touch(mode=0o600)
        self._secret_path.write_text(secrets.token_hex(16))
        if self._user is not None:
            os.chown(self._secret_path, self._user.pw_uid, self._user.pw_gid)
        command = [str(programs.directory / "initdb"), "-D", str(partial), "-U", "postgres"]
        command += ["-A", "scram-sha-256", f"--pwfile={self._secret_path}"]
        command += ["--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        done = subprocess.run(command, capture_output=True, text=True, **self._process_options())
        if done.returncode != 0:
            shutil.rmtree(partial, ignore_errors=True)
            raise LocalError(f"initdb failed: {_reason(done.stderr)}")
        partial.rename(self._data)

    def _try_start(self, command: list[str], deadline: float) -> bool:
        """True when the server is ready, False when it has to be tried again; raises LocalError."""
        with self.log_path.open("ab") as log:
            log_start = log.tell()
            # A session of its own: Ctrl-C must not stop the database before the services have drained.
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, **self._process_options()
            )
        self._guard = Guard("INT")
        self._guard.watch([self._process.pid])
        while time.monotonic() < deadline:
            if self._ready():
                return True
            if self._process.poll() is not None:
                self._end(signal.SIGINT)
                text = self.log_path.read_bytes()[log_start:].decode(errors="replace")
                if "pre-existing shared memory block" in text:
                    return False
                raise LocalError(f"PostgreSQL did not start: {_reason(text)} (log: {self.log_path})")
            time.sleep(0.02)
        self._end(signal.SIGQUIT)
        raise LocalError(f"PostgreSQL was not ready within {_START_SECONDS_MAX:.0f} s (log: {self.log_path})")

    def _ready(self) -> bool:
        """Line 8 of the server's lock file is its state; the file of an older process does not count."""
        lines = self._lock_lines()
        assert self._process is not None
        return len(lines) >= 8 and lines[0].strip() == str(self._process.pid) and lines[7].strip() == "ready"

    def _lock_lines(self) -> list[str]:
        try:
            return (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _stop_leftover(self) -> None:
        """Stops a server on this data directory left by an earlier run; raises LocalError if it stays."""
        lines = self._lock_lines()
        if len(lines) < 2 or lines[1] != str(self._data):
            return
        pid, deadline = int(lines[0]), time.monotonic() + _START_SECONDS_MAX
        ours = f"-D {self._data} "
        with suppress(ProcessLookupError, PermissionError):
            if ours in command_line(pid):
                os.kill(pid, signal.SIGINT)
        while ours in command_line(pid):
            if time.monotonic() > deadline:
                raise LocalError(f"PostgreSQL of an earlier run (process {pid}) does not stop")
            time.sleep(0.05)

    def _process_options(self) -> dict[str, Any]:
        """Working directory, environment and user of the server's programs."""
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
        options: dict[str, Any] = {"cwd": "/", "env": environment, "stdin": subprocess.DEVNULL}
        if self._user is not None:
            options |= {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        return options


def _make_directory(directory: Path, owner: pwd.struct_passwd | None) -> None:
    """Makes the missing directories; with an owner the last is theirs and they can enter the ones above."""
    for missing in reversed([path for path in (directory, *directory.parents) if not path.exists()]):
        missing.mkdir()
        if owner is not None:
            missing.chmod(0o755)
            if missing == directory:
                os.chown(missing, owner.pw_uid, owner.pw_gid)


def _reason(text: str) -> str:
    """The line that tells why: the first error, else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in lines:
        if any(word in line for word in ("FATAL:", "PANIC:", "error:", "No space left")):
            return line
    return lines[-1] if lines else "no message"
