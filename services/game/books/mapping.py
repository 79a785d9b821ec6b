"""Files that are mapped: their pages are the file's own, so the system drops them when it needs room, and
processes that map the same file share them."""

from __future__ import annotations

import mmap
from pathlib import Path


def map_file(path: Path, *, writable: bool = False) -> mmap.mmap:
    """The content of a file that is not empty. Errors: OSError, ValueError when it is."""
    with path.open("r+b" if writable else "rb") as file:
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        return mmap.mmap(file.fileno(), 0, access=access)


def map_words(path: Path, *, writable: bool = False) -> memoryview:
    """A file of uint64 as a sequence. Errors: as `map_file`."""
    return memoryview(map_file(path, writable=writable)).cast("Q")
