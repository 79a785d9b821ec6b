"""A folder of published outcome tables, as any maths tool may have written it, read line by line.

`index.json` names the modes; of each mode `lookUpTable_*.csv` has a line `id,weight,payout` per book, and
`books_*.jsonl.zst` the books. Payouts are hundredths of the base bet, whatever the mode costs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import zstandard

from services.game.engine.loading import DefinitionError

INDEX = "index.json"
UINT64_MAX = (1 << 64) - 1
BOOK_BYTES_MAX = 3 * 1024 * 1024
"""Longest line of a books file: a round's answer must fit one message of 4 MiB. It bounds the memory that
reading takes, too."""
# A kilobyte of zstd may stand for 32 MiB: little is read at a time, so that much is never made of it.
_READ_BYTES = 1024
_WINDOW_BYTES_MAX = 128 * 1024 * 1024  # of zstd: what `zstd -19` needs, 8 MiB, and its --long of today, 128


class Mode(NamedTuple):
    """One mode of the index; its files are there."""

    name: str
    """As published."""
    cost: Decimal
    weights: Path
    books: Path


class Row(NamedTuple):
    """A line of a look-up table. All three are uint64."""

    book_id: int
    weight: int
    payout_x100: int


class Book(NamedTuple):
    """A line of a books file."""

    line: int
    book_id: int
    payout_x100: int
    events: bytes
    """The JSON array, without white space."""


class _IndexMode(msgspec.Struct):
    name: str
    cost: Decimal
    events: str
    weights: str


class _Index(msgspec.Struct):
    modes: list[_IndexMode]


class _Line(msgspec.Struct):
    id: int
    events: msgspec.Raw
    payout: int | float = msgspec.field(name="payoutMultiplier")  # whole, but some tools write 120.0


class _Event(msgspec.Struct):
    type: str = ""
    amount: Any = None


_LINE = msgspec.json.Decoder(_Line)
_EVENTS = msgspec.json.Decoder(list[_Event])


def error_at(path: Path, problem: str, *, line: int | None = None, field: str = "") -> DefinitionError:
    """What is wrong with a published file, named with its folder."""
    return DefinitionError(file=f"{path.parent.name}/{path.name}", line=line, field=field, problem=problem)


def read_index(folder: Path) -> list[Mode]:
    """The modes in the order of the index; file names in any case. Errors: DefinitionError."""
    path = find_file(folder, INDEX, field="")
    try:
        index = msgspec.json.decode(path.read_bytes(), type=_Index)
    except (OSError, msgspec.DecodeError) as error:
        raise error_at(path, str(error)) from error
    if not index.modes:
        raise error_at(path, "must not be empty", field="modes")
    modes: list[Mode] = []
    for place, given in enumerate(index.modes):
        field = f"modes[{place}]"
        if given.name in [mode.name for mode in modes]:
            raise error_at(path, f"{given.name} is listed twice", field=f"{field}.name")
        if not (given.cost.is_finite() and given.cost > 0):
            raise error_at(path, "must be above 0", field=f"{field}.cost")
        weights = find_file(folder, given.weights, field=f"{field}.weights")
        books = find_file(folder, given.events, field=f"{field}.events")
        modes.append(Mode(given.name, _plain(given.cost), weights, books))
    return modes


def _plain(number: Decimal) -> Decimal:
    """The same number without zeros at its end, 100.0 as 100."""
    return Decimal(int(number)) if number == int(number) else number.normalize()


def find_file(folder: Path, name: str, *, field: str) -> Path:
    """A file of the folder by its name in any case. Errors: DefinitionError, at `field` of the index."""
    if (folder / name).is_file() and Path(name).name == name:
        return folder / name
    try:
        alike = [path for path in folder.iterdir() if path.name.lower() == name.lower() and path.is_file()]
    except OSError as error:
        raise error_at(folder, f"cannot be read: {error}") from error
    if len(alike) != 1:
        many = "is there more than once, in different case" if alike else f"is not in {folder}"
        raise error_at(folder / INDEX, f"{name} {many}", field=field)
    return alike[0]


def hash_sources(folder: Path) -> dict[str, str]:
    """SHA-256 (hex) of each file that the index names, and of the index. Errors: DefinitionError."""
    paths = {find_file(folder, INDEX, field="")}
    for mode in read_index(folder):
        paths |= {mode.weights, mode.books}
    hashes = {}
    for path in sorted(paths):
        try:
            with path.open("rb") as file:
                hashes[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise error_at(path, f"cannot be read: {error}") from error
    return hashes


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a look-up table; the first is line 1, no line is left out. Errors: DefinitionError, with
    the line; also when the weights add up to more than 2^64-1."""
    number = weight_sum = 0
    try:
        with path.open("rb", buffering=1 << 16) as file:
            # A line is at most 3 numbers of 20 digits, so no file can make this read without end.
            for number, line in enumerate(iter(lambda: file.readline(128), b""), 1):
                row = _row(path, number, line)
                weight_sum += row.weight
                if weight_sum > UINT64_MAX:
                    problem = "weights add up to more than 2^64-1"
                    raise error_at(path, problem, line=number)
                yield row
    except OSError as error:
        raise error_at(path, f"cannot be read: {error}") from error
    if not number:
        raise error_at(path, "has no rows")


def _row(path: Path, number: int, line: bytes) -> Row:
    parts = line.rstrip(b"\r\n").split(b",")
    if len(parts) == 3 and all(map(bytes.isdigit, parts)):
        row = Row(*map(int, parts))
        if max(row) <= UINT64_MAX and row.weight:
            return row
        problem = "weight must be above 0" if not row.weight else "is above 2^64-1"
    else:
        problem = "must be three whole numbers: id,weight,payout"
    raise error_at(path, problem, line=number)


def read_books(path: Path) -> Iterator[Book]:
    """The books of a file, in its order; a book's last amount is checked against its payout.

    Errors: DefinitionError, with the line.
    """
    for number, line in enumerate(_lines(path), 1):
        try:
            line.decode()  # what msgspec does not look into must be UTF-8, too
            given = _LINE.decode(line)
            events = _EVENTS.decode(given.events)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise error_at(path, str(error), line=number) from error
        for event in events:
            if event.type == "finalWin" and event.amount != given.payout:
                problem = f"book {given.id} pays {given.payout}, its finalWin says {event.amount}"
                raise error_at(path, problem, line=number)
        if given.payout != int(given.payout):
            problem = f"book {given.id} pays {given.payout}: not a whole number"
            raise error_at(path, problem, line=number)
        yield Book(number, given.id, int(given.payout), msgspec.json.format(bytes(given.events), indent=-1))


def _lines(path: Path) -> Iterator[bytes]:
    rest, number = b"", 1
    for piece in _decompressed(path):
        *lines, rest = (rest + piece).split(b"\n")
        for line in (*lines, rest):
            if len(line) > BOOK_BYTES_MAX:
                raise error_at(path, f"is longer than {BOOK_BYTES_MAX} bytes", line=number)
            number += 1
        number -= 1  # the last one goes on in the next piece
        yield from lines
    if rest:
        yield rest


def _decompressed(path: Path) -> Iterator[bytes]:
    """The content of a file of one or more frames; a frame without its end is an error, not the end."""
    frames = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES_MAX)
    frame, started = frames.decompressobj(), False
    try:
        with path.open("rb") as file:
            while chunk := file.read(_READ_BYTES):
                while chunk:
                    started = True
                    yield frame.decompress(chunk)
                    if not frame.eof:
                        break
                    chunk = frame.unused_data
                    frame, started = frames.decompressobj(), False
    except OSError as error:
        raise error_at(path, f"cannot be read: {error}") from error
    except zstandard.ZstdError as error:
        raise error_at(path, f"is not zstd: {error}") from error
    if started:
        raise error_at(path, "is cut off: its last zstd frame has no end")
