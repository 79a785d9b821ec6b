"""The local runner's mesh: processes, keys, drain, what it says of a crash; the first spin and play on it."""

import io
import signal
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from deploy.local.databases import SERVICES
from deploy.local.errors import LocalError
from deploy.local.first_spin import script
from deploy.local.mesh import Mesh
from deploy.local.play import play
from deploy.local.traces import TraceReceiver
from tests.meshes import API_KEY


@pytest.mark.tool("curl")
def test_the_printed_lines_play_a_spin(mesh: Mesh) -> None:
    lines = script(mesh.rest_url(), API_KEY)
    done = subprocess.run(["sh", "-e", "-c", lines], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert '"balance_after"' in done.stdout.splitlines()[0]
    assert '"state":"SETTLED"' in done.stdout.splitlines()[-1]


def test_play_shows_stakes_wins_and_one_trace_through_four_services(
    mesh: Mesh, trace_receiver: TraceReceiver
) -> None:
    shown = io.StringIO()
    play(
        Console(file=shown, width=150),
        spins=12,
        players=3,
        rest_url=mesh.rest_url("gateway-2"),
        traces_url=f"{trace_receiver.endpoint}/traces",
        api_key=API_KEY,
    )
    text = shown.getvalue()
    assert "12 in " in text and "spins/s" in text and "refusals  none" in text
    waterfall = text.partition("\ntrace ")[2].splitlines()
    assert {line.split()[0] for line in waterfall[2:]} == {"gateway", "session", "game", "wallet"}


def test_play_without_a_mesh_says_so_in_one_line() -> None:
    with pytest.raises(LocalError, match=r"^nothing answers at [^\n]+ first$"):
        play(
            Console(file=io.StringIO()),
            spins=1,
            players=1,
            rest_url="http://127.0.0.1:1",
            traces_url="",
            api_key="",
        )


def test_a_killed_service_is_told_and_starts_again(mesh: Mesh) -> None:
    mesh.signal("wallet", signal.SIGKILL)
    assert mesh.wait_ended("wallet") == -signal.SIGKILL
    assert mesh.ended() == {"wallet": -signal.SIGKILL}
    assert not mesh.serving("wallet")
    mesh.start("wallet")
    assert mesh.ended() == {}
    for health in ("startup", "readiness", "liveness"):
        assert mesh.serving("wallet", health=health)


def test_a_stopped_service_has_drained(mesh: Mesh) -> None:
    assert mesh.stop("events") == {"events": 0}
    mesh.start("events")


def test_a_service_that_cannot_start_is_told_with_its_reason(mesh: Mesh) -> None:
    mesh.stop("game")
    with pytest.raises(
        LocalError, match=r"^game ended while starting: configuration: REELMESH_GAME_GRPC_PORT [^\n]+$"
    ):
        mesh.start("game", environment={"REELMESH_GAME_GRPC_PORT": "none"})
    mesh.start("game")


def test_keys_are_made_once_per_directory(tmp_path: Path) -> None:
    urls = dict.fromkeys(SERVICES, "")
    Mesh(tmp_path, urls)
    keys = (tmp_path / "keys.json").read_bytes()
    Mesh(tmp_path, urls)
    assert (tmp_path / "keys.json").read_bytes() == keys
    assert (tmp_path / "keys.json").stat().st_mode & 0o077 == 0
