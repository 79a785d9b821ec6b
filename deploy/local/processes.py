"""Processes of this machine that are not our children."""

import subprocess
from pathlib import Path


def command_line(pid: int) -> str:
    """Program and arguments with spaces between; empty when there is no such process, or only its remains."""
    if Path("/proc/self").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    ps = ["ps", "-o", "command=", "-p", str(pid)]  # macOS
    return subprocess.run(ps, capture_output=True, text=True).stdout
