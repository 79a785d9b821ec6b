"""Players and services of the running mesh."""

from collections.abc import AsyncIterator

import pytest

from deploy.local.mesh import Mesh
from tests.mesh.script import Script
from tests.mesh.stage import Stage


@pytest.fixture
async def stage(mesh: Mesh) -> AsyncIterator[Stage]:
    """The mesh as a test uses it; what the test broke is put back."""
    stage = Stage(mesh)
    yield stage
    await stage.restore()
    await stage.close()


@pytest.fixture
async def script(mesh: Mesh) -> AsyncIterator[Script]:
    """The same asked over the three protocols."""
    script = Script(mesh)
    yield script
    for protocol in script.protocols:
        await protocol.close()
