"""Programs beyond Python that some tests need."""

import os
import shutil

import pytest


def require_tool(name: str) -> str:
    """The program's path; skips the test where it is absent, or fails where all of them are required."""
    path = shutil.which(name)
    if path is not None:
        return path
    message = f"needs the program {name} (see `make tools`)"
    if os.environ.get("REELMESH_REQUIRE_TOOLS") == "1":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)
