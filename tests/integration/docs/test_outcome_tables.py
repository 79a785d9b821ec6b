"""What docs/outcome_tables.md shows is run as it stands, and its game is played on a real mesh."""

import json
import os
import re
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.databases import Server
from deploy.local.mesh import Mesh
from services.game.books import loading
from services.game.engine.loading import DefinitionError
from tests.databases import Databases
from tests.meshes import API_KEY, running_mesh

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "outcome_tables.md").read_text()


def blocks(language: str) -> list[str]:
    """The page's blocks of that language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def run(command: list[str], **environment: str) -> str:
    """The command's output; its error output when it fails."""
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def games(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The games folder that the page makes."""
    folder = tmp_path_factory.mktemp("games")
    [commands] = blocks("sh")
    output = run(["sh", "-e", "-c", commands], games=str(folder))
    shown = next(block for block in blocks("text") if block.startswith("make export-books")).splitlines()[1:]
    assert [line for line in output.splitlines() if line in shown] == shown
    return folder


def test_the_exact_numbers(games: Path) -> None:
    output = run([sys.executable, "-c", blocks("python")[1], str(games / "published")], PYTHONPATH=".")
    assert output == "base: RTP 17507/18252, hits 4783/18252, variance 72157105907/8328387600, most 62 x\n"


def test_a_folder_is_checked_ahead(games: Path, tmp_path: Path) -> None:
    cache = {"REELMESH_GAME_BOOKS_CACHE_FOLDER": str(tmp_path / "cache")}
    output = run(["make", "--no-print-directory", "check-books", f"FOLDER={games}/published"], **cache)
    assert output.splitlines()[-1] + "\n" in blocks("text")
    (games / "empty").mkdir()
    command = ["make", "check-books", f"FOLDER={games}/empty"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **cache}, capture_output=True, text=True)
    assert f"check-books: empty/index.json: index.json is not in {games}/empty" in done.stderr
    assert done.returncode


def test_a_bet_that_pays_a_fraction_is_refused_in_these_words(games: Path, tmp_path: Path) -> None:
    text = (games / "dawn-books.yaml").read_text().replace("[5, 10", "[7, 10")
    (tmp_path / "dawn-books.yaml").write_text(text.replace("books: published", f"books: {games}/published"))
    with pytest.raises(DefinitionError) as caught:
        loading.load(tmp_path / "dawn-books.yaml", cache=tmp_path / "cache")
    assert f"game: {caught.value}\n" in PAGE


@pytest.fixture(scope="module")
def mesh(server: Server, games: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    cache = str(tmp_path_factory.mktemp("cache"))
    environment = {"REELMESH_GAME_GAMES_FOLDER": str(games), "REELMESH_GAME_BOOKS_CACHE_FOLDER": cache}
    databases = Databases(server)
    with running_mesh(databases, environment=environment) as mesh:
        yield mesh
    databases.close()


def test_the_game_is_played_and_a_round_proved(mesh: Mesh, games: Path) -> None:
    def post(path: str, credential: str, **body: Any) -> Any:
        request = urllib.request.Request(
            mesh.rest_url() + path,
            json.dumps(body).encode(),
            {"Authorization": f"Bearer {credential}"} if credential else {},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    amount = {"currency_code": "EUR", "amount_minor": 100}
    post("/v1/players/ada/deposits", API_KEY, request_id=str(uuid.uuid4()), amount=amount)
    created = post(
        "/v1/sessions",
        API_KEY,
        request_id=str(uuid.uuid4()),
        player_id="ada",
        game_id="dawn-books",
        currency_code="EUR",
    )
    token = post("/v1/sessions/exchange", "", launch_code=created["launch_code"])["token"]
    played = post("/v1/spins", token, request_id=str(uuid.uuid4()), stake={**amount, "amount_minor": 10})[
        "round"
    ]
    assert played["state"] == "SETTLED"
    outcome = played["outcome"]
    shown = json.loads(blocks("json")[0])
    assert set(outcome) == set(shown)
    assert outcome["events"][-1]["amount"] == outcome["payout_x100"]

    def prove(value: int) -> str:
        return run([sys.executable, "-c", blocks("python")[0], str(games / "published"), str(value)])

    with open(games / "published" / "lookUpTable_base_0.csv") as file:
        weights = [tuple(map(int, line.split(","))) for line in file]
    first = sum(weight for book_id, weight, _ in weights if book_id < outcome["book_id"])
    pays = f"book {outcome['book_id']}, which pays {outcome['payout_x100'] / 100:.2f} x the bet"
    assert prove(first) == f"below 18252: {first} is {pays}\n"
