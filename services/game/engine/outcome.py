"""What a spin showed and paid, as stored with the round and sent to players. No rule lives here.

Fields that a game does not use stay away from the JSON: it tells only what happened.
"""

from __future__ import annotations

import msgspec

Names = tuple[tuple[str, ...], ...]
"""Symbol names by reel, top row first: grid[reel][row]."""
Cell = tuple[int, int]
"""(reel, row), from the left and from the top, from 0."""


class LineWin(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One paying line. `win_minor` is what it pays, `multiplier` already applied."""

    line: int
    """Index into the definition's paylines, from 0."""
    symbol: str
    """The symbol that was paid, not the wild that stood in for it."""
    count: int
    """Length of the run, in reels."""
    win_minor: int
    multiplier: int
    """Everything that multiplied it: wilds, cascade, free spins."""
    from_right: bool = False
    """True when the run starts at the last reel."""


class SymbolWin(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A win of ways, of a cluster, or of symbols anywhere; `multiplier` already applied."""

    symbol: str
    count: int
    """Ways: reels of the run. Else: number of symbols, wilds that stand in included."""
    cells: tuple[Cell, ...]
    """The cells that won, reel by reel."""
    win_minor: int
    multiplier: int
    """Everything that multiplied it but, of ways, their number and wilds: those are in `ways`."""
    ways: int = 1
    """Number of ways, each wild counted by its multiplier."""
    from_right: bool = False


class ScatterWin(msgspec.Struct, frozen=True, gc=False):
    """Scatters anywhere on the screen that pay on the bet; `multiplier` already applied."""

    symbol: str
    count: int
    win_minor: int
    multiplier: int


class Fall(msgspec.Struct, frozen=True, omit_defaults=True):
    """The grid after winning symbols vanished and others fell, and what it won."""

    grid: Names
    multiplier: int
    """Of every win of this grid: that of the cascade x that of the free spins, without wilds."""
    win_minor: int
    line_wins: tuple[LineWin, ...] = ()
    symbol_wins: tuple[SymbolWin, ...] = ()


class Screen(msgspec.Struct, frozen=True, omit_defaults=True):
    """One stop of the reels and everything it won."""

    grid: Names
    """As it stopped: before wilds expand and before anything falls."""
    line_wins: tuple[LineWin, ...]
    scatter_win: ScatterWin | None
    free_spins_awarded: int
    """Spins that this screen granted: the feature's start on the paid screen, a retrigger on a free one."""
    win_minor: int
    """Sum of this screen's wins, falls included."""
    symbol_wins: tuple[SymbolWin, ...] = ()
    falls: tuple[Fall, ...] = ()


class Coin(msgspec.Struct, frozen=True, gc=False):
    """A coin of hold-and-win. `respin` 0: it was on the paid screen."""

    cell: Cell
    respin: int
    win_minor: int


class HoldAndWin(msgspec.Struct, frozen=True, omit_defaults=True):
    """The feature from its trigger to its last respin."""

    coins: tuple[Coin, ...]
    respins: int
    """Respins that were played."""
    win_minor: int
    full_win_minor: int = 0
    """Part of `win_minor` that was paid because every cell held a coin."""


class Pick(msgspec.Struct, frozen=True, gc=False):
    """The prize that was drawn: index into the definition's prizes."""

    prize: int
    win_minor: int


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """A whole round without a choice, its parts in the order they are shown and were drawn."""

    base: Screen | None
    """The paid screen; None when the mode bought free spins."""
    free_spins: tuple[Screen, ...]
    win_minor: int
    """What the spin pays: the sum of all parts, or the cap of the game when the sum is above it."""
    capped: bool
    """True when the sum was above the cap."""
    hold_and_win: HoldAndWin | None = None
    pick: Pick | None = None


def encode_outcome(outcome: Outcome) -> bytes:
    """The outcome as compact JSON."""
    return msgspec.json.encode(outcome)


def decode_outcome(outcome_bytes: bytes) -> Outcome:
    """The outcome that `encode_outcome` wrote. Errors: msgspec.DecodeError."""
    return msgspec.json.decode(outcome_bytes, type=Outcome)
