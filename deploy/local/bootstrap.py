"""Makes the virtual environment from a lock file: bootstrap.py <venv directory> <lock file>

Standard library only, and written so that Python 3.7 reads it far enough to say that it is too old.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

PYTHON_MIN = (3, 11)
_NO_NETWORK = ("Max retries", "name resolution", "NewConnectionError", "ConnectTimeout", "No route to host")
_NO_DISK = ("No space left", "Errno 28", "Disk quota")


def main() -> None:
    """Exits with one line for whatever this machine lacks."""
    venv, lock = Path(sys.argv[1]), Path(sys.argv[2])
    if sys.version_info < PYTHON_MIN:
        found = ".".join(str(part) for part in sys.version_info[:2])
        sys.exit(
            "setup: Python {}.{} or newer is needed, this is {} (make PYTHON=...)".format(*PYTHON_MIN, found)
        )
    try:
        import ensurepip  # noqa: F401 - Debian ships it apart, and venv fails late without it
        import venv as _  # noqa: F401
    except ImportError:
        sys.exit("setup: this Python has no venv module (Debian: apt install python3-venv)")
    try:
        make(venv, lock)
    except OSError as error:
        sys.exit(f"setup: {error.strerror or error}: {error.filename or venv}")
    except KeyboardInterrupt:
        sys.exit("setup: interrupted; run it again")


def make(venv: Path, lock: Path) -> None:
    """Creates the environment unless its Python works, then installs exactly what the lock file names."""
    python = venv / "bin" / "python"
    if not works(python):
        print(f"setup: creating {venv}", flush=True)
        run([sys.executable, "-m", "venv", "--clear", str(venv)], lambda line: None)
    total = sum(1 for line in lock.read_text().splitlines() if "==" in line)
    print(f"setup: installing {total} packages of {lock}", flush=True)
    seen: list[str] = []

    def progress(line: str) -> None:
        if line.startswith("Collecting "):
            seen.append(line)
            if len(seen) % 10 == 0 or len(seen) == total:
                print("setup: {}/{} {}".format(len(seen), total, line.split()[1].split("==")[0]), flush=True)
        elif line.startswith("Installing collected"):
            print("setup: unpacking", flush=True)

    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
    run([*pip, "--progress-bar", "off", "--require-hashes", "-r", str(lock)], progress)
    print("setup: done", flush=True)


def works(python: Path) -> bool:
    """True when the environment's Python starts and has the version of ours."""
    code = "import sys, pip; print(sys.version_info[:2])"
    try:
        done = subprocess.run([str(python), "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError:
        return False
    return done.stdout.decode().strip() == str(sys.version_info[:2])


def run(command: list[str], progress: Callable[[str], None]) -> None:
    """Runs a step, calls progress with each line; exits with one line that tells why it failed."""
    lines = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.strip())
            progress(line.strip())
    if process.returncode != 0:
        sys.exit(f"setup: {reason(lines)}")


def reason(lines: list[str]) -> str:
    """What a failed step was about, in one line."""
    text = "\n".join(lines)
    if any(word in text for word in _NO_DISK):
        return "no space left on the disk"
    if any(word in text for word in _NO_NETWORK):
        return "the package index cannot be reached: check the network or pip's settings"
    errors = [line for line in lines if line.startswith(("ERROR", "Error"))]
    return (errors or lines or ["failed without a message"])[0]


if __name__ == "__main__":
    main()
