"""Files of what was archived: CSV in gzip, and a manifest. None has its name half-written."""

import csv
import gzip
import hashlib
import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

_PART_BYTES = 1 << 20


async def write_csv(path: Path, parts: AsyncIterator[bytes]) -> str:
    """Compresses a text into a file, on the disk when this returns; the SHA-256 of the text.

    The same text makes the same file: no time and no name is in it.
    """
    digest = hashlib.sha256()
    part_path = path.with_suffix(".part")
    with part_path.open("wb") as file:
        with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
            async for part in parts:
                digest.update(part)
                packed.write(part)
        file.flush()
        os.fsync(file.fileno())
    _rename(part_path, path)
    return digest.hexdigest()


def make_directory(path: Path) -> None:
    """Makes a directory, and those above it, unless it is there."""
    path.mkdir(parents=True, exist_ok=True)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a file that is on the disk when this returns."""
    part_path = path.with_suffix(".part")
    with part_path.open("w") as file:
        json.dump(content, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    _rename(part_path, path)


def read_rows(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a CSV file, by its head line."""
    with gzip.open(path, "rt", newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def text_sha256(path: Path) -> str:
    """The SHA-256 of what a file unpacks to."""
    digest = hashlib.sha256()
    with gzip.open(path, "rb") as file:
        while part := file.read(_PART_BYTES):
            digest.update(part)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file as it is, as sha256sum prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _rename(part_path: Path, path: Path) -> None:
    part_path.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
