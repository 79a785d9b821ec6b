"""What the kernel knows: CPU of processes and of a PostgreSQL server, the machine's idle and stolen time.

Linux only.
"""

import os
import time
from collections.abc import Collection
from pathlib import Path
from statistics import median
from typing import NamedTuple

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_CPUCLOCK_SCHED = 2


def process_cpu_s(pid: int) -> float:
    """User and system time of all threads of a process, ended ones included, to the nanosecond.

    From the process's CPU clock (clock_getcpuclockid(3)): /proc/PID/stat shows the same time cut to 10 ms,
    which is a spin or more. Errors: OSError when the process is gone.
    """
    return time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)


def postgres_cpu_s(postmaster_pid: int, *, except_pids: Collection[int] = ()) -> float:
    """A PostgreSQL server: postmaster, every living child, and those that ended (its cutime and cstime).

    `except_pids`: backends that serve the bench itself; they must stay connected until the last reading.
    """
    total = process_cpu_s(postmaster_pid)
    for pid in children(postmaster_pid):
        if pid not in except_pids:
            try:
                total += process_cpu_s(pid)
            except OSError:
                pass  # ended just now: counted in cutime, read below
    fields = _stat(postmaster_pid)
    return total + (int(fields[13]) + int(fields[14])) / TICKS_PER_S


def children(pid: int) -> list[int]:
    """Living child processes."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if int(_stat(int(entry.name))[1]) == pid:
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on: [1] ppid, [11..14] utime, stime, cutime, cstime."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


class Machine(NamedTuple):
    """Time of all processors since the start, in seconds."""

    total_s: float
    idle_s: float
    steal_s: float

    @property
    def busy_s(self) -> float:
        """What ran here."""
        return self.total_s - self.idle_s - self.steal_s


def machine() -> Machine:
    """The machine now."""
    with open("/proc/stat") as stat:
        user, nice, system, idle, iowait, irq, softirq, steal = map(int, stat.readline().split()[1:9])
    total = user + nice + system + idle + iowait + irq + softirq + steal
    return Machine(total / TICKS_PER_S, (idle + iowait) / TICKS_PER_S, steal / TICKS_PER_S)


def flush_us(directory: Path, *, count: int = 60) -> float:
    """Median time to write 8 KiB over an existing block and make it durable: what a commit waits for."""
    path = directory / "flush"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        block = os.urandom(8192)
        os.pwrite(descriptor, block, 0)
        os.fsync(descriptor)
        times_s = []
        for _ in range(count):
            start_s = time.perf_counter()
            os.pwrite(descriptor, block, 0)
            os.fdatasync(descriptor)
            times_s.append(time.perf_counter() - start_s)
    finally:
        os.close(descriptor)
        path.unlink()
    return median(times_s) * 1e6


def filesystem(directory: Path) -> str:
    """Type of the file system that holds the directory; on tmpfs a flush is none."""
    best, kind = "", "unknown"
    resolved = str(directory.resolve())
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, found, *_ = line.split()
        if (resolved == mount or resolved.startswith(mount.rstrip("/") + "/")) and len(mount) >= len(best):
            best, kind = mount, found
    return kind


def processor() -> str:
    """The processor's name and how many there are."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"{os.cpu_count()} x {line.partition(':')[2].strip()}"
    return f"{os.cpu_count()} processors"
