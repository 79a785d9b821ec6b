"""Published folders to test with, written as several maths tools write them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard

from services.game.books import loading
from services.game.books.game import BooksGame

Row = tuple[int, int, int]
"""id, weight, payout."""

BASE_ROWS: list[Row] = [(1, 500, 0), (2, 300, 50), (3, 199, 120), (4, 1, 10_000)]
BONUS_ROWS: list[Row] = [(7, 10, 0), (3, 20, 9_000), (5, 1, 250_000)]  # ids in no order


def book(book_id: int, payout: int, **more: Any) -> dict[str, Any]:
    """A book that shows one board; `more` replaces or adds fields."""
    board = [[{"name": "A"}, {"name": "B", "wild": True}], [{"name": "A"}, {"name": "C"}]]
    events = [
        {"index": 0, "type": "reveal", "board": board, "gameType": "basegame", "anticipation": [0, 0]},
        {"index": 1, "type": "setTotalWin", "amount": payout},
        {"index": 2, "type": "finalWin", "amount": payout},
    ]
    return {
        "id": book_id,
        "payoutMultiplier": payout,
        "events": events,
        "criteria": "basegame",
        "baseGameWins": payout / 100,
        "freeGameWins": 0.0,
        **more,
    }


def table_text(rows: Iterable[Row]) -> str:
    """A look-up table."""
    return "".join(f"{book_id},{weight},{payout}\n" for book_id, weight, payout in rows)


def books_bytes(books: Iterable[dict[str, Any] | str]) -> bytes:
    """A books file."""
    lines = [one if isinstance(one, str) else json.dumps(one) for one in books]
    return zstandard.compress("".join(f"{line}\n" for line in lines).encode())


@dataclass
class Published:
    """The files of a folder, to be changed before they are written."""

    index: dict[str, Any] = field(
        default_factory=lambda: {
            "modes": [
                {
                    "name": "BONUS",
                    "cost": 100.0,
                    "events": "Books_BONUS.jsonl.zst",
                    "weights": "lut_bonus.csv",
                },
                {"name": "base", "cost": 1.0, "events": "books_base.jsonl.zst", "weights": "lut_base.csv"},
            ]
        }
    )
    tables: dict[str, str] = field(
        default_factory=lambda: {
            "lut_base.csv": table_text(BASE_ROWS),
            "LUT_Bonus.csv": table_text(BONUS_ROWS),
        }
    )
    books: dict[str, bytes] = field(
        default_factory=lambda: {
            "books_base.jsonl.zst": books_bytes(book(book_id, payout) for book_id, _, payout in BASE_ROWS),
            # In an order of its own, and in two frames.
            "books_bonus.jsonl.zst": books_bytes([book(5, 250_000), book(7, 0)])
            + books_bytes([book(3, 9_000)]),
        }
    )

    def write(self, folder: Path) -> Path:
        """The folder, with these files."""
        folder.mkdir()
        (folder / "index.json").write_text(json.dumps(self.index))
        for name, text in self.tables.items():
            (folder / name).write_text(text)
        for name, content in self.books.items():
            (folder / name).write_bytes(content)
        return folder


RIVER = """
game_id: river
version: 1
name: River
books: published
stakes_minor: {EUR: [10, 20, 100], JPY: [100]}
display: {reels: 2, rows: 2}
"""


def load(folder: Path, published: Published | None = None, *, text: str = RIVER) -> BooksGame:
    """The game of a folder and of our file beside it; both are written first."""
    if not (folder / "published").exists():
        (published or Published()).write(folder / "published")
    (folder / "river.yaml").write_text(text)
    return loading.load(folder / "river.yaml", cache=folder / "cache")


def write_many(folder: Path, count: int, *, shuffled: bool = False) -> Path:
    """A folder of one mode with so many books, ids from 0; the same for the same count."""
    source = random.Random(count)
    rows = [
        (book_id, source.randrange(1, 1 << 40), source.choice((0, 0, 0, 20, 120))) for book_id in range(count)
    ]
    if shuffled:
        source.shuffle(rows)
    return write_rows(folder, rows)


def write_rows(folder: Path, rows: Sequence[Row]) -> Path:
    """A folder of one mode, a book per row."""
    folder.mkdir()
    files = {"events": "books_base.jsonl.zst", "weights": "lookUpTable_base_0.csv"}
    (folder / "index.json").write_text(json.dumps({"modes": [{"name": "base", "cost": 1.0, **files}]}))
    (folder / files["weights"]).write_text(table_text(rows))
    with (
        (folder / files["events"]).open("wb") as file,
        zstandard.ZstdCompressor(level=1).stream_writer(file) as lines,
    ):
        for book_id, _, payout in rows:
            events = f'[{{"index":0,"type":"reveal","board":[["A","B","C"],["A","{book_id}","C"]]}}'
            events += f',{{"index":1,"type":"finalWin","amount":{payout}}}]'
            line = f'{{"id":{book_id},"payoutMultiplier":{payout},"events":{events}}}\n'
            lines.write(line.encode())
    return folder
