"""Named places where a test may stop or kill the process. Inert unless REELMESH_FAIL is set.

REELMESH_FAIL=point[@name][:n][:hold]: at the n-th reach of the point (default 1; only with that name)
a line is appended to the file REELMESH_FAIL_MARK, then the process kills itself with SIGKILL; with `hold` it
waits instead until that file is deleted. Points and their names:
before_send, after_send (client; the RPC, e.g. Settle), before_commit, after_commit (the transaction's name),
after_reply (server; the RPC), mid_relay (outbox; its source), mid_append (events; the source),
mid_archive (wallet; the table whose file was written, or manifest).
"""

import asyncio
import os
import re
import signal
from collections.abc import Mapping
from pathlib import Path

POLL_INTERVAL_S = 0.02


class Failpoint:
    """One armed failpoint and how often it was reached."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Errors: ValueError for a REELMESH_FAIL of another form, KeyError without REELMESH_FAIL_MARK."""
        form = r"(?P<point>[a-z_]+)(@(?P<name>[^:]+))?(:(?P<n>[1-9]\d*))?(?P<hold>:hold)?"
        found = re.fullmatch(form, environ["REELMESH_FAIL"])
        if found is None:
            raise ValueError("REELMESH_FAIL must be point[@name][:n][:hold]")
        self.point, self.name = found["point"], found["name"]
        self.hold = found["hold"] is not None
        self.reaches_left = int(found["n"] or 1)
        self.mark = Path(environ["REELMESH_FAIL_MARK"])

    def matches(self, point: str, name: str) -> bool:
        """Whether this is the point, of any name or this one."""
        return point == self.point and self.name in (None, name)

    async def reach(self, point: str, name: str) -> None:
        """Kills or holds when this is the armed reach; else returns at once."""
        if not self.matches(point, name):
            return
        self.reaches_left -= 1
        if self.reaches_left != 0:
            return
        with self.mark.open("a") as mark:
            mark.write(f"{point}@{name} pid={os.getpid()}\n")
        if not self.hold:
            os.kill(os.getpid(), signal.SIGKILL)
        while self.mark.exists():  # noqa: ASYNC110 - another process deletes it
            await asyncio.sleep(POLL_INTERVAL_S)


_armed = Failpoint(os.environ) if "REELMESH_FAIL" in os.environ else None


def armed() -> bool:
    """Whether any failpoint is armed in this process."""
    return _armed is not None


def due(point: str, name: str) -> bool:
    """Whether the next reach of the point kills or holds."""
    return _armed is not None and _armed.matches(point, name) and _armed.reaches_left == 1


async def reach(point: str, name: str = "") -> None:
    """Passes the point; returns unless the environment armed it."""
    if _armed is not None:
        await _armed.reach(point, name)
