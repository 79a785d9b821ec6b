"""Integration tests use `database` of tests/conftest.py, or the five services as processes: `mesh`."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.mesh import Mesh
from deploy.local.traces import TraceReceiver
from services.game.engine.definition import SHIPPED_GAMES
from tests.databases import Databases
from tests.meshes import running_mesh

_MODES_GAME = Path(__file__).parent / "game" / "games" / "sure-bonus.yaml"


@pytest.fixture(scope="module")
def mesh(
    databases: Databases, trace_receiver: TraceReceiver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mesh]:
    """Two gateways and one of each other service, every span sent to `trace_receiver`; the shipped games, and
    one with modes.
    """
    games = tmp_path_factory.mktemp("games")
    for path in (*SHIPPED_GAMES.glob("*.yaml"), _MODES_GAME):
        shutil.copy(path, games)
    environment = {
        "REELMESH_GAME_GAMES_FOLDER": str(games),
        "OTEL_EXPORTER_OTLP_ENDPOINT": trace_receiver.endpoint,
        "REELMESH_TRACE_RATIO": "1.0",
    }
    with running_mesh(databases, replicas={"gateway": 2}, environment=environment) as mesh:
        yield mesh
        # A drained process exits with 0; -9 would mean that it had to be killed.
        assert set(mesh.stop().values()) == {0}
