"""Published folders: what loads as it is, and what is refused, naming file and line."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard

from services.game.books import published, totals
from services.game.books.definition import BooksDefinition
from services.game.engine.loading import DefinitionError
from tests.unit.game.books import folders
from tests.unit.game.books.folders import BASE_ROWS, RIVER, Published, book, books_bytes, table_text


def test_modes_files_and_rows_are_read_whatever_the_case_of_their_names(tmp_path: Path) -> None:
    folder = Published().write(tmp_path / "published")
    bonus, base = published.read_index(folder)
    assert (bonus.name, bonus.cost, bonus.weights.name) == ("BONUS", Decimal(100), "LUT_Bonus.csv")
    assert str(bonus.cost) == "100"
    assert bonus.books.name == "books_bonus.jsonl.zst"
    assert list(published.read_rows(base.weights)) == BASE_ROWS
    assert [one.book_id for one in published.read_books(bonus.books)] == [5, 7, 3]
    assert json.loads(next(iter(published.read_books(base.books))).events) == book(1, 0)["events"]


def test_the_exact_numbers_of_a_table(tmp_path: Path) -> None:
    folder = Published().write(tmp_path / "published")
    base = totals.of_folder(folder)["base"]
    # By hand: (300 x 0.50 + 199 x 1.20 + 1 x 100) / 1000.
    assert base.rtp == Fraction(4888, 10_000)
    assert base.hit_frequency == Fraction(1, 2)
    assert base.win_max == 100
    mean_square = (300 * Fraction(1, 4) + 199 * Fraction(144, 100) + 10_000) / 1000
    assert base.variance == mean_square - base.rtp**2
    assert base.deviation == pytest.approx(float(base.variance) ** 0.5)
    assert base.bet_step_minor == 10
    # Of a mode that costs 100 bets all of it is per stake, not per bet.
    bonus = Fraction(20 * 90 + 2500, 31 * 100)
    assert totals.exact_rtp(folder) == {"BONUS": bonus, "base": base.rtp}
    assert (
        totals.of_folder(folder)["BONUS"].variance == Fraction(20 * 90**2 + 2500**2, 31 * 100**2) - bonus**2
    )


def test_weights_up_to_2_64_are_exact(tmp_path: Path) -> None:
    rows = [(0, 1, 120), (1, 2**64 - 2, 0)]
    (mode,) = published.read_index(folders.write_rows(tmp_path / "large", rows))
    assert list(published.read_rows(mode.weights)) == rows
    assert totals.exact_rtp(tmp_path / "large") == {"base": Fraction(120, 100 * (2**64 - 1))}


def index(**fields: Any) -> Callable[[Published], None]:
    """Changes fields of mode base in the index."""
    return lambda files: files.index["modes"][1].update(fields)


def table(*rows: tuple[int, int, int] | str) -> Callable[[Published], None]:
    """Another look-up table of mode base."""
    text = "".join(row if isinstance(row, str) else table_text([row]) for row in rows)
    return lambda files: files.tables.update({"lut_base.csv": text})


def books(*lines: dict[str, Any] | str) -> Callable[[Published], None]:
    """Another books file of mode base."""
    return lambda files: files.books.update({"books_base.jsonl.zst": books_bytes(lines)})


def raw_books(change: Callable[[bytes], bytes]) -> Callable[[Published], None]:
    """The bytes of the books file of mode base, changed."""

    def apply(files: Published) -> None:
        files.books["books_base.jsonl.zst"] = change(files.books["books_base.jsonl.zst"])

    return apply


ALL = [book(book_id, payout) for book_id, _, payout in BASE_ROWS]
LOSING_END = [{"index": 0, "type": "finalWin", "amount": 0}]
BOOKS, TABLE = "published/books_base.jsonl.zst:", "published/lut_base.csv:"

FAULTS: list[tuple[Callable[[Published], object], str]] = [
    (
        index(events="books_bonus_2.zst"),
        "published/index.json: modes[1].events: books_bonus_2.zst is not in ",
    ),
    (index(weights="../river.yaml"), "published/index.json: modes[1].weights: ../river.yaml is not in "),
    (index(cost=0), "published/index.json: modes[1].cost: must be above 0"),
    (index(cost="free"), "published/index.json: "),
    (index(name="BONUS"), "published/index.json: modes[1].name: BONUS is listed twice"),
    (lambda files: files.index.update(modes=[]), "published/index.json: modes: must not be empty"),
    (lambda files: files.index.pop("modes"), "published/index.json: Object missing required field `modes`"),
    (
        lambda files: files.tables.update({"LUT_BONUS.csv": ""}),
        "published/index.json: modes[0].weights: lut_bonus.csv is there more than once",
    ),
    (table(), TABLE + " has no rows"),
    (table(BASE_ROWS[0], "2,300\n"), TABLE + "2: must be three whole numbers: id,weight,payout"),
    (table(BASE_ROWS[0], "\n", BASE_ROWS[1]), TABLE + "2: must be three whole numbers"),
    (table("id,weight,payout\n", *BASE_ROWS), TABLE + "1: must be three whole numbers"),
    (table("1,500,-1\n"), TABLE + "1: must be three whole numbers"),
    (table("1,500,1.5\n"), TABLE + "1: must be three whole numbers"),
    (table("1,0,0\n"), TABLE + "1: weight must be above 0"),
    (table((1, 2**64, 0)), TABLE + "1: is above 2^64-1"),
    (table((1, 2**64 - 1, 0), (2, 1, 50)), TABLE + "2: weights add up to more than 2^64-1"),
    (table(*BASE_ROWS, (3, 1, 120)), TABLE + "5: id 3 is given twice"),
    (table(*BASE_ROWS[:2], *BASE_ROWS[1:]), TABLE + "3: id 2 is given twice"),
    (table(*BASE_ROWS, (9, 1, 0)), TABLE + "5: id 9 has no book in books_base.jsonl.zst"),
    (table(*BASE_ROWS[:3]), BOOKS + "4: book 4 is not in lut_base.csv"),
    (table(*BASE_ROWS[:3], (4, 1, 9)), BOOKS + "4: book 4 pays 10000, line 4 of lut_base.csv says 9"),
    (books(*ALL, ALL[1]), BOOKS + "5: book 2 is given twice"),
    (books(*ALL[:3]), TABLE + "4: id 4 has no book in books_base.jsonl.zst"),
    (books(), TABLE + "1: id 1 has no book"),
    (books(ALL[0], '{"id": 2, "events": ['), BOOKS + "2: Input data was truncated"),
    (books(ALL[0], "", ALL[1]), BOOKS + "2: "),
    (books(ALL[0], book("2", 50)), BOOKS + "2: Expected `int`, got `str` - at `$.id`"),  # type: ignore[arg-type]
    (books(book(1, 0, events={})), BOOKS + "1: Expected `array`, got `object`"),
    (books(book(1, 0, events=["reveal"])), BOOKS + "1: Expected `object`, got `str`"),
    (books({"id": 1, "events": []}), BOOKS + "1: Object missing required field `payoutMultiplier`"),
    (books(book(1, 0, payoutMultiplier=0.5)), BOOKS + "1: book 1 pays 0.5, its finalWin says 0"),
    (
        books(book(1, 0, payoutMultiplier=0.5, events=[])),
        BOOKS + "1: book 1 pays 0.5: not a whole number",
    ),
    (books(ALL[0], book(2, 50, events=LOSING_END)), BOOKS + "2: book 2 pays 50, its finalWin says 0"),
    (raw_books(lambda content: content[:-1]), BOOKS + " is cut off: its last zstd frame has no end"),
    (raw_books(lambda content: content + content[:9]), BOOKS + " is cut off: its last zstd frame has no end"),
    (raw_books(lambda content: b"{}\n"), BOOKS + " is not zstd: "),
    (raw_books(lambda content: content + b"trailing bytes"), BOOKS + " is not zstd: "),
    (raw_books(lambda content: zstandard.compress(b'{"\xff')), BOOKS + "1: 'utf-8' codec can't decode"),
]


@pytest.mark.parametrize("change, problem", FAULTS, ids=[problem[10:60] for _, problem in FAULTS])
def test_what_is_wrong_is_named_with_file_and_line(
    tmp_path: Path, change: Callable[[Published], object], problem: str
) -> None:
    files = Published()
    change(files)
    with pytest.raises(DefinitionError) as caught:
        folders.load(tmp_path, files)
    assert str(caught.value).startswith(problem)
    assert not list((tmp_path / "cache").glob("*")), "nothing half made stays"


def test_a_book_that_no_message_can_carry_is_refused(tmp_path: Path) -> None:
    files = Published()
    files.books["books_base.jsonl.zst"] = books_bytes([ALL[0], book(2, 50, criteria="x" * 3_200_000)])
    with pytest.raises(DefinitionError, match=r"books_base.jsonl.zst:2: is longer than 3145728 bytes"):
        folders.load(tmp_path, files)


def test_our_own_file_has_a_schema() -> None:
    schema = msgspec.json.schema(BooksDefinition)["$defs"]["BooksDefinition"]
    assert set(schema["required"]) == {"game_id", "version", "name", "books", "stakes_minor"}
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    "old, new, problem",
    [
        ("books: published", "books: elsewhere", r"river.yaml:\d: books: .*elsewhere is no folder"),
        ("version: 1", "version: 0", r"river.yaml:\d: version: Expected `int` >= 1"),
        ("version: 1", "versions: 1", "river.yaml:3: unknown field versions, did you mean version"),
        ("game_id: river", "game_id: lake", r"river.yaml:\d: game_id: must be river, like the file"),
        ("[100]", "[]", r"river.yaml:\d: stakes_minor.JPY: must not be empty"),
        ("[10, 20, 100]", "[20, 10]", r"river.yaml:\d: stakes_minor.EUR: must ascend"),
        ("{EUR: [10, 20, 100], JPY: [100]}", "{}", r"river.yaml:\d: stakes_minor: must not be empty"),
        (
            "[10, 20, 100]",
            "[10, 25]",
            r"river.yaml:\d: stakes_minor.EUR: a bet of 25 x 1/2 of mode base is no whole amount:"
            " bets must be multiples of 10",
        ),
        (
            "[100]",
            "[36028797018960]",
            r"river.yaml:\d: stakes_minor.JPY: a bet of .* stakes or pays more than 2\*\*53",
        ),
        (
            "display:",
            "mode_names: {bonus: buy}\ndisplay:",
            "mode_names.bonus: bonus is not a mode of index.json",
        ),
        ("display:", "mode_names: {BONUS: Buy}\ndisplay:", "mode_names.*: Expected `str` matching regex"),
        ("display:", "mode_names: {BONUS: base}\ndisplay:", "mode_names: more than one mode is named base"),
        (
            "display:",
            "mode_names: {base: normal}\ndisplay:",
            "mode_names: no mode of index.json is named base: say which of BONUS, base it is",
        ),
        (
            "display:",
            "mode_names: {base: normal, BONUS: base}\ndisplay:",
            r"river.yaml:\d: books: mode base costs 100, not 1",
        ),
    ],
)
def test_our_own_file_is_checked_against_the_folder(tmp_path: Path, old: str, new: str, problem: str) -> None:
    assert old in RIVER
    with pytest.raises(DefinitionError, match=problem):
        folders.load(tmp_path, text=RIVER.replace(old, new))


def test_a_published_name_that_cannot_be_ours_needs_another(tmp_path: Path) -> None:
    files = Published()
    files.index["modes"][0]["name"] = "Bonus Buy"
    with pytest.raises(DefinitionError, match=r"mode_names.Bonus Buy: 'bonus buy' cannot be"):
        folders.load(tmp_path, files)
    game = folders.load(tmp_path, text=RIVER + "mode_names: {Bonus Buy: buy}\n")
    assert list(game.modes_by_name) == ["base", "buy"]


@pytest.mark.parametrize("cost, bet", [(1.25, 10), (2.5, 10)])
def test_a_stake_that_is_no_whole_amount_is_refused(tmp_path: Path, cost: float, bet: int) -> None:
    files = Published()
    files.index["modes"][0]["cost"] = cost
    if bet * cost % 1:
        with pytest.raises(
            DefinitionError, match=f"a bet of {bet} x {cost}, the cost of mode bonus, is no whole"
        ):
            folders.load(tmp_path, files)
    else:
        game = folders.load(tmp_path, files)
        assert game.bet_minor(mode="bonus", currency_code="EUR", stake_minor=25) == bet
