"""A mesh for the contract tests: one game is withdrawn, and a spin's time is short."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from deploy.local.mesh import Mesh
from services.game.engine.definition import SHIPPED_GAMES
from tests.databases import Databases
from tests.mesh.players import Client, Player
from tests.mesh.stage import WITHDRAWN_GAME_ID, Stage, new_player
from tests.meshes import running_mesh

# Players wait for a dead service no longer than this.
SPIN_DEADLINE_MS = 1_000


@pytest.fixture(scope="module")
def mesh(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """One of each service; the shipped games, and a withdrawn one."""
    games = tmp_path_factory.mktemp("games")
    for path in SHIPPED_GAMES.glob("*.yaml"):
        (games / path.name).write_text(path.read_text())
    _copy_game(games / "double-dawn.yaml", WITHDRAWN_GAME_ID)
    environment = {
        "REELMESH_SPIN_DEADLINE_MS": str(SPIN_DEADLINE_MS),
        "REELMESH_GAME_GAMES_FOLDER": str(games),
        "REELMESH_GAME_GAMES_WITHDRAWN": WITHDRAWN_GAME_ID,
        # Nobody here asks as often as its bucket holds; what one row empties does not fill in its time.
        "REELMESH_GATEWAY_RATE_SESSION_PER_S": "1",
    }
    with running_mesh(databases, environment=environment) as mesh:
        yield mesh


def _copy_game(path: Path, game_id: str) -> None:
    text = path.read_text().replace(f"game_id: {path.stem}", f"game_id: {game_id}")
    path.with_stem(game_id).write_text(text)


@pytest.fixture(scope="module")
def guest(mesh: Mesh) -> Player:
    """A player for all tests that need none of their own."""

    async def arrive() -> Player:
        client = Client([mesh.rest_url()])
        try:
            return await new_player(client)
        finally:
            await client.close()

    return asyncio.run(arrive())


@pytest.fixture
async def stage(mesh: Mesh, guest: Player) -> AsyncIterator[Stage]:
    """The mesh as a test uses it; what the test broke is put back."""
    stage = Stage(mesh, guest=guest)
    yield stage
    await stage.restore()
    await stage.close()
