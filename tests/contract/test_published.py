"""What has landed of the contracts stays: what takes something away fails, what adds is taken over."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.tools import require_npm_package
from tools import published

EVENTS = "reelmesh/events/v1/events.proto"
FIELD = "  int64 account_version = 5;\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The contracts as they stand, to be changed."""
    require_npm_package("@bufbuild/buf")
    shutil.copytree(published.ROOT / "protos", tmp_path / "protos")
    shutil.copy(published.ROOT / "buf.yaml", tmp_path)
    return tmp_path


def change(root: Path, old: str, new: str) -> None:
    path = root / "protos" / EVENTS
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def found(root: Path) -> str:
    """What buf lists; empty: nothing is broken."""
    done = subprocess.run(published.breaking(root), capture_output=True, text=True)
    assert (done.returncode != 0) == bool(done.stdout), done.stderr
    return done.stdout


def test_the_file_is_what_the_protos_say() -> None:
    assert not published.stale()


@pytest.mark.parametrize(
    ("new", "told"),
    [
        ("", '"5" with name "account_version" on message "Event" was deleted'),
        (FIELD.replace("int64", "string"), 'changed type from "int64" to "string"'),
        (FIELD.replace("account_version", "version"), 'changed name from "account_version" to "version"'),
        (FIELD.replace("5", "99"), '"5" with name "account_version" on message "Event" was deleted'),
    ],
    ids=["gone", "another type", "another name", "another number"],
)
def test_what_is_taken_away_fails_and_is_not_taken_over(root: Path, new: str, told: str) -> None:
    before = (root / published.NAME).read_bytes()
    change(root, FIELD, new)
    assert told in found(root)
    with pytest.raises(SystemExit, match="stays as it is"):
        published.write(root)
    assert (root / published.NAME).read_bytes() == before


def test_what_is_added_is_taken_over_and_held_from_then_on(root: Path) -> None:
    assert not found(root)
    change(root, FIELD, f"{FIELD}  // New.\n  int64 added = 99;\n")
    assert published.stale(root) and not found(root)
    published.write(root)
    assert not published.stale(root)
    change(root, "  // New.\n  int64 added = 99;\n", "")
    assert '"99" with name "added"' in found(root)


def test_a_comment_is_no_change(root: Path) -> None:
    change(root, FIELD, f"  // As the account counts its movements.\n{FIELD}")
    assert not published.stale(root)
