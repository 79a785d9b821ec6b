"""Turns a published folder into files that are mapped, not read: serving holds no book in memory.

A compiled folder is named by what it was made from, so it is made once for all processes that share the
cache, and found again as long as the sources are the same. Of each mode, numbered as in the index:

- `<n>.rows`: five uint64 per row of the look-up table, in its order: the sum of the weights up to and with
  this row, the book's id, its payout, where its block starts in `<n>.books`, and place << 32 | length in it.
- `<n>.order`: only when the ids do not ascend: the numbers of the rows in the order of their ids.
- `<n>.books`: the events, in blocks that decompress each by itself.
- `contents.json`: the hashes of these, and the totals of each mode.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import sys
import tempfile
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import zstandard

from services.game.books import mapping, ordering, published
from services.game.books.totals import Totals
from services.game.engine.loading import DefinitionError

log = logging.getLogger(__name__)

FORMAT = 1
WORDS_PER_ROW = 5
CUMULATIVE, BOOK_ID, PAYOUT, BLOCK, PLACE = range(WORDS_PER_ROW)
_CONTENTS = "contents.json"
_BLOCK_BYTES = 32 * 1024
_ROWS_PER_WRITE = 8_192
_BOOKS_PER_REPORT = 100_000


class Compiled(NamedTuple):
    """A compiled folder, its files verified."""

    folder: Path
    sources: dict[str, str]
    """SHA-256 (hex) of each published file by its name."""
    totals: dict[str, Totals]
    """By the published name of the mode, in the order of the index."""


def compile_folder(source: Path, *, cache: Path) -> Compiled:
    """The compiled form of a published folder: found in the cache, or checked and made there.

    Errors: DefinitionError, for whatever is wrong with the published files or with the cache.
    """
    _own_folder(cache)
    sources = published.hash_sources(source)
    key = json.dumps([FORMAT, sys.byteorder, sorted(sources.items())])
    folder = cache / hashlib.sha256(key.encode()).hexdigest()
    if folder.is_dir():
        totals = _verified(folder)
        if totals is not None:
            return Compiled(folder, sources, totals)
        log.warning("books %s: %s is damaged and made anew", source.name, folder)
        shutil.rmtree(folder, ignore_errors=True)
    try:
        with tempfile.TemporaryDirectory(dir=cache, prefix="making-", ignore_cleanup_errors=True) as making:
            totals = _compile(source, into=Path(making))
            if published.hash_sources(source) != sources:
                raise DefinitionError(file=str(source), problem="changed while it was read")
            _put(Path(making), folder)
    except OSError as error:
        raise DefinitionError(file=str(cache), problem=f"cannot be written: {error}") from error
    return Compiled(folder, sources, totals)


def _put(making: Path, folder: Path) -> None:
    """Gives a finished folder its name, in one step."""
    try:
        making.rename(folder)
    except OSError:
        if not folder.is_dir():  # else another process was faster, and theirs is the same
            raise


def default_cache() -> Path:
    """Where compiled folders are kept when nobody says where: this user's part of the system's folder for
    temporary files."""
    return Path(tempfile.gettempdir()) / f"reelmesh-books-{os.geteuid()}"


def _own_folder(cache: Path) -> None:
    """Makes the cache. What is in it decides what is paid, so nobody else may write there."""
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = cache.stat()
    except OSError as error:
        raise DefinitionError(file=str(cache), problem=f"cannot be made: {error}") from error
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise DefinitionError(file=str(cache), problem="must be this user's, and writable to no other")


def _verified(folder: Path) -> dict[str, Totals] | None:
    """The totals of a compiled folder whose files are as they were made; None when they are not."""
    try:
        contents = json.loads((folder / _CONTENTS).read_bytes())
        if _hash_files(folder) != contents["files"]:
            return None
        return {given["name"]: _totals_from(given) for given in contents["modes"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _hash_files(folder: Path) -> dict[str, str]:
    hashes = {}
    for path in sorted(folder.iterdir()):
        if path.name != _CONTENTS:
            with path.open("rb") as file:
                hashes[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes


def _totals_from(given: dict[str, Any]) -> Totals:
    sums = {name: given[name] for name in Totals.__struct_fields__ if name != "cost"}
    return Totals(cost=Decimal(given["cost"]), **sums)


def _compile(source: Path, *, into: Path) -> dict[str, Totals]:
    totals: dict[str, Totals] = {}
    for number, mode in enumerate(published.read_index(source)):
        totals[mode.name] = _write_rows(mode, into=into / f"{number}.rows")
        words = mapping.map_words(into / f"{number}.rows", writable=True)
        ids = words[BOOK_ID::WORDS_PER_ROW]
        order = ordering.write_order(ids, into=into / f"{number}.order", file=mode.weights)
        _write_books(mode, words, order, into=into / f"{number}.books", label=f"{source.name} {mode.name}")
    # The standard library's JSON: the sums are larger than 64 bits.
    modes = [
        {"name": name, **msgspec.structs.asdict(sums), "cost": str(sums.cost)}
        for name, sums in totals.items()
    ]
    (into / _CONTENTS).write_text(json.dumps({"files": _hash_files(into), "modes": modes}, indent=1))
    return totals


def _write_rows(mode: published.Mode, *, into: Path) -> Totals:
    totals = Totals(cost=mode.cost)
    words = array("Q")
    with into.open("wb") as file:
        for row in published.read_rows(mode.weights):
            totals.add(row)
            words.extend((totals.weight_sum, row.book_id, row.payout_x100, 0, 0))
            if len(words) >= _ROWS_PER_WRITE * WORDS_PER_ROW:
                words.tofile(file)
                words = array("Q")
        words.tofile(file)
    return totals


def _write_books(
    mode: published.Mode, words: memoryview, order: Sequence[int], *, into: Path, label: str
) -> None:
    """Stores the events and where they are; every row gets exactly one book, which pays what the row says."""
    ids = words[BOOK_ID::WORDS_PER_ROW]
    payouts, blocks, places = (words[word::WORDS_PER_ROW] for word in (PAYOUT, BLOCK, PLACE))
    compressor = zstandard.ZstdCompressor(level=3, write_checksum=True)
    found, block, block_start = 0, bytearray(), 0
    with into.open("wb") as file:
        for book in published.read_books(mode.books):
            row = found if found < len(ids) and ids[found] == book.book_id else find(ids, order, book.book_id)
            problem = _misfit(mode, book, row, places, payouts)
            if problem or row is None:
                raise published.error_at(mode.books, problem, line=book.line)
            blocks[row], places[row] = block_start, len(block) << 32 | len(book.events)
            block += book.events
            found += 1
            if len(block) >= _BLOCK_BYTES:
                file.write(compressor.compress(bytes(block)))
                block, block_start = bytearray(), file.tell()
            if found % _BOOKS_PER_REPORT == 0:
                log.info("books %s: %d of %d read", label, found, len(ids))
        file.write(compressor.compress(bytes(block)))
    if found < len(ids):
        row = next(row for row, place in enumerate(places) if not place)
        problem = f"id {ids[row]} has no book in {mode.books.name}"
        raise published.error_at(mode.weights, problem, line=row + 1)


def _misfit(
    mode: published.Mode, book: published.Book, row: int | None, places: memoryview, payouts: memoryview
) -> str:
    if row is None:
        return f"book {book.book_id} is not in {mode.weights.name}"
    if places[row]:
        return f"book {book.book_id} is given twice"
    if payouts[row] != book.payout_x100:
        return (
            f"book {book.book_id} pays {book.payout_x100}, line {row + 1} of {mode.weights.name} says"
            f" {payouts[row]}"
        )
    return ""


def find(ids: memoryview, order: Sequence[int], book_id: int) -> int | None:
    """The row of a book: `order` is the rows in the order of their ids."""
    place = bisect_left(order, book_id, key=ids.__getitem__)
    if place < len(order) and ids[order[place]] == book_id:
        return order[place]
    return None
