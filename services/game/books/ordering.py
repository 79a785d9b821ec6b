"""Sorting more ids than fit in memory, for look-up tables whose ids come in any order."""

from __future__ import annotations

import heapq
import itertools
import mmap
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from services.game.books import mapping, published

_IDS_PER_RUN = 16_384


def write_order(ids: memoryview, *, into: Path, file: Path) -> Sequence[int]:
    """The rows in the order of their ids: all in their own order when the ids ascend, else as a mapped file
    that is written to `into`.

    Errors: DefinitionError, with the line of `file`, when an id is there twice.
    """
    if all(first < second for first, second in itertools.pairwise(ids)):
        return range(len(ids))
    with tempfile.TemporaryFile(dir=into.parent) as runs_file:
        pairs = heapq.merge(*_sorted_runs(ids, runs_file))
        with into.open("wb") as order_file:
            rows, last = array("Q"), -1
            for book_id, row in pairs:
                if book_id == last:
                    raise published.error_at(file, f"id {book_id} is given twice", line=row + 1)
                last = book_id
                rows.append(row)
                if len(rows) == _IDS_PER_RUN:
                    rows.tofile(order_file)
                    rows = array("Q")
            rows.tofile(order_file)
    return mapping.map_words(into)


def _sorted_runs(ids: memoryview, runs_file: IO[bytes]) -> list[Iterator[tuple[int, int]]]:
    """Writes (id, row) in runs that are each sorted; one iterator per run."""
    bounds = [*range(0, len(ids), _IDS_PER_RUN), len(ids)]
    for start, end in itertools.pairwise(bounds):
        run = sorted(zip(ids[start:end], range(start, end), strict=True))
        array("Q", itertools.chain.from_iterable(run)).tofile(runs_file)
    runs_file.flush()
    words = memoryview(mmap.mmap(runs_file.fileno(), 0, access=mmap.ACCESS_READ)).cast("Q")
    return [
        zip(words[2 * start : 2 * end : 2], words[2 * start + 1 : 2 * end : 2], strict=True)
        for start, end in itertools.pairwise(bounds)
    ]
