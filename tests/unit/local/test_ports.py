"""Ports for tests and benches that run at the same time."""

import subprocess
import sys

from deploy.local import ports

ASK = "from deploy.local.ports import free_ports; import sys; print(*free_ports(4_000)); sys.stdin.read()"


def test_no_two_processes_are_given_the_same_port() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ASK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdin is not None
        theirs = {int(port) for port in other.stdout.readline().split()}
        ours = ports.free_ports(400)
        other.stdin.close()
    assert len(theirs) == 4_000 and len(set(ours)) == 400
    assert not theirs & set(ours)
