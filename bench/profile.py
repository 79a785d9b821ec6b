"""`make profile`: a flame graph per service under the load of 128 players, into build/profile/."""

import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench.cells import LoadClient
from bench.errors import BenchError
from bench.helpers import start_collector
from bench.load import Plan
from bench.reelmesh import Reelmesh
from bench.run import BUILD
from bench.yardstick import PACKAGES
from deploy.local.errors import LocalError

PLAYERS = 128
SECONDS_EACH = 6
SAMPLES_PER_S = 100
_DIRECTORY = BUILD / "profile"


def record(pid: int, path: Path) -> None:
    """Samples one process; only what runs, threads included. Errors: BenchError."""
    command = [str(PACKAGES / "bin" / "py-spy"), "record", "--pid", str(pid), "--output", str(path)]
    command += ["--duration", str(SECONDS_EACH), "--rate", str(SAMPLES_PER_S), "--threads"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        # Without root or ptrace rights it may not look into another process.
        raise BenchError(f"py-spy: {lines[-1]}")


def profile(stack: ExitStack, directory: Path) -> None:
    """One service after the other, under the same load."""
    reelmesh = Reelmesh(directory, collector_url=start_collector(stack))
    stack.callback(reelmesh.stop)
    print(f"starting Reelmesh and {PLAYERS} players", flush=True)
    reelmesh.start(PLAYERS)
    seconds = (SECONDS_EACH + 3) * len(reelmesh.pids())
    client = LoadClient(Plan(port=reelmesh.port, tokens=reelmesh.tokens, window_s=seconds))
    stack.callback(client.close)
    client.start()
    for service, pid in reelmesh.pids().items():
        path = _DIRECTORY / f"{service}.svg"
        record(pid, path)
        print(path, flush=True)


def main() -> int:
    """0, or 1 with one line on stderr."""
    _DIRECTORY.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(dir=_DIRECTORY))
    directory.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        try:
            profile(stack, directory)
        except (BenchError, LocalError) as problem:
            print(f"profile: {problem}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
