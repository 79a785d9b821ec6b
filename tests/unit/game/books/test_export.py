"""Export: a game of ours as published books, exact where it is small, and served again."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.game.books import cycle, events, export, loading, published, totals
from services.game.engine import definition, play
from services.game.engine import loading as engine_loading
from services.game.engine.outcome import Outcome
from services.game.engine.rng import Draws, DrawSource
from services.game.maths import rounds

DAWN = engine_loading.load(definition.SHIPPED_GAMES / "double-dawn.yaml")
HARBOUR = engine_loading.load(definition.SHIPPED_GAMES / "harbour-lights.yaml")


@pytest.fixture(scope="module")
def dawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """double-dawn as books."""
    folder = tmp_path_factory.mktemp("export") / "double-dawn"
    reports: list[str] = []
    export.export(DAWN, folder, report=reports.append)
    assert reports == [
        "the gamble is left out",
        "base: 15600 books, every round of the game, exactly weighted;"
        " RTP of the table 0.959183 = 17507/18252, of the game 0.959183",
    ]
    return folder


def books_of(folder: Path) -> Iterator[tuple[published.Row, list[dict[str, Any]]]]:
    """Rows and the events of their books, which come in the same order from the export."""
    (mode,) = published.read_index(folder)
    for row, book in zip(published.read_rows(mode.weights), published.read_books(mode.books), strict=True):
        assert row.book_id == book.book_id
        yield row, json.loads(book.events)


def test_a_small_game_is_exported_whole_and_its_rtp_is_exact(dawn: Path) -> None:
    base = totals.of_folder(dawn)["base"]
    exact = rounds.rtp(rounds.round_of(DAWN, DAWN.modes_by_name["base"]))
    assert base.rtp == exact == Fraction(17507, 18252)
    assert base.weight_sum == 27 * 26 * 26
    boards = [json.dumps(told) for _, told in books_of(dawn)]
    assert len(set(boards)) == base.books


def test_the_events_of_a_book_are_the_round_that_it_pays(dawn: Path) -> None:
    lines = DAWN.paylines
    for row, told in books_of(dawn):
        assert [event["index"] for event in told] == list(range(len(told)))
        board = [[cell["name"] for cell in reel] for reel in told[0]["board"]]
        assert told[-1] == {"index": len(told) - 1, "type": "finalWin", "amount": row.payout_x100}
        wins = [win for event in told if event["type"] == "winInfo" for win in event["wins"]]
        assert sum(win["win"] for win in wins) == row.payout_x100
        for win in wins:
            cells = [(cell["reel"], cell["row"]) for cell in win["positions"]]
            assert cells == list(enumerate(lines[win["meta"]["line"]]))[: win["kind"]]
            assert {board[reel][cell] for reel, cell in cells} <= {win["symbol"], "SUNRISE"}
            # 5 coins a bet: a pay of 6 coins is 1.20 x the bet.
            assert win["win"] == DAWN.pays[win["symbol"]][win["kind"]] * 20


def served(folder: Path, *, game_id: str, stakes: str) -> Any:
    """The exported folder as a game."""
    text = f"game_id: {game_id}\nversion: 1\nname: Again\nbooks: {folder}\nstakes_minor: {{EUR: {stakes}}}\n"
    (folder.parent / f"{game_id}.yaml").write_text(text)
    return loading.load(folder.parent / f"{game_id}.yaml", cache=folder.parent / "cache")


def chi_square_limit(degrees: int) -> float:
    """The 99.9 % quantile, as Wilson and Hilferty approximate it; good to 0.1 % from 30 degrees on."""
    return degrees * float(1 - 2 / (9 * degrees) + 3.0902 * (2 / (9 * degrees)) ** 0.5) ** 3


@pytest.mark.parametrize("picks", [100_000, pytest.param(1_000_000, marks=pytest.mark.long)])
def test_what_is_exported_is_served_by_its_weights(dawn: Path, picks: int) -> None:
    game = served(dawn, game_id="again", stakes="[5, 100]")
    assert game.modes_by_name["base"].rtp_target == DAWN.rtp_target
    table = game._tables["base"]
    assert table.totals.rtp == Fraction(17507, 18252)
    weights = {row.book_id: row.weight for row, _ in books_of(dawn)}
    draws = Draws(random.Random(11).randbytes)
    picked = Counter(table.pick(draws).book_id for _ in range(picks))
    assert chi_square(picked, weights, picks) < chi_square_limit(len(weights) - 1)
    # It would see picks that do not follow the weights.
    source = random.Random(12)
    ids = list(weights)
    unweighted = Counter(source.choice(ids) for _ in range(picks))
    assert chi_square(unweighted, weights, picks) > chi_square_limit(len(weights) - 1)


def chi_square(counts: Counter[int], weights: dict[int, int], picks: int) -> float:
    """Pearson's statistic of picked ids against their weights; the rarest is expected more than 5 times."""
    expected = {book_id: picks * weight / 18_252 for book_id, weight in weights.items()}
    assert min(expected.values()) > 5
    return sum((counts[book_id] - mean) ** 2 / mean for book_id, mean in expected.items())


def test_a_large_game_is_played_and_the_seed_repeats_it(tmp_path: Path) -> None:
    for name, seed in [("first", 5), ("again", 5), ("other", 6)]:
        export.export(HARBOUR, tmp_path / name, books_max=2_000, seed=seed, report=lambda _: None)
    hashes = {name: published.hash_sources(tmp_path / name) for name in ("first", "again", "other")}
    assert hashes["first"] == hashes["again"] != hashes["other"]
    assert all(row.weight == 1 for row, _ in books_of(tmp_path / "first"))
    assert totals.of_folder(tmp_path / "first")["base"].books == 2_000
    featured = 0
    for row, told in books_of(tmp_path / "first"):
        kinds = [event["type"] for event in told]
        if "freeSpinTrigger" in kinds:
            featured += 1
            check_free_spins(told)
        else:
            assert kinds.count("reveal") == 1
        assert [event["amount"] for event in told if event["type"] == "setTotalWin"][-1] == row.payout_x100
    assert featured == pytest.approx(2_000 / 79.5, abs=15)
    game = served(tmp_path / "first", game_id="first", stakes="[20, 100]")
    assert game.draw(bet_minor=20, mode="base", draws=Draws()).win_minor >= 0


def check_free_spins(told: list[dict[str, Any]]) -> None:
    """A triggered feature plays as many spins as it says, and ends once."""

    def of_type(kind: str) -> list[dict[str, Any]]:
        return [event for event in told if event["type"] == kind]

    (trigger,) = of_type("freeSpinTrigger")
    awarded = of_type("freeSpinRetrigger") or [trigger]
    spins = [event["amount"] for event in of_type("updateFreeSpin")]
    assert spins == list(range(1, awarded[-1]["totalFs"] + 1))
    assert trigger["totalFs"] == HARBOUR.free_spins.award[min(5, len(trigger["positions"]))]  # type: ignore[union-attr]
    board = told[0]["board"]
    assert all(
        board[cell["reel"]][cell["row"]] == {"name": "LANTERN", "scatter": True}
        for cell in trigger["positions"]
    )
    assert len(of_type("reveal")) == len(spins) + 1
    assert len(of_type("freeSpinEnd")) == 1


def test_books_are_only_written_where_they_are_exact(tmp_path: Path) -> None:
    odd = msgspec.structs.replace(DAWN, coins=7)
    with pytest.raises(ValueError, match=r"double-dawn: pays.SUNRISE.3: 300 of 7 coins are no whole number"):
        export.export(odd, tmp_path / "odd")
    assert not (tmp_path / "odd").exists()
    assert events.hundredths(6, coins_per_bet=5) == 120


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text("{}")
    with pytest.raises(ValueError, match="is not empty"):
        export.export(DAWN, tmp_path)
    with pytest.raises(ValueError, match=r"double-dawn has the modes base, not \['bonus'\]"):
        export.export(DAWN, tmp_path / "new", modes=["bonus"])
    assert (tmp_path / "index.json").read_text() == "{}"


def test_every_sequence_of_draws_is_weighed_by_its_likelihood() -> None:
    def draw(draws: DrawSource) -> bytes:
        # 1/2; else 1/3 each, of which one draws again: 1/4 each.
        if draws.below(2) == 0:
            return b"first"
        second = draws.below(3)
        return b"%d" % (second if second else 10 + draws.below(4))

    weights = cycle.weigh(draw, rounds_max=100)
    assert weights == {b"first": 12, b"1": 4, b"2": 4, b"10": 1, b"11": 1, b"12": 1, b"13": 1}
    assert cycle.weigh(draw, rounds_max=24) == weights
    assert cycle.weigh(draw, rounds_max=23) is None  # one is 1 in 24
    assert cycle.weigh(lambda draws: b"same", rounds_max=1) == {b"same": 1}
    assert cycle.weigh(lambda draws: b"%d" % draws.below(1_000_001), rounds_max=1_000_000) is None


def outcome_of(game: definition.GameDefinition, draws: DrawSource) -> Outcome:
    """One round at a bet of one coin each."""
    return play.spin(game, bet_minor=game.coins_per_bet, draws=draws).outcome


def test_a_capped_round_says_so() -> None:
    low = msgspec.structs.replace(DAWN, max_win_multiple=1)
    source = random.Random(2)
    for _ in range(1_000):
        outcome = outcome_of(low, Draws(source.randbytes))
        told = events.events_of(low, outcome)
        assert told[-1]["amount"] == min(100, told[-1]["amount"])
        assert (told[-2] == {"index": len(told) - 2, "type": "wincap", "amount": 100}) is outcome.capped
