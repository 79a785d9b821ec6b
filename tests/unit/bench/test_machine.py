"""Reading CPU time: of a process with its threads, and of a process tree like PostgreSQL's."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench import machine

_WORK_S = 0.1
_BURN = "import time\nend = {0}\nwhile time.process_time() < end: pass\n"
_THREAD = "import threading\ndef run():\n  import time\n  while time.thread_time() < {0}: pass\n"
_THREADS = _THREAD + "t = threading.Thread(target=run); t.start(); t.join()\n"


def hold(program: str) -> subprocess.Popen[str]:
    """Runs the program, says so, and stays until its stdin closes."""
    process = subprocess.Popen(
        [sys.executable, "-c", program + "print('done', flush=True)\ninput()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "done\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.communicate()


def test_a_process_costs_what_the_kernel_says() -> None:
    process = hold(_BURN.format(_WORK_S))
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        ticks_s = (int(fields[11]) + int(fields[12])) / machine.TICKS_PER_S
        assert machine.process_cpu_s(process.pid) == pytest.approx(ticks_s, abs=0.025)
        assert machine.process_cpu_s(process.pid) >= _WORK_S
    finally:
        end(process)


def test_threads_that_ended_are_counted() -> None:
    process = hold(_THREADS.format(_WORK_S))
    try:
        assert machine.process_cpu_s(process.pid) >= _WORK_S
    finally:
        end(process)


def test_a_process_that_is_gone_is_an_error() -> None:
    process = hold("")
    end(process)
    with pytest.raises(OSError):
        machine.process_cpu_s(process.pid)


def test_a_server_is_its_living_and_its_ended_children_but_not_those_of_the_bench() -> None:
    ended = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', '''{_BURN.format(_WORK_S)}'''])\n"
    process = hold(ended)
    try:
        with_ended_s = machine.postgres_cpu_s(process.pid)
        assert with_ended_s >= _WORK_S
    finally:
        end(process)
    # Of ourselves: a child that lives, counted unless it is the bench's own.
    child = hold(_BURN.format(2 * _WORK_S))
    try:
        assert child.pid in machine.children(os.getpid())
        without_s = machine.postgres_cpu_s(os.getpid(), except_pids=[child.pid])
        assert machine.postgres_cpu_s(os.getpid()) - without_s >= 2 * _WORK_S
    finally:
        end(child)


def test_the_machines_time_moves_on() -> None:
    before, end_s = machine.machine(), time.monotonic() + 0.1
    while time.monotonic() < end_s:
        pass
    after = machine.machine()
    assert after.total_s > before.total_s
    assert after.busy_s > before.busy_s


def test_a_flush_takes_time_and_leaves_nothing(tmp_path: Path) -> None:
    assert machine.flush_us(tmp_path, count=5) > 0
    assert list(tmp_path.iterdir()) == []
    assert machine.filesystem(Path("/proc")) == "proc"
