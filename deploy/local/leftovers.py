"""The services that a killed run leaves: they drain, and the next run waits for them."""

import json
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from deploy.local.errors import LocalError
from deploy.local.processes import command_line

# A drain without calls in flight, and the flush of telemetry to a receiver that is gone.
END_SECONDS_MAX = 15.0


def record(directory: Path, pids: Mapping[str, int]) -> None:
    """Writes down what runs, by name, for the run after this one."""
    new = directory / "processes.json.new"
    new.write_text(json.dumps(dict(pids)))
    new.replace(directory / "processes.json")


def living(directory: Path) -> dict[str, int]:
    """The recorded processes that still run; an id that another program has by now does not count."""
    path = directory / "processes.json"
    pids: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
    return {name: pid for name, pid in pids.items() if _program(name) in command_line(pid)}


def end(directory: Path, *, timeout_s: float = END_SECONDS_MAX) -> None:
    """Tells them to end and waits until they have; raises LocalError naming one that does not."""
    for pid in living(directory).values():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout_s
    while left := living(directory):
        if time.monotonic() > deadline:
            name, pid = next(iter(left.items()))
            raise LocalError(
                f"{name} of an earlier run (process {pid}) does not stop: end it with kill -9 {pid}"
            )
        time.sleep(0.05)


def _program(name: str) -> str:
    return f"-m services.{name.partition('-')[0]} "
