"""A simulation in blocks of spins, each from its own stream of draws, on one process or several.

The block, not the process, decides which draws a spin gets: the same seed gives the same result whatever the
number of processes, and a shorter run is the beginning of a longer one.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import multiprocessing
import signal
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor

import msgspec
import numpy as np

from services.game.engine.definition import GameDefinition
from services.game.maths.kernel import draws, rounds, tables, wins

BLOCK_SPINS = 1 << 18
"""Part of what a seed means: changing it changes every result."""


class Tally(msgspec.Struct, frozen=True):
    """Exact sums over some spins."""

    spins: int
    totals: tuple[int, ...]
    """In the order of `rounds.TOTALS`."""
    histogram: tuple[int, ...]
    """Spins without a win, then by win band."""

    def __getitem__(self, name: str) -> int:
        return self.totals[rounds.TOTALS.index(name)]

    def __add__(self, other: Tally) -> Tally:
        sums = [a + b for a, b in zip(self.totals, other.totals, strict=True)]
        sums[rounds.WIN_MAX] = max(self["win_max"], other["win_max"])
        bands = tuple(a + b for a, b in zip(self.histogram, other.histogram, strict=True))
        return Tally(self.spins + other.spins, tuple(sums), bands)

    @property
    def win_squares(self) -> int:
        """Sum of the squares of the wins, coins squared."""
        return self["squares_low"] + (self["squares_high"] << 32)


class Player:
    """Plays one mode of a game; makes the tables once."""

    def __init__(self, game: GameDefinition, mode: str) -> None:
        """Errors: ValueError, as `tables.build`."""
        self.tables = tables.build(game, mode)
        self._board = wins.board(self.tables.wins)

    def play(self, source: draws.Source, spins: int) -> Tally:
        """Play spins from a source of draws. The first call of all may compile for half a minute."""
        totals = np.zeros(len(rounds.TOTALS), np.int64)
        histogram = np.zeros(len(self.tables.bands) + 2, np.int64)
        rounds.play(self.tables, self._board, source, totals, histogram, spins)
        return Tally(spins, tuple(totals.tolist()), tuple(histogram.tolist()))

    def play_block(self, seed: int, block: int, spins: int) -> Tally:
        """The first spins of a block."""
        return self.play(draws.generated(seed, block), spins)


def play(
    game: GameDefinition, mode: str, *, spins: int, seed: int, processes: int = 1
) -> Generator[Tally, None, None]:
    """The blocks of a simulation in order; closing the iterator ends the processes.

    Errors: ValueError, as `tables.build`.
    """
    player = Player(game, mode)
    sizes = [BLOCK_SPINS] * (spins // BLOCK_SPINS)
    if spins % BLOCK_SPINS:
        sizes.append(spins % BLOCK_SPINS)
    if processes == 1 or len(sizes) == 1:
        return (player.play_block(seed, block, size) for block, size in enumerate(sizes))
    return _play_on_processes(player, game, mode, sizes, seed=seed, processes=processes)


def _play_on_processes(
    player: Player, game: GameDefinition, mode: str, sizes: list[int], *, seed: int, processes: int
) -> Generator[Tally, None, None]:
    player.play_block(seed, 0, 0)  # compiles, so that the processes find it done
    pool = ProcessPoolExecutor(
        min(processes, len(sizes)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start,
        initargs=(game, mode),
    )
    try:
        blocks = iter(enumerate(sizes))
        waiting: collections.deque[Future[Tally]] = collections.deque()
        while True:
            with _processes_without_interrupts():
                for block, size in itertools.islice(blocks, 2 * processes - len(waiting)):
                    waiting.append(pool.submit(_play_block, seed, block, size))
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _processes_without_interrupts() -> Iterator[None]:
    """Ctrl-C reaches every process of a terminal, but to end is the first one's: those that are started here
    have it held back from their first instruction on. Here it comes when the block ends: none is lost."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_player: Player


def _start(game: GameDefinition, mode: str) -> None:
    """Once per process."""
    global _player
    _player = Player(game, mode)


def _play_block(seed: int, block: int, spins: int) -> Tally:
    return _player.play_block(seed, block, spins)
