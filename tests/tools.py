"""Programs beyond Python that some tests need."""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest


def require_tool(name: str) -> str:
    """The program's path; skips the test where it is absent, or fails where all of them are required."""
    path = shutil.which(name)
    if path is not None:
        return path
    _absent(f"needs the program {name} (see `make tools`)")


def require_npm_package(name: str) -> Path:
    """The folder of a package of tools/package.json; skips or fails in the same way."""
    require_tool("node")
    path = Path(__file__).parents[1] / "tools/node_modules" / name
    if path.exists():
        return path
    _absent(f"needs the npm package {name} (npm ci --prefix tools)")


def _absent(message: str) -> NoReturn:
    if os.environ.get("REELMESH_REQUIRE_TOOLS") == "1":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)
