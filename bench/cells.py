"""One cell of the table: a load on a subject, between two readings of every clock."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Protocol

import msgspec

from bench import machine
from bench.errors import BenchError
from bench.figures import Books, Row, per_spin_us, share_percent
from bench.load import Plan, Result
from bench.servers import PostgresServer
from deploy.local.guard import Guard


class Subject(Protocol):
    """A mesh under load."""

    name: str
    postgres: PostgresServer
    tokens: list[str]
    acknowledged: int
    unknown: int

    @property
    def port(self) -> int: ...
    def pids(self) -> dict[str, int]: ...
    def begin(self) -> None: ...
    def batch_sizes(self) -> dict[str, float]: ...
    def wait_quiet(self) -> None: ...
    def books(self) -> Books: ...


class LoadClient:
    """A process of bench.load, connected and waiting; killed when it is not needed any more."""

    def __init__(self, plan: Plan) -> None:
        self._guard = Guard("KILL")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._guard.watch([self._process.pid])
        self._say(msgspec.json.encode(plan).decode())
        self._hear()

    def start(self) -> None:
        """Lets the players play."""
        self._say("go")

    def result(self) -> Result:
        """Waits until the last spin is answered or patience has ended."""
        return msgspec.json.decode(self._hear(), type=Result)

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()
        self._guard.close()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _hear(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchError("the load client ended without a result")
        return line


def measure(
    subject: Subject, plan: Plan, *, pass_no: int, disk: Path, idle_cores: float = 0.0, mode: str = ""
) -> Row:
    """Runs the plan on the subject and waits until it is quiet again.

    The clocks run from before the first request to after the last event is stored: what a mesh defers
    (recording, telling) is paid for in the cell that caused it. `idle_cores`: what it spends all the time.
    `mode`: what the row is called where it is not the plan's.
    """
    flush_us = machine.flush_us(disk)
    client = LoadClient(plan)
    try:
        subject.begin()
        start_s, own_s = time.monotonic(), time.process_time()
        cpu_s, whole = _cpu_s(subject), machine.machine()
        client.start()
        result = client.result()
        load_average, answered_s = os.getloadavg()[0], time.monotonic()
        subject.acknowledged += result.acknowledged
        subject.unknown += result.unknown
        subject.wait_quiet()
        spent_s = {name: after - cpu_s[name] for name, after in _cpu_s(subject).items()}
        now, seconds = machine.machine(), time.monotonic() - start_s
        own_s = time.process_time() - own_s
    finally:
        client.close()
    total_s = now.total_s - whole.total_s
    cpu_us = per_spin_us(spent_s, result.acknowledged)
    foreign_s = now.busy_s - whole.busy_s - sum(spent_s.values()) - result.cpu_s - own_s
    return Row(
        subject=subject.name,
        mode=mode or plan.mode,
        players=len(plan.tokens),
        pass_no=pass_no,
        spins=result.acknowledged,
        seconds=seconds,
        quiet_s=start_s + seconds - answered_s,
        spins_per_s=result.spins_per_s,
        p50_ms=result.p50_ms,
        p99_ms=result.p99_ms,
        batch=subject.batch_sizes(),
        cpu_us=cpu_us,
        cpu_us_per_spin=sum(cpu_us.values()),
        idle_us_per_spin=idle_cores * seconds * 1e6 / max(1, result.acknowledged),
        load_cpu_us=result.cpu_s * 1e6 / max(1, result.acknowledged),
        load_busy_percent=share_percent(result.cpu_s, result.seconds),
        repeated=result.repeated,
        unknown=result.unknown,
        refused=result.refused,
        refused_p99_ms=result.refused_p99_ms,
        steal_percent=share_percent(now.steal_s - whole.steal_s, total_s),
        idle_percent=share_percent(now.idle_s - whole.idle_s, total_s),
        foreign_percent=max(0.0, share_percent(foreign_s, total_s)),
        load_average=load_average,
        flush_us=flush_us,
    )


def idle_cores(subject: Subject, *, seconds: float = 1.0) -> dict[str, float]:
    """What each process spends when nobody plays (polls, leases, health), as a share of one core."""
    before_s, start_s = _cpu_s(subject), time.monotonic()
    time.sleep(seconds)
    seconds = time.monotonic() - start_s
    return {name: (after - before_s[name]) / seconds for name, after in _cpu_s(subject).items()}


def _cpu_s(subject: Subject) -> dict[str, float]:
    spent = {name: machine.process_cpu_s(pid) for name, pid in subject.pids().items()}
    return {**spent, "postgres": subject.postgres.cpu_s()}
