"""What the README, docs/api.md and docs/kubernetes/start.md show is run as it stands, against a real mesh."""

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
from services.gateway.operations import OPERATIONS
from tests.databases import Databases
from tests.mesh.players import CURRENCY
from tests.mesh.stage import launched
from tests.meshes import API_KEY, running_mesh

# Of node before 22 behind an option.
NODE_MAJOR_MIN = 20
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


def api_snippets(mesh: Mesh, language: str) -> list[str]:
    """The blocks of docs/api.md of that language, for this mesh."""
    blocks = re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs/api.md").read_text(), re.DOTALL)
    grpc_address = f"localhost:{mesh.ports('gateway').grpc}"
    return [
        block.replace("http://localhost:8080", mesh.rest_url()).replace("localhost:8081", grpc_address)
        for block in blocks
    ]


def test_the_page_s_python_plays_over_websocket_and_stream(mesh: Mesh, tmp_path: Path) -> None:
    socket, stream = api_snippets(mesh, "python")
    (tmp_path / ".reelmesh").mkdir()
    (tmp_path / ".reelmesh" / "api_key").write_text(API_KEY)
    assert '"state":"SETTLED"' in run([sys.executable, "-c", socket], tmp_path)
    stream = f"TOKEN = {launched(mesh)!r}\n{stream}".replace('"EUR"', f'"{CURRENCY}"')
    told = run([sys.executable, "-c", stream], tmp_path, PYTHONPATH=str(ROOT / "gen")).splitlines()
    assert sorted(line.split()[0] for line in told) == ["0", "1", "2"]


@pytest.mark.tool("node")
def test_the_page_s_javascript_plays_over_websocket(mesh: Mesh, tmp_path: Path) -> None:
    major = int(run(["node", "--version"], tmp_path).lstrip("v").split(".")[0])
    if major < NODE_MAJOR_MIN:
        pytest.skip(f"node {major} has no WebSocket, {NODE_MAJOR_MIN} has")
    [script] = api_snippets(mesh, "javascript")
    script = f"const API = {mesh.rest_url()!r}, TOKEN = {launched(mesh)!r};\n{script}"
    script = script.replace('"EUR"', f'"{CURRENCY}"')
    assert "SETTLED" in run(["node", "--experimental-websocket", "-e", script], tmp_path)


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


def test_the_feed_of_the_page_of_events_goes_on_behind_its_cursor(mesh: Mesh, tmp_path: Path) -> None:
    launched(mesh)
    launched(mesh)
    (tmp_path / ".reelmesh").mkdir()
    (tmp_path / ".reelmesh" / "api_key").write_text(API_KEY)
    page = (ROOT / "docs/events.md").read_text()
    [feed] = [
        block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "GatewayService" in block
    ]
    program = feed.replace("localhost:8081", f"localhost:{mesh.ports('gateway').grpc}")
    command, gen = [sys.executable, "-c", program], {"PYTHONPATH": str(ROOT / "gen")}
    *events, last = run(command, tmp_path, **gen).splitlines()
    assert events and all(" transfer.applied " in line for line in events)
    launched(mesh)
    *after, _ = run([*command, last.split()[1]], tmp_path, **gen).splitlines()
    assert after and not {*after} & {*events}


@pytest.mark.tool("curl")
def test_the_shell_of_the_page_of_events_registers_a_webhook(mesh: Mesh, tmp_path: Path) -> None:
    [shell] = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/events.md").read_text(), re.DOTALL)
    shell = shell.replace("http://localhost:8080", mesh.rest_url())
    shell = shell.replace("$(cat .reelmesh/api_key)", API_KEY)
    assert json.loads(run(["sh", "-c", shell], tmp_path))["webhook"]["state"] == "ACTIVE"


def test_the_page_s_table_is_the_table_of_operations() -> None:
    rows = re.findall(r"^\| `([A-Z]+ /v1/[^`]+)` \| (\w+)", (ROOT / "docs/api.md").read_text(), re.MULTILINE)
    assert rows == [
        (f"{route.http_method} {route.path}", operation.name)
        for operation in OPERATIONS
        for route in operation.routes
    ]


def test_the_page_of_kubernetes_leads_from_an_operator_to_a_spin(mesh: Mesh) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/kubernetes/start.md").read_text(), re.DOTALL)
    [operator] = [block for block in blocks if "administer create" in block]
    [spin] = [block for block in blocks if "/v1/spins" in block]
    # The command itself, where the page has it run in a pod of the cluster.
    in_pod, python = "kubectl -n reelmesh exec deployment/gateway -- python", f"'{sys.executable}'"
    assert in_pod in operator and "http://localhost:8080" in spin
    script = "\n".join(line for line in operator.splitlines() if "port-forward" not in line)
    script = script.replace(in_pod, python) + "\n" + spin.replace("http://localhost:8080", mesh.rest_url())
    database, path = mesh.database_urls["gateway"], f"{ROOT}:{ROOT}/gen"
    command = ["bash", "-euo", "pipefail", "-c", script]
    output = run(command, ROOT, REELMESH_GATEWAY_DATABASE_URL=database, PYTHONPATH=path)
    assert json.loads(output.strip().splitlines()[-1])["round"]["state"] == "SETTLED"
