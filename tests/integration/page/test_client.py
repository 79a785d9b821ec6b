"""The JavaScript client by `node --test` on the gateway, its types by tsc; and who gets a demo session."""

import os
import re
import subprocess
import threading
from pathlib import Path

import httpx
import pytest
from sqlalchemy import create_engine, text

from deploy.local.mesh import Mesh
from tests.integration.page.conftest import Launch, new_id, post
from tests.tools import require_npm_package

CLIENT = Path(__file__).parents[3] / "clients/javascript"
PROCESS_SECONDS_MAX = 120


@pytest.mark.tool("node")
def test_the_client_plays(mesh: Mesh, rest: httpx.Client, launch: Launch) -> None:
    url = launch("harbour-lights", player_id="dying")
    environment = {**os.environ, "GATEWAY": mesh.rest_url(), "DYING": url.partition("?code=")[2]}
    killer = threading.Thread(target=_kill_while_played, args=(mesh,))
    killer.start()
    done = subprocess.run(
        [
            "node",
            "--experimental-websocket",
            "--test",
            "--test-reporter=tap",
            str(CLIENT / "test/client.test.js"),
        ],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PROCESS_SECONDS_MAX,
    )
    killer.join()
    assert done.returncode == 0, done.stdout
    assert re.search(r"^# pass [5-9]", done.stdout, re.MULTILINE), done.stdout


def _kill_while_played(mesh: Mesh) -> None:
    """kill -9 of the gateway once the player whose spins must survive it has played a few."""
    engine = create_engine(mesh.database_urls["game"])
    played = text("select count(*) from round where player_id = 'dying'")
    for _ in range(PROCESS_SECONDS_MAX * 20):
        with engine.connect() as conn:
            if conn.execute(played).scalar_one() >= 5:
                break
        threading.Event().wait(0.05)
    engine.dispose()
    mesh.kill("gateway")
    mesh.start("gateway")


@pytest.mark.tool("node")
def test_the_readme_s_lines_play_a_spin(mesh: Mesh) -> None:
    [block] = re.findall(r"```js\n(.*?)```", (CLIENT / "README.md").read_text(), re.DOTALL)
    done = subprocess.run(
        ["node", "--input-type=module", "-e", block.replace("http://127.0.0.1:8080", mesh.rest_url())],
        cwd=CLIENT,
        capture_output=True,
        text=True,
        timeout=PROCESS_SECONDS_MAX,
    )
    assert done.returncode == 0, done.stderr
    assert "Harbour Lights €1,000.00" in done.stdout and "SETTLED" in done.stdout, done.stdout


def test_its_types_and_the_page_s_agree() -> None:
    tsc = require_npm_package("typescript") / "bin/tsc"
    done = subprocess.run(
        ["node", str(tsc), "-p", str(CLIENT)], capture_output=True, text=True, timeout=PROCESS_SECONDS_MAX
    )
    assert done.returncode == 0, done.stdout


def demo(rest: httpx.Client, visitor: str, **changes: str) -> httpx.Response:
    body = {"request_id": new_id(), "player_id": visitor, "game_id": "double-dawn", "currency_code": "EUR"}
    return rest.post("/v1/demo/sessions", json=body | changes)


def test_a_demo_player_gets_play_money_once_and_nothing_else(rest: httpx.Client) -> None:
    player_id = new_id()
    for _ in range(2):
        code = demo(rest, player_id).raise_for_status().json()["launch_code"]
        session = rest.post("/v1/sessions/exchange", json={"launch_code": code}).json()
        assert session["balance"] == {"currency_code": "EUR", "amount_minor": 100_000}
    for changes, reason in (
        ({"player_id": "ada"}, "FIELD_INVALID"),
        ({"request_id": ""}, "FIELD_MISSING"),
        ({"kind": "REAL"}, "BODY_MALFORMED"),
        ({"game_id": "none"}, "GAME_NOT_FOUND"),
        ({"currency_code": "XXX"}, "CURRENCY_UNKNOWN"),
    ):
        assert demo(rest, player_id, **changes).json()["reason"] == reason


def test_a_visitor_sees_what_a_round_is_made_of_and_only_of_visitors(
    rest: httpx.Client, launch: Launch
) -> None:
    codes = {
        "visitor": demo(rest, new_id()).json()["launch_code"],
        "real": launch("double-dawn", jurisdiction="none").partition("?code=")[2],
    }
    answers = {}
    for who, code in codes.items():
        token = post(rest, "/v1/sessions/exchange", {"launch_code": code})["token"]
        stake = {"currency_code": "EUR", "amount_minor": 100}
        played = post(rest, "/v1/spins", {"request_id": new_id(), "stake": stake}, token)["round"]
        answers[who] = rest.get(f"/v1/demo/rounds/{played['round_id']}/explanation")
    assert answers["visitor"].headers["content-type"] == "text/html; charset=utf-8"
    assert "adds up" in answers["visitor"].text
    assert (answers["real"].status_code, answers["real"].json()["reason"]) == (404, "ROUND_NOT_FOUND")


def test_demo_sessions_are_bounded_in_rate(rest: httpx.Client) -> None:
    player_id = new_id()
    for _ in range(200):
        answer = demo(rest, player_id)
        if answer.status_code != 200:
            break
    assert (answer.status_code, answer.json()["reason"]) == (503, "OVERLOADED")
    assert 0 < int(answer.json()["metadata"]["retry_after_ms"]) <= 501
