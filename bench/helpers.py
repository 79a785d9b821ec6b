"""Processes that stand beside a measurement: the collector, the empty edge."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack

from bench.errors import BenchError
from deploy.local.guard import Guard
from deploy.local.ports import free_ports, port_is_free

_LISTEN_SECONDS_MAX = 20.0


def start_collector(stack: ExitStack) -> str:
    """Takes every trace and metric and keeps none; its URL."""
    [port] = free_ports(1)
    start(stack, "bench.sink", str(port), port=port)
    return f"http://127.0.0.1:{port}"


def start(
    stack: ExitStack, module: str, *arguments: str, port: int, environment: Mapping[str, str] | None = None
) -> int:
    """Starts a module, waits until it listens, ends it with the stack; its process id. Errors: BenchError."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        env=os.environ | (environment or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    guard = Guard("KILL")
    guard.watch([process.pid])
    stack.callback(guard.close)
    stack.callback(process.wait)
    stack.callback(process.kill)
    end_s = time.monotonic() + _LISTEN_SECONDS_MAX
    while port_is_free(port):
        if process.poll() is not None or time.monotonic() > end_s:
            raise BenchError(f"{module} does not listen")
        time.sleep(0.05)
    return process.pid
