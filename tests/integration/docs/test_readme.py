"""What the README shows is run as it stands, against a real mesh."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.databases import Server
from deploy.local.first_spin import script
from deploy.local.mesh import Mesh
from tests.databases import Databases
from tests.meshes import API_KEY, running_mesh

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def mesh(server: Server) -> Iterator[Mesh]:
    databases = Databases(server)
    with running_mesh(databases) as mesh:
        yield mesh
    databases.close()


def snippet(language: str) -> str:
    """The README's one block of that language."""
    [block] = re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return str(block)


def run(command: list[str], directory: Path, **environment: str) -> str:
    """The command's output; its error output when it fails."""
    done = subprocess.run(
        command, cwd=directory, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def played_round(output: str) -> dict[str, object]:
    """The round in the last line of a shell snippet's output."""
    answer = json.loads(output.strip().splitlines()[-1])
    assert "round" in answer, answer
    round_ = answer["round"]
    assert isinstance(round_, dict)
    return round_


@pytest.mark.tool("curl")
def test_the_shell_snippet_plays_a_spin(mesh: Mesh, tmp_path: Path) -> None:
    shell = (
        snippet("sh")
        .replace("http://localhost:8080", mesh.rest_url())
        .replace("$(cat .reelmesh/api_key)", API_KEY)
    )
    assert played_round(run(["sh", "-c", shell], tmp_path))["state"] == "SETTLED"


@pytest.mark.tool("curl")
def test_the_lines_that_make_run_prints_play_a_spin(mesh: Mesh, tmp_path: Path) -> None:
    printed = script(mesh.rest_url(), API_KEY)
    assert played_round(run(["sh", "-c", printed], tmp_path))["state"] == "SETTLED"


def test_the_python_snippet_plays_a_spin(mesh: Mesh, tmp_path: Path) -> None:
    (tmp_path / ".reelmesh").mkdir()
    (tmp_path / ".reelmesh" / "api_key").write_text(API_KEY)
    address = f"localhost:{mesh.ports('gateway').grpc}"
    program = snippet("python").replace("localhost:8081", address)
    assert "ROUND_STATE_SETTLED" in run(
        [sys.executable, "-c", program], tmp_path, PYTHONPATH=str(ROOT / "gen")
    )


def test_every_route_of_the_table_exists_and_every_route_is_in_the_table() -> None:
    from services.gateway.edge.rest import ROUTES

    table = (ROOT / "README.md").read_text()
    rows = [line for line in table.splitlines() if line.startswith("| `") and "/v1/" in line]
    told = set(re.findall(r"/v1/[^`\s,]*", "\n".join(rows)))
    told |= {"/v1/players/{player_id}/withdrawals"} if "`/withdrawals`" in table else set()
    assert told == {path for _, path, _, _ in ROUTES}
