"""What setup says when a machine lacks something: one line each."""

import sys
from pathlib import Path

import pytest

from deploy.local import bootstrap


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (["Collecting a", "ERROR: Could not install: [Errno 28] No space left on device"], "no space left"),
        (["WARNING: Retrying after NewConnectionError(...)", "ERROR: No matching"], "cannot be reached"),
        (["Collecting a", "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES"], "DO NOT MATCH THE HASHES"),
        ([], "without a message"),
    ],
)
def test_a_failed_step_is_told_in_one_line(output: list[str], said: str) -> None:
    line = bootstrap.reason(output)
    assert said in line and "\n" not in line


def test_an_old_python_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["bootstrap.py", str(tmp_path / "venv"), "lock"])
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    with pytest.raises(SystemExit, match=r"^setup: Python 3\.11 or newer is needed, this is 3\.9 [^\n]+$"):
        bootstrap.main()


def test_a_failing_command_ends_with_its_error(tmp_path: Path) -> None:
    seen: list[str] = []
    with pytest.raises(SystemExit, match=r"^setup: ERROR: broken$"):
        bootstrap.run(["sh", "-c", "echo Collecting a; echo ERROR: broken; exit 3"], seen.append)
    assert seen[0] == "Collecting a"
