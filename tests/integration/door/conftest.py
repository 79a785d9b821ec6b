"""One mesh for all tests of this package; for those of protection gateway-2 has TLS and low rates."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from deploy.local.mesh import Mesh
from services.gateway.operators import keys
from tests.databases import Databases
from tests.integration.wheel.authority import Authority
from tests.mesh.stage import Stage
from tests.meshes import running_mesh
from tests.tools import require_tool

# What is believed is soon asked again.
CACHE_MS = 200
# Of gateway-2, whose rates are its own.
SESSION_BURST, ADDRESS_BURST = 5, 60
# Pages of the operators "dev" and "other".
OURS, THEIRS = "https://dev-casino.example", "https://other-casino.example"


@pytest.fixture(scope="package")
def mesh(databases: Databases) -> Iterator[Mesh]:
    """Two gateways and one of each other service."""
    environment = {
        "REELMESH_GATEWAY_API_KEY_CACHE_MS": str(CACHE_MS),
        "REELMESH_GATEWAY_ORIGINS_CACHE_MS": str(CACHE_MS),
    }
    with running_mesh(databases, replicas={"gateway": 2}, environment=environment) as mesh:
        yield mesh
        assert set(mesh.stop().values()) == {0}


@pytest.fixture
async def stage(mesh: Mesh) -> AsyncIterator[Stage]:
    """The mesh as a test uses it."""
    stage = Stage(mesh)
    yield stage
    await stage.restore()
    await stage.close()


async def allow(mesh: Mesh, operator_id: str, *origins: str) -> None:
    """The operator's pages are these."""
    engine = create_async_engine(mesh.database_urls["gateway"], poolclass=NullPool)
    await keys.allow_origins(engine, operator_id=operator_id, origins=list(origins))


@pytest.fixture(scope="package")
def origins(mesh: Mesh) -> None:
    """Each operator's page."""
    asyncio.run(allow(mesh, "dev", OURS))
    asyncio.run(allow(mesh, "other", THEIRS))


@pytest.fixture(scope="package")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Signs the certificates of gateway-2."""
    require_tool("openssl")
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="package")
def certificate(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Files of gateway-2's certificate and key, which a test may replace."""
    directory = tmp_path_factory.mktemp("certificate")
    cert, key = directory / "tls.crt", directory / "tls.key"
    for issued, path in zip(authority.issue("first"), (cert, key), strict=True):
        shutil.copy(issued, path)
    return cert, key


@pytest.fixture(scope="module")
def strict(mesh: Mesh, certificate: tuple[Path, Path]) -> Iterator[Mesh]:
    """The mesh while gateway-2 is strict: who calls any gateway must not meet it."""
    cert, key = certificate
    mesh.restart(
        "gateway-2",
        environment={
            "REELMESH_GATEWAY_TLS_CERT_PATH": str(cert),
            "REELMESH_GATEWAY_TLS_KEY_PATH": str(key),
            "REELMESH_GATEWAY_RATE_SESSION_PER_S": "1",
            "REELMESH_GATEWAY_RATE_SESSION_BURST": str(SESSION_BURST),
            "REELMESH_GATEWAY_RATE_ADDRESS_PER_S": "1",
            "REELMESH_GATEWAY_RATE_ADDRESS_BURST": str(ADDRESS_BURST),
            "REELMESH_GATEWAY_TRUSTED_PROXIES": "127.0.0.0/8",
        },
    )
    yield mesh
    mesh.restart("gateway-2")
