"""Runs buf, which comes from npm, for the check only: buf.py lint. Without npm it says so in one line."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

TOOLS = Path(__file__).resolve().parent
INSTALLED = TOOLS / "node_modules" / ".package-lock.json"
LOCK = TOOLS / "package-lock.json"


def install() -> str:
    """Installs the locked packages unless they are there; why not, or an empty text."""
    if INSTALLED.exists() and INSTALLED.stat().st_mtime >= LOCK.stat().st_mtime:
        return ""
    if shutil.which("npm") is None:
        return "npm is not here"
    done = subprocess.run(["npm", "ci", "--prefix", str(TOOLS)], capture_output=True, text=True)
    if done.returncode == 0:
        return ""
    told = [
        line.removeprefix("npm error").strip() for line in done.stderr.splitlines() if "npm error" in line
    ]
    why = [line for line in told if line and not line.startswith("code ")]
    return f"npm ci failed: {why[0] if why else 'no message'}"


def main() -> None:
    """Exits with buf's code; 0 without npm, unless REELMESH_REQUIRE_TOOLS=1."""
    problem = install()
    if problem:
        print(f"buf {' '.join(sys.argv[1:])} skipped: {problem}", file=sys.stderr)
        sys.exit(1 if os.environ.get("REELMESH_REQUIRE_TOOLS") == "1" else 0)
    buf = TOOLS / "node_modules" / ".bin" / "buf"
    sys.exit(subprocess.run([str(buf), *sys.argv[1:]], cwd=TOOLS.parent).returncode)


if __name__ == "__main__":
    main()
