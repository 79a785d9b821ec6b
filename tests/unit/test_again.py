"""What CI runs again, and what stays a failure."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools/again.py"
TESTS = """
import os
import pathlib

def test_unlucky_once():
    if not (flag := pathlib.Path("flag")).exists():
        flag.touch()
        raise AssertionError

def test_broken():
    assert "BROKEN" not in os.environ
"""


def run(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = long\n")
    return tmp_path


def halves(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Both halves run the same tests; the second is luckier."""
    for half in ("first", "second"):
        run(folder, "-m", "pytest", "-o", f"cache_dir={half}", "test_some.py", **environment)
    return run(folder, str(TOOL), "first", "second", **environment)


def test_bad_luck_is_named_and_forgiven(folder: Path) -> None:
    done = halves(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("UNSTEADY, to be mended: test_some.py::test_unlucky_once\n")


def test_what_fails_again_is_a_failure(folder: Path) -> None:
    done = halves(folder, BROKEN="1")
    assert done.returncode == 1
    assert "failed again" in done.stderr and "UNSTEADY" not in done.stdout


def test_a_half_that_was_broken_off_is_a_failure(folder: Path) -> None:
    assert halves(folder).returncode == 0
    (folder / "second/v/cache/nodeids").unlink()
    done = run(folder, str(TOOL), "first", "second")
    assert (done.returncode, done.stderr) == (1, "again: second has no end: the run was broken off\n")


def test_more_than_luck_is_a_failure(folder: Path) -> None:
    (folder / "test_some.py").write_text("".join(f"def test_{i}():\n    assert 0\n" for i in range(6)))
    done = halves(folder)
    assert done.returncode == 1
    assert "12 tests failed" in done.stderr


@pytest.mark.parametrize("where", ["fault/test_killed.py", "wallet/test_races.py"])
def test_a_race_is_no_matter_of_luck(folder: Path, where: str) -> None:
    (folder / where).parent.mkdir()
    (folder / "test_some.py").rename(folder / where)
    run(folder, "-m", "pytest", "-o", "cache_dir=first", where)
    done = run(folder, str(TOOL), "first")
    assert (done.returncode, done.stderr) == (1, f"again: no matter of luck: {where}::test_unlucky_once\n")
