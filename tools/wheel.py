"""The wheel reelmesh-stubs from gen/ and stubs/, into build/: wheel.py. Needs no network."""

import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from services.common import identity

ROOT = Path(__file__).resolve().parents[1]


def build(directory: Path) -> Path:
    """Builds the wheel into the directory; exits with pip's message when that fails."""
    with tempfile.TemporaryDirectory() as source:
        assemble(Path(source))
        # The back end is setuptools as the lock file has it.
        offline = ["--no-index", "--no-deps", "--no-build-isolation"]
        pip = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "wheel", *offline]
        done = subprocess.run([*pip, "-w", str(directory), source], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"wheel: {done.stdout}{done.stderr}")
    return directory / f"reelmesh_stubs-{version()}-py3-none-any.whl"


def assemble(target: Path) -> None:
    """Writes the source tree of the wheel: generated stubs, client, and what both take from elsewhere."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "gen", target, ignore=ignore, dirs_exist_ok=True)
    shutil.copytree(ROOT / "stubs", target, ignore=ignore, dirs_exist_ok=True)
    shutil.copy(ROOT / "LICENSE", target)
    (target / "VERSION").write_text(version())
    deadlines_ms = {path: method.deadline_ms for path, method in identity.methods().items()}
    (target / "reelmesh" / "client" / "deadlines_ms.json").write_text(json.dumps(deadlines_ms, indent=1))


def version() -> str:
    """The version of the project: one for services and stubs."""
    project: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project["version"]


if __name__ == "__main__":
    print(build(ROOT / "build").relative_to(ROOT))
