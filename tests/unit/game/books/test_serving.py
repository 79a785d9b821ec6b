"""Games of published books: what a spin draws and pays, exactly, and that nothing fails after the draw."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections import Counter
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from services.game.books.game import OUTCOME_BYTES_MAX
from services.game.engine.rng import Draws, ReplayedDraws, decode_draws, encode_draws
from tests.unit.game.books import folders
from tests.unit.game.books.folders import (
    BASE_ROWS,
    BONUS_ROWS,
    RIVER,
    Published,
    book,
    books_bytes,
    table_text,
)


def replay(total: int, value: int) -> ReplayedDraws:
    """One draw of this value."""
    return ReplayedDraws([(total, value)])


def test_the_game_is_what_the_folder_and_our_file_say(tmp_path: Path) -> None:
    game = folders.load(tmp_path)
    assert (game.game_id, game.version, game.name, game.file) == ("river", 1, "River", "river.yaml")
    assert list(game.modes_by_name) == ["base", "bonus"]
    base, bonus = game.modes_by_name.values()
    assert (base.cost, base.rtp_target) == (Decimal(1), Decimal("0.4888"))
    assert (bonus.cost, bonus.rtp_target) == (Decimal(100), Decimal(str(round((20 * 90 + 2500) / 3100, 6))))
    assert bonus.deviation == Decimal("4.33")  # sqrt((20 x 90^2 + 2500^2) / 31 / 100^2 - 1.3871^2)
    assert game.size == (2, 2, 0)
    assert not game.offers_choice and game.profile is None
    assert game.bet_minor(mode="base", currency_code="EUR", stake_minor=20) == 20
    assert game.bet_minor(mode="bonus", currency_code="EUR", stake_minor=2000) == 20
    assert game.bet_minor(mode="bonus", currency_code="EUR", stake_minor=20) is None
    assert game.bet_minor(mode="base", currency_code="CHF", stake_minor=20) is None


def test_every_value_that_can_be_drawn_gives_the_book_of_its_weight(tmp_path: Path) -> None:
    game = folders.load(tmp_path)
    for mode, rows in (("base", BASE_ROWS), ("bonus", BONUS_ROWS)):
        total = sum(weight for _, weight, _ in rows)
        drawn = [game.draw(bet_minor=100, mode=mode, draws=replay(total, value)) for value in range(total)]
        counts = Counter(json.loads(one.outcome_json)["book_id"] for one in drawn)
        assert counts == {book_id: weight for book_id, weight, _ in rows}


def test_the_outcome_tells_the_book_and_pays_on_the_bet(tmp_path: Path) -> None:
    game = folders.load(tmp_path)
    drawn = game.draw(bet_minor=20, mode="bonus", draws=replay(31, 30))
    assert drawn.win_minor == 50_000  # 2,500 x the bet, not x the cost
    assert json.loads(drawn.outcome_json) == {
        "mode": "bonus",
        "book_id": 5,
        "payout_x100": 250_000,
        "win_minor": 50_000,
        "events": book(5, 250_000)["events"],
    }
    draws = Draws()
    spun = game.draw(bet_minor=10, mode="base", draws=draws)
    log = decode_draws(encode_draws(draws.log))
    assert game.draw(bet_minor=10, mode="base", draws=ReplayedDraws(log)) == spun
    assert len(log) == 1


@pytest.mark.parametrize("bet_minor", [0, -10, 5, 15])
def test_a_bet_that_might_not_pay_whole_amounts_draws_nothing(tmp_path: Path, bet_minor: int) -> None:
    draws = Draws()
    with pytest.raises(ValueError, match=f"bet {bet_minor} is not a positive multiple of 10"):
        folders.load(tmp_path).draw(bet_minor=bet_minor, mode="base", draws=draws)
    with pytest.raises(ValueError, match="is above"):
        folders.load(tmp_path).draw(bet_minor=2**53 + 8, mode="base", draws=draws)
    assert draws.log == []


def test_a_payout_of_a_hundredth_needs_bets_of_whole_units(tmp_path: Path) -> None:
    files = Published()
    files.tables["lut_base.csv"] = table_text([(1, 1, 3)])
    files.books["books_base.jsonl.zst"] = books_bytes([book(1, 3)])
    text = RIVER.replace("[10, 20, 100]", "[100]")
    game = folders.load(tmp_path, files, text=text)
    assert game.draw(bet_minor=100, mode="base", draws=Draws()).win_minor == 3


def test_weights_near_2_64_are_drawn_without_rounding(tmp_path: Path) -> None:
    # A float could not tell these sums apart.
    files = Published()
    rows = [(1, 2**63, 0), (2, 1, 50), (3, 2**63 - 3, 120), (4, 1, 10_000)]
    files.tables["lut_base.csv"] = table_text(rows)
    game = folders.load(tmp_path, files)
    total = 2**64 - 1
    for value, book_id in [(2**63 - 1, 1), (2**63, 2), (2**63 + 1, 3), (total - 2, 3), (total - 1, 4)]:
        drawn = game.draw(bet_minor=10, mode="base", draws=replay(total, value))
        assert json.loads(drawn.outcome_json)["book_id"] == book_id
    draws = Draws(random.Random(3).randbytes)
    shares = Counter(game.draw(bet_minor=10, mode="base", draws=draws).win_minor for _ in range(2_000))
    assert shares[0] == pytest.approx(1000, abs=4 * 500**0.5)
    assert decode_draws(encode_draws(draws.log)) == draws.log
    assert game.modes_by_name["base"].rtp_target == round(
        Decimal(50 + 120 * (2**63 - 3) + 10_000) / (100 * total), 6
    )


def large_book(book_id: int, payout: int, size: int) -> dict[str, object]:
    """A book whose events are larger than `size` bytes."""
    end = {"index": 1, "type": "finalWin", "amount": payout}
    return book(book_id, payout, events=[{"index": 0, "type": "reveal", "text": "x" * size}, end])


def test_events_that_are_too_long_to_be_stored_are_found_again_by_the_id(tmp_path: Path) -> None:
    files = Published()
    # The second is stored just so, the third would be but for what is told beside the events.
    sizes = (100, OUTCOME_BYTES_MAX - 200, OUTCOME_BYTES_MAX - 100, 2_000_000)
    books = [
        large_book(book_id, payout, size) for (book_id, _, payout), size in zip(BASE_ROWS, sizes, strict=True)
    ]
    files.books["books_base.jsonl.zst"] = books_bytes(books)
    game = folders.load(tmp_path, files)
    for value, stored in [(0, True), (500, True), (800, False), (999, False)]:
        outcome_json = game.draw(bet_minor=10, mode="base", draws=replay(1000, value)).outcome_json
        assert len(outcome_json) <= OUTCOME_BYTES_MAX
        outcome = json.loads(outcome_json)
        assert ("events" in outcome) is stored
        whole = json.loads(game.whole_outcome(outcome_json))
        assert whole["events"][-1] == {"index": 1, "type": "finalWin", "amount": outcome["payout_x100"]}
        assert {**whole, "events": 0} == {**outcome, "events": 0}


def test_a_damaged_disk_does_not_choose_the_outcome(tmp_path: Path) -> None:
    game = folders.load(tmp_path)
    (events,) = tmp_path.glob("cache/*/1.books")
    with events.open("r+b") as file:
        file.write(b"\0" * events.stat().st_size)
    drawn = game.draw(bet_minor=10, mode="base", draws=replay(1000, 999))
    assert drawn.win_minor == 1000
    assert json.loads(drawn.outcome_json) == {
        "mode": "base",
        "book_id": 4,
        "payout_x100": 10_000,
        "win_minor": 1000,
    }
    assert game.whole_outcome(drawn.outcome_json) == drawn.outcome_json


def test_a_book_is_found_by_its_id(tmp_path: Path) -> None:
    game = folders.load(tmp_path)
    found = game.find(mode="bonus", book_id=3)
    assert found is not None and found.payout_x100 == 9_000
    assert json.loads(found.events or b"") == book(3, 9_000)["events"]
    assert game.find(mode="bonus", book_id=4) is None
    assert game.find(mode="base", book_id=2**64) is None
    assert game.find(mode="ante", book_id=1) is None


def test_the_hash_follows_what_is_paid_and_shown_and_not_where_it_lies(tmp_path: Path) -> None:
    game = folders.load(tmp_path)
    assert game.canonical_hash == hashlib.sha256(game.canonical_json).hexdigest()
    content = msgspec.json.decode(game.canonical_json)
    source = (tmp_path / "published" / "lut_base.csv").read_bytes()
    assert content["sources"]["lut_base.csv"] == hashlib.sha256(source).hexdigest()
    assert set(content["sources"]) == {
        "index.json",
        "lut_base.csv",
        "LUT_Bonus.csv",
        "books_base.jsonl.zst",
        "books_bonus.jsonl.zst",
    }
    shutil.copytree(tmp_path / "published", tmp_path / "copy")
    copied = folders.load(tmp_path, text="# moved\n" + RIVER.replace("published", "copy"))
    assert copied.canonical_hash == game.canonical_hash
    assert folders.load(tmp_path, text=RIVER.replace("[100]", "[200]")).canonical_hash != game.canonical_hash
    (tmp_path / "published" / "lut_base.csv").write_text(table_text([(1, 501, 0), *BASE_ROWS[1:]]))
    assert folders.load(tmp_path).canonical_hash != game.canonical_hash
