"""Players and services of the running mesh."""

from collections.abc import AsyncIterator

import pytest

from deploy.local.mesh import Mesh
from tests.mesh.stage import Stage


@pytest.fixture
async def stage(mesh: Mesh) -> AsyncIterator[Stage]:
    """The mesh as a test uses it; what the test broke is put back."""
    stage = Stage(mesh)
    yield stage
    await stage.restore()
    await stage.close()
