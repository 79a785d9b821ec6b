"""Games of published books, played as any other: drawn once, stored, told, and explained afterwards."""

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any, cast

import pytest
from reelmesh.game.v1 import game_pb2
from reelmesh.type.v1 import error_pb2
from typer.testing import CliRunner

from services.game import definitions, games_folder
from services.game.books import totals
from services.game.books.game import OUTCOME_BYTES_MAX
from services.game.catalogue import Catalogue
from services.game.engine import definition, rng
from services.game.replay import __main__ as replay
from tests.integration.game.harness import CONTEXT, PENDING, REFUSED, SETTLED, Game, new_id
from tests.integration.wallet.harness import Wallet
from tests.unit.game.books import folders
from tests.unit.game.books.folders import BASE_ROWS, RIVER, Published, book, books_bytes

RIVER_ID = "river"


@pytest.fixture
def games(tmp_path: Path) -> Path:
    """A games folder with files of both kinds; the book that bonus draws most is too long to be stored."""
    files = Published()
    long = {"index": 0, "type": "reveal", "text": "x" * OUTCOME_BYTES_MAX}
    end = {"index": 1, "type": "finalWin", "amount": 9_000}
    bonus = [book(7, 0), book(3, 9_000, events=[long, end]), book(5, 250_000)]
    files.books["books_bonus.jsonl.zst"] = books_bytes(bonus)
    files.tables["LUT_Bonus.csv"] = folders.table_text([(7, 1, 0), (3, 2**62, 9_000), (5, 1, 250_000)])
    files.write(tmp_path / "published")
    (tmp_path / "river.yaml").write_text(RIVER)
    shipped = definition.SHIPPED_GAMES / "double-dawn.yaml"
    (tmp_path / shipped.name).write_text(shipped.read_text())
    return tmp_path


@pytest.fixture
async def river(game: Game, games: Path) -> Game:
    """The replica, serving that folder, too."""
    catalogue = Catalogue(games_folder.load(str(games), books_cache_folder=str(games / "cache")))
    assert list(catalogue.games) == ["double-dawn", RIVER_ID]
    cast(dict[str, Any], game.catalogue.games)[RIVER_ID] = catalogue.games[RIVER_ID]
    await definitions.record(game.engine, game.catalogue)
    return game


async def test_a_round_of_books_is_drawn_settled_and_told(river: Game, wallet: Wallet) -> None:
    account_id, request_id = await wallet.open(balance=10_000), new_id()
    played = await river.play(account_id, game_id=RIVER_ID, stake=20, request_id=request_id)
    assert played.round.state == PENDING and not played.round.outcome_json
    outcome = json.loads(played.hidden_outcome_json)
    payouts = {book_id: payout for book_id, _, payout in BASE_ROWS}
    assert outcome["payout_x100"] == payouts[outcome["book_id"]]
    assert outcome["events"] == book(outcome["book_id"], outcome["payout_x100"])["events"]
    assert played.settle.win.amount_minor == outcome["win_minor"] == 20 * outcome["payout_x100"] // 100
    settled = await river.settle(played)
    assert (settled.state, settled.mode, settled.outcome_json) == (
        SETTLED,
        "base",
        played.hidden_outcome_json,
    )
    assert await wallet.balance(account_id) == 10_000 - 20 + outcome["win_minor"]
    again = await river.play(account_id, game_id=RIVER_ID, stake=20, request_id=request_id)
    assert again.hidden_outcome_json == played.hidden_outcome_json


async def test_a_stored_round_is_explained_by_its_draws_and_its_hash(
    river: Game, wallet: Wallet, games: Path
) -> None:
    served = river.catalogue.games[RIVER_ID]
    for _ in range(10):
        played = await river.play(await wallet.open(), game_id=RIVER_ID, stake=100)
        [row] = await river.rows(
            "select draws, outcome, win_minor, definition_hash from round where round_id = :id",
            id=played.round.round_id,
        )
        log = rng.decode_draws(row.draws)
        drawn = served.draw(bet_minor=100, mode="base", draws=rng.ReplayedDraws(log))
        assert drawn == (row.win_minor, row.outcome)
        assert row.definition_hash == served.canonical_hash
        # With the published table alone, as anybody may do it.
        [(total, value)] = log
        assert total == totals.of_folder(games / "published")["base"].weight_sum
        cumulative = itertools.accumulate(weight for _, weight, _ in BASE_ROWS)
        row_number = next(number for number, weight in enumerate(cumulative) if weight > value)
        assert json.loads(row.outcome)["book_id"] == BASE_ROWS[row_number][0]


async def test_make_replay_derives_a_round_of_books_again(
    river: Game, wallet: Wallet, games: Path, game_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REELMESH_GAME_DATABASE_URL", game_url)
    monkeypatch.setenv("REELMESH_GAME_GAMES_FOLDER", str(games))
    monkeypatch.setenv("REELMESH_GAME_BOOKS_CACHE_FOLDER", str(games / "cache"))
    for mode, stake in (("base", 100), ("bonus", 2_000)):
        account_id = await wallet.open(balance=5_000)
        played = await river.play(account_id, game_id=RIVER_ID, mode=mode, stake=stake)
        round_id = (await river.settle(played)).round_id
        command = [round_id, "--json", str(tmp_path / "report.json")]
        result = await asyncio.to_thread(CliRunner().invoke, replay.app, command)
        assert result.exit_code == 0, result.output
        checks = json.loads((tmp_path / "report.json").read_text())["checks"]
        names = {check["name"] for check in checks if check["same"]}
        assert names >= {"definition", "game", "stake", "draws", "outcome", "win", "paid"}


async def test_a_long_book_is_stored_by_its_id_and_read_whole(river: Game, wallet: Wallet) -> None:
    account_id = await wallet.open(balance=10_000)
    played = await river.play(account_id, game_id=RIVER_ID, mode="bonus", stake=2_000)
    stored = {"mode": "bonus", "book_id": 3, "payout_x100": 9_000, "win_minor": 20 * 90}
    assert json.loads(played.hidden_outcome_json) == stored
    assert not (await river.get(played.round.round_id, account_id)).outcome_json  # not before the stake (R2)
    settled = await river.settle(played)
    assert json.loads(settled.outcome_json) == stored
    read = json.loads((await river.get(settled.round_id, account_id)).outcome_json)
    assert [event["type"] for event in read.pop("events")] == ["reveal", "finalWin"]
    assert read == stored
    # Another version is served meanwhile: the round still says which book it was.
    del cast(dict[str, Any], river.catalogue.games)[RIVER_ID]
    assert json.loads((await river.get(settled.round_id, account_id)).outcome_json) == stored


async def test_a_bet_that_is_not_on_the_ladder_is_refused(river: Game, wallet: Wallet) -> None:
    played = await river.play(await wallet.open(), game_id=RIVER_ID, stake=30)
    assert (played.round.state, played.round.reason) == (
        REFUSED,
        error_pb2.ERROR_REASON_STAKE_NOT_ON_LADDER,
    )
    assert not played.hidden_outcome_json


async def test_the_catalogue_lists_it_with_its_modes(river: Game) -> None:
    listed = (await river.handlers.ListGames(game_pb2.ListGamesRequest(), CONTEXT)).games
    [shown] = [one for one in listed if one.game_id == RIVER_ID]
    assert (shown.display_name, shown.reels, shown.rows, shown.lines) == ("River", 2, 2, 0)
    assert [(mode.mode, mode.cost) for mode in shown.modes] == [("base", "1"), ("bonus", "100")]
    assert shown.rtp_target == "0.4888"
