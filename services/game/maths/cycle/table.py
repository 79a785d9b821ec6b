"""A hash table of whole numbers for kernels: key -> sum."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from services.game.maths.kernel.compiled import compiled
from services.game.maths.rules import Ints


class Table(NamedTuple):
    """Open addressing; its size is a power of two."""

    keys: Ints
    """-1 where nothing is."""
    values: Ints


def table(slots: int) -> Table:
    return Table(np.full(slots, -1, np.int64), np.zeros(slots, np.int64))


@compiled
def add(table: Table, key: int, value: int) -> bool:
    """Add to the sum of a key, 0 or above; False when there is no room for it near its place."""
    mask = table.keys.size - 1
    slot = (key ^ (key >> 17)) * 0x9E3779B1 & mask
    for _ in range(64):
        if table.keys[slot] == key:
            table.values[slot] += value
            return True
        if table.keys[slot] == -1:
            table.keys[slot] = key
            table.values[slot] = value
            return True
        slot = (slot + 1) & mask
    return False
