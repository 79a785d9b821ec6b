"""The local runner's mesh: processes, keys, drain, what it says of a crash; the first spin and play on it."""

import asyncio
import io
import re
import signal
import subprocess
import uuid
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from deploy.local.databases import SERVICES
from deploy.local.errors import LocalError
from deploy.local.first_spin import script
from deploy.local.mesh import Mesh
from deploy.local.play import Player, Tally, play, seat
from deploy.local.traces import TraceReceiver
from services.game.engine.definition import SHIPPED_GAMES
from tests.meshes import API_KEY

GAMBLE = "double-dawn"
STAKE_MINOR = 100


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
    text = _play(mesh.rest_url("gateway-2"), spins=12, players=3, traces_url=trace_receiver.endpoint)
    assert "12 in " in text and "spins/s" in text and "refusals  none" in text
    waterfall, _, linked_from = text.partition("\ntrace ")[2].partition("\nlinked from it:")
    assert f"{trace_receiver.endpoint}/?trace_id=" in waterfall.splitlines()[0]
    assert {line.split()[0] for line in waterfall.splitlines()[2:]} == {
        "gateway",
        "session",
        "game",
        "wallet",
    }
    assert any("relay" in line and "events" in line for line in linked_from.splitlines())


@pytest.mark.tool("curl")
@pytest.mark.parametrize("url", ["", "http://127.0.0.1:1"])
def test_the_printed_lines_show_the_problem_and_fail(mesh: Mesh, url: str) -> None:
    lines = script(url or mesh.rest_url(), "rk_wrong")
    told = "CODE=" + lines.partition("\nCODE=")[2].partition("\n")[0]
    functions = lines.partition("\npost /v1/players")[0]
    done = subprocess.run(
        ["sh", "-e", "-c", f"{functions}\n{told}"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert '"reason":"API_KEY_INVALID"' in done.stderr or "curl: (7)" in done.stderr


async def test_play_after_an_interrupted_play_collects_what_it_left_open(mesh: Mesh) -> None:
    async with httpx.AsyncClient(base_url=mesh.rest_url()) as client:
        left = await seat(client, API_KEY, "player-1", GAMBLE, Tally())
        await _open_round(left)
    text = await asyncio.to_thread(_play, mesh.rest_url(), spins=5, game_id=GAMBLE)
    assert "5 in " in text and "refusals   none" in text
    assert "collected  1 of an earlier play's open rounds" in text


async def test_a_spin_beside_an_open_round_ends_that_round_first(mesh: Mesh) -> None:
    async with httpx.AsyncClient(base_url=mesh.rest_url()) as client:
        player = await seat(client, API_KEY, "beside", GAMBLE, Tally())
        await _open_round(player)
        assert await player.spin(STAKE_MINOR) is not None
    assert player.tally.refusals == {"ROUND_OPEN": 1} and player.tally.collected == 1


async def test_a_lost_answer_is_asked_for_again_with_the_same_id(mesh: Mesh) -> None:
    async with httpx.AsyncClient(base_url=mesh.rest_url(), transport=_LosesAnswers()) as client:
        player = await seat(client, API_KEY, "lossy", "harbour-lights", Tally())
        round_ = await player.spin(STAKE_MINOR)
        listed = await client.get("/v1/rounds", headers={"Authorization": f"Bearer {player.token}"})
    assert round_ is not None and player.tally.refusals == {"no answer": 1}
    assert [one["round_id"] for one in listed.json()["rounds"]] == [round_["round_id"]]


async def test_play_whose_mesh_goes_away_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.local.play._REPEAT_S", 0.2)
    transport = httpx.MockTransport(_hang_up)
    async with httpx.AsyncClient(base_url="http://127.0.0.1:8080", transport=transport) as client:
        player = Player(client, "", {}, Tally())
        with pytest.raises(LocalError, match=r"^http://127\.0\.0\.1:8080 stopped answering [^\n]+$"):
            await player.spin(STAKE_MINOR)
    assert player.tally.refusals["no answer"] > 1


def test_play_seats_a_player_at_every_game(mesh: Mesh) -> None:
    offered = [game["game_id"] for game in httpx.get(f"{mesh.rest_url()}/v1/games").json()["games"]]
    assert set(offered) > {path.stem for path in SHIPPED_GAMES.glob("*.yaml")}
    text = _play(mesh.rest_url(), spins=3 * len(offered), players=len(offered))
    assert f"{3 * len(offered)} in " in text and re.search("refusals +none", text)


def test_play_of_a_game_that_is_not_there_names_those_that_are(mesh: Mesh) -> None:
    with pytest.raises(LocalError, match=r"^no game chess is on offer, but [^\n]*harbour-lights"):
        _play(mesh.rest_url(), spins=1, game_id="chess")


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
    told = mesh.last_words("wallet")
    assert re.fullmatch(r"wallet serves on [^{\n]+ \(log: [^\n]+/wallet\.log\)", told)
    assert not mesh.serving("wallet")
    mesh.start("wallet")
    assert mesh.ended() == {}
    for health in ("startup", "readiness", "liveness"):
        assert mesh.serving("wallet", health=health)


async def test_the_environment_names_the_game_client(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELMESH_GATEWAY_LAUNCH_URL", "https://client.example/slot")
    await asyncio.to_thread(mesh.restart, "gateway-2")
    session = {
        "request_id": str(uuid.uuid4()),
        "player_id": "launched",
        "game_id": GAMBLE,
        "currency_code": "EUR",
    }
    async with httpx.AsyncClient(base_url=mesh.rest_url("gateway-2")) as client:
        answer = await client.post(
            "/v1/sessions", json=session, headers={"Authorization": f"Bearer {API_KEY}"}
        )
    assert answer.json()["launch_url"].startswith("https://client.example/slot?code=")


def test_a_stopped_service_has_drained(mesh: Mesh) -> None:
    assert mesh.stop("events") == {"events": 0}
    mesh.start("events")


def test_a_service_that_cannot_start_is_told_with_its_reason(mesh: Mesh) -> None:
    mesh.stop("game")
    with pytest.raises(
        LocalError,
        match=r"^game ended while starting: configuration: REELMESH_GAME_GRPC_PORT [^\n]+ \(log: [^\n]+\)$",
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


def _play(
    rest_url: str,
    *,
    spins: int,
    players: int = 1,
    traces_url: str = "http://127.0.0.1:1",
    game_id: str = "",
) -> str:
    """What it shows."""
    shown = io.StringIO()
    console = Console(file=shown, width=150)
    play(
        console,
        spins=spins,
        players=players,
        rest_url=rest_url,
        traces_url=traces_url,
        api_key=API_KEY,
        game_id=game_id,
    )
    return shown.getvalue()


async def _open_round(player: Player) -> None:
    """Spins until a round waits for a choice, and leaves it so."""
    for _ in range(200):
        round_ = await player.spin(STAKE_MINOR)
        if round_ is not None and round_["state"] == "OPEN":
            return
    raise AssertionError("no win")


class _LosesAnswers(httpx.AsyncHTTPTransport):
    """Delivers every request, and loses the first answer to a spin."""

    _lost = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        if request.url.path == "/v1/spins" and not self._lost:
            self._lost = True
            raise httpx.ReadError("", request=request)
        return response


def _hang_up(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("", request=request)
