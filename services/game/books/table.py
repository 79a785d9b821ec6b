"""The outcomes of one mode, mapped from their compiled files: picking one and reading it."""

from __future__ import annotations

import logging
import mmap
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import zstandard

from services.game.books import compiling, mapping
from services.game.books.totals import Totals
from services.game.engine.rng import DrawSource

log = logging.getLogger(__name__)


class Pick(NamedTuple):
    """One book. `events` is its JSON array; None when its block cannot be read any more (disk at fault)."""

    book_id: int
    payout_x100: int
    events: bytes | None


class Table:
    """One mode. Its memory does not depend on the number of books. Not for several threads at once."""

    def __init__(self, folder: Path, number: int, totals: Totals) -> None:
        """`number` is the mode's place in the index. Errors: OSError."""
        self.totals = totals
        self._words = mapping.map_words(folder / f"{number}.rows")
        self._cumulative = self._words[compiling.CUMULATIVE :: compiling.WORDS_PER_ROW]
        self._ids = self._words[compiling.BOOK_ID :: compiling.WORDS_PER_ROW]
        order = folder / f"{number}.order"
        self._order: Sequence[int] = mapping.map_words(order) if order.exists() else range(len(self._ids))
        self._books = mapping.map_file(folder / f"{number}.books")
        # Books are read at random: what lies beside one is not needed.
        self._books.madvise(mmap.MADV_RANDOM)
        self._decompressor = zstandard.ZstdDecompressor()

    def pick(self, draws: DrawSource) -> Pick:
        """One book, each as likely as its weight: the first row whose cumulative weight is above one draw
        below the sum of all weights. After the draw nothing can fail (R1)."""
        return self._read(bisect_right(self._cumulative, draws.below(self.totals.weight_sum)))

    def find(self, book_id: int) -> Pick | None:
        """The book with this id."""
        row = compiling.find(self._ids, self._order, book_id)
        return None if row is None else self._read(row)

    def payouts_x100(self) -> memoryview:
        """Payout of every row, in the order of the look-up table."""
        return self._words[compiling.PAYOUT :: compiling.WORDS_PER_ROW]

    def _read(self, row: int) -> Pick:
        first = row * compiling.WORDS_PER_ROW
        _, book_id, payout_x100, block_start, place = self._words[first : first + compiling.WORDS_PER_ROW]
        start, length = place >> 32, place & 0xFFFF_FFFF
        try:
            # The frame ends by itself: what follows it is the next block.
            block = self._decompressor.decompress(memoryview(self._books)[block_start:])
        except zstandard.ZstdError:
            log.exception("books: the compiled block at %d cannot be read", block_start)
            return Pick(book_id, payout_x100, None)
        return Pick(book_id, payout_x100, block[start : start + length])
