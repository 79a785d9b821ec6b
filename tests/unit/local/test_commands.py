"""What make says when it cannot do what it was asked: one line each, besides make's own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def said(directory: Path, *arguments: str) -> list[str]:
    """What a failing `make` prints, without its own line."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", "-C", str(directory), "--no-print-directory", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    return [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("make: ***")]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """As after git clone: nothing installed, nothing run."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("lock/dev.txt", "deploy/local/bootstrap.py", "tools/programs.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("python", ["nonexistent", "/bin/false", "/bin/true"])
@pytest.mark.parametrize("target", ["setup", "tools"])
def test_a_python_that_is_none(checkout: Path, target: str, python: str) -> None:
    [line] = said(checkout, target, f"PYTHON={python}")
    assert f"{python} is no Python that starts" in line


def test_playing_in_a_fresh_clone_installs_nothing(checkout: Path) -> None:
    assert said(checkout, "play") == ["play: no API key found: start the mesh with `make run` first"]


@pytest.mark.parametrize("arguments", [["SPINS=abc"], ["SPINS="], ["PLAYERS=-1"], ["SPINS=1.5"], ["SPINS=0"]])
def test_numbers_that_are_none(checkout: Path, arguments: list[str]) -> None:
    (checkout / ".reelmesh").mkdir()
    (checkout / ".reelmesh" / "api_key").write_text("rk_")
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / ".lock-installed").touch()
    # The checkout's own code, on the environment that runs this test.
    python = checkout / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\ncd {ROOT} && exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    assert said(checkout, "play", *arguments) == ["reelmesh: SPINS and PLAYERS must be numbers, 1 or more"]
