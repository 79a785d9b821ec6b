"""What a spin showed and paid, as stored with the round and sent to players. No rule lives here."""

from __future__ import annotations

import msgspec


class LineWin(msgspec.Struct, frozen=True, gc=False):
    """One paying line. `win_minor` is what it pays, `multiplier` already applied."""

    line: int
    """Index into the definition's paylines, from 0."""
    symbol: str
    """The symbol that was paid, not the wild that stood in for it."""
    count: int
    """Length of the run from the left, in reels."""
    win_minor: int
    multiplier: int


class ScatterWin(msgspec.Struct, frozen=True, gc=False):
    """Scatters anywhere on the screen that pay on the total stake; `multiplier` already applied."""

    symbol: str
    count: int
    win_minor: int
    multiplier: int


class Screen(msgspec.Struct, frozen=True):
    """One stop of the reels and everything it won."""

    grid: tuple[tuple[str, ...], ...]
    """Symbol names by reel, top row first: grid[reel][row]."""
    line_wins: tuple[LineWin, ...]
    scatter_win: ScatterWin | None
    free_spins_awarded: int
    """Spins that this screen granted: the feature's start on the base screen, a retrigger on a free one."""
    win_minor: int
    """Sum of this screen's line wins and scatter win."""


class Outcome(msgspec.Struct, frozen=True):
    """A whole round without a choice: the paid screen and its free spins, in the order they are shown."""

    base: Screen
    free_spins: tuple[Screen, ...]
    win_minor: int
    """What the spin pays: the sum over all screens, or the cap of the game when the sum is above it."""
    capped: bool
    """True when the sum was above the cap."""


def encode_outcome(outcome: Outcome) -> bytes:
    """The outcome as compact JSON, every field present."""
    return msgspec.json.encode(outcome)


def decode_outcome(outcome_bytes: bytes) -> Outcome:
    """The outcome that `encode_outcome` wrote. Errors: msgspec.DecodeError."""
    return msgspec.json.decode(outcome_bytes, type=Outcome)
