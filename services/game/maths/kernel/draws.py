"""Where the kernel meets chance: its own generator, or the recorded draws of a spin.

The generator is xoshiro256** (Blackman and Vigna, 2018). A draw scales the upper 32 bits of a word to its
bound and rejects what would favour small values (Lemire, 2019): every value is equally likely.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from services.game.maths.kernel.compiled import compiled, inlined

Words = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.int64]

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_WORD_RANGE = np.uint64(1 << 32)
_5, _7, _9, _11 = np.uint64(5), np.uint64(7), np.uint64(9), np.uint64(11)
_17, _19, _45, _57 = np.uint64(17), np.uint64(19), np.uint64(45), np.uint64(57)

POSITION, FAULT = 0, 1


class Source(NamedTuple):
    """A generator, or a log to replay."""

    state: Words
    """Four words, not all 0; unused with a log."""
    log: Counts
    """[draw, (bound, value)]; without rows the draws are generated."""
    progress: Counts
    """[POSITION]: next row of the log. [FAULT]: 0, or 1 + the row that was asked for and is not there."""


def generated(seed: int, block: int) -> Source:
    """The stream of one block of spins. Streams of other seeds and blocks are independent of it: numpy's
    SeedSequence hashes (seed, block) to the 256 bits of the state."""
    state = np.random.SeedSequence(seed, spawn_key=(block,)).generate_state(4, np.uint64)
    return Source(state.astype(np.uint64), np.empty((0, 2), np.int64), np.zeros(2, np.int64))


def replayed(log: Sequence[tuple[int, int]]) -> Source:
    """The draws of a recorded spin (`rng.Draws.log`), given again in order."""
    rows = np.array(log, np.int64).reshape(-1, 2)
    # A row that no game asks for, so that an empty log is not taken for "generate".
    rows = np.vstack([rows, np.zeros((1, 2), np.int64)])
    return Source(np.zeros(4, np.uint64), rows, np.zeros(2, np.int64))


@compiled
def _recorded(log: Counts, progress: Counts, bound: int) -> int:
    position = progress[POSITION]
    if progress[FAULT] or position >= log.shape[0] or log[position, 0] != bound:
        if not progress[FAULT]:
            progress[FAULT] = position + 1
        return 0
    progress[POSITION] = position + 1
    return int(log[position, 1])


@inlined
def _next_word(state: Words) -> np.uint64:
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    scrambled = s1 * _5
    word = ((scrambled << _7) | (scrambled >> _57)) * _9
    s2 ^= s0
    s3 ^= s1
    state[0] = s0 ^ s3
    state[2] = s2 ^ (s1 << _17)
    state[1] = s1 ^ s2
    state[3] = (s3 << _45) | (s3 >> _19)
    return np.uint64(word)


@inlined
def below(source: Source, bound: int) -> int:
    """One of 0 .. bound-1, each equally likely; bound within 1..2**32."""
    if source.log.shape[0] > 0:
        return _recorded(source.log, source.progress, bound)
    wide = np.uint64(bound)
    product = (_next_word(source.state) >> _HALF) * wide
    if product & _LOW < wide:
        reject_below = (_WORD_RANGE - wide) % wide
        while product & _LOW < reject_below:
            product = (_next_word(source.state) >> _HALF) * wide
    return int(np.int64(product >> _HALF))
