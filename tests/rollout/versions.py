"""The version before this one's, from the repository's history: its newest commit with another schema."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from deploy.local.mesh import REPOSITORY
from tests.tools import require_tool

MIGRATIONS = ":(glob)services/*/migrations/versions/*.py"


def version_before(directory: Path) -> tuple[str, Path]:
    """Commit and source of the version before; skips where the clone has no such history."""
    require_tool("git")
    if _git("rev-parse", "--is-shallow-repository") != "false":
        pytest.skip("needs the repository's history (a clone that is not shallow)")
    # Of a migration that came, not of one whose text changed.
    newest = _git("log", "-1", "--diff-filter=A", "--format=%H", "--", MIGRATIONS)
    commit = _git("rev-parse", f"{newest}^")
    archive = subprocess.run(
        ["git", "archive", "--format=tar", commit, "services", "gen"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    ).stdout
    tree = directory / commit
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(tree, filter="data")
    return commit, tree


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True)
    return done.stdout.strip()
