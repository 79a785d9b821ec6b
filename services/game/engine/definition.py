"""One game as data: what the versioned YAML file may say. `loading.load` reads, checks and freezes it.

Every amount is a whole number. The bet is played as `coins` coins; pays of symbols are multiples of one coin,
everything else that pays is a multiple of the bet. The stake is the bet times the cost of the mode.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from services.game.engine import tables

SHIPPED_GAMES = Path(__file__).parent.parent / "games"
"""Folder of the games that come with the platform."""
BASE = "base"
"""The mode that every game has, at cost 1, and the reels of its paid screen."""
FREE = "free"
"""The reels of the free spins."""

Positive = Annotated[int, msgspec.Meta(ge=1)]
Version = Annotated[int, msgspec.Meta(ge=1, le=(1 << 31) - 1)]
"""As the contract and the store hold it."""
Size = Annotated[int, msgspec.Meta(ge=2, le=10)]
GameId = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=64)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Z][A-Z0-9_]{0,31}$")]
SetName = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
CurrencyCode = Annotated[str, msgspec.Meta(pattern=r"^[A-Z][A-Z0-9]{2,9}$")]
Strip = Annotated[tuple[str, ...], msgspec.Meta(max_length=1024)]
ByCount = dict[Positive, Positive]
"""Number of symbols -> what it gives. More than listed gives like the highest listed."""


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of a definition: a field at its default is not part of the hash."""


class Grid(_Part, frozen=True):
    """The visible window."""

    reels: Size
    rows: Size


class Symbol(_Part, frozen=True):
    """A symbol.

    regular: pays by `pays`. wild: stands in for regular symbols. scatter: pays by `scatter_pays`, awards free
    spins. bonus: triggers the pick. coin: triggers and fills hold-and-win. Only regular symbols and wilds are
    part of lines, ways, clusters and of what a cascade removes; the others, at most one symbol of each kind,
    count anywhere on the grid.
    """

    name: Name
    kind: Literal["wild", "scatter", "bonus", "coin", "regular"]
    multiplier: Positive = 1
    """Of a wild: multiplies each win that it is part of; several multiply one another."""
    expands: bool = False
    """Of a wild: before wins are evaluated it fills its whole reel; other kinds are counted before that."""
    takes_wild: bool = True
    """Of a regular symbol: whether wilds stand in for it."""


class FreeSpins(_Part, frozen=True):
    """Free spins, played at the bet of the spin that won them, part of its one outcome, on reels `free`."""

    award: ByCount
    """Scatters on the paid screen -> spins."""
    multiplier: Positive
    """Applied to every win of a free spin, scatters included."""
    spins_max: Positive
    """Most free spins in one round, retriggers included: it bounds the size of an outcome."""
    retrigger: ByCount = {}
    """Scatters on a free screen -> further spins."""


class Cascade(_Part, frozen=True):
    """Winning symbols vanish, what is above falls, new ones come from above, and wins are evaluated again,
    until nothing is won or `falls_max` is reached."""

    falls_max: Positive
    """Most falls of one screen: it bounds the size of an outcome."""
    multipliers: tuple[Positive, ...] = (1,)
    """Of the first grid, of the first fall, of the second ...; the last holds for all later ones."""
    free_multipliers: tuple[Positive, ...] = ()
    """The same for free spins (times `free_spins.multiplier`); empty: as `multipliers`."""


class CoinValue(_Part, frozen=True):
    """One value that a coin may show, and one prize of the pick: `multiple` x bet, drawn by weight."""

    weight: Positive
    multiple: Positive


class Odds(_Part, frozen=True):
    """`hits` out of `of` equally likely."""

    hits: Positive
    of: Positive


class HoldAndWin(_Part, frozen=True):
    """Coins of the paid screen stay, the other cells spin again; a new coin stays and renews the respins."""

    trigger_count: Positive
    """Coins on the paid screen, its last grid, that start the feature."""
    respins: Positive
    """Respins at the start, and again after each respin that brought a coin."""
    coin_odds: Odds
    """Whether an empty cell gets a coin in a respin."""
    values: tuple[CoinValue, ...]
    """What a coin is worth, x bet."""
    full_multiple: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Paid on top when every cell holds a coin, x bet."""


class Pick(_Part, frozen=True):
    """One prize by weight, x bet, when enough bonus symbols are on the paid screen (its last grid)."""

    trigger_count: Positive
    prizes: tuple[CoinValue, ...]


class Gamble(_Part, frozen=True):
    """Double-up after a win: name the colour of a card, double or lose what is at risk. Fair: RTP 1."""

    choices: tuple[str, ...]
    steps_max: Positive
    """Most steps in one round."""
    win_multiple_max: Positive
    """A step is offered only while it cannot raise the win above this, x bet."""


class Mode(_Part, frozen=True):
    """Another way to play the game than `base`: a bought feature, or an ante."""

    name: SetName
    cost: Decimal
    """Stake = bet x cost."""
    rtp_target: Decimal
    """Exact long-run return on the stake, as the game's own."""
    reels: SetName = BASE
    """Reels of the paid screen."""
    free_spins: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Bought free spins: when above 0 the round has no paid screen, it starts with these."""
    deviation: Decimal | None = None
    """As the game's own, per stake of this mode."""


class Profile(_Part, frozen=True):
    """Says that this file is the same game at another return: a separately certified, hashed build."""

    of: GameId
    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9.-]{0,15}$")]


def bets_by_stake(
    modes: Iterable[Mode], stakes_minor: Mapping[str, Sequence[int]]
) -> dict[tuple[str, str, int], int]:
    """(mode, currency, stake) -> bet. A stake is a whole number of minor units (checked at load)."""
    return {
        (mode.name, currency_code, int(bet_minor * Fraction(mode.cost))): bet_minor
        for mode in modes
        for currency_code, ladder in stakes_minor.items()
        for bet_minor in ladder
    }


class GameDefinition(_Part, frozen=True, eq=False, dict=True):
    """Everything that decides what a game pays. Make it with `loading.load`, which also checks it."""

    game_id: GameId
    version: Version
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    grid: Grid
    symbols: Annotated[tuple[Symbol, ...], msgspec.Meta(max_length=256)]
    pays: dict[str, ByCount]
    """Symbol -> count -> multiple of one coin. Lines and ways: reels of the run. Clusters and anywhere:
    number of symbols; a count between two listed pays like the lower one."""
    stakes_minor: dict[CurrencyCode, tuple[Positive, ...]]
    """Currency -> bets on offer, which are the stakes of mode base: minor units, ascending."""
    rtp_target: Decimal
    """Exact long-run return of this version rounded to 6 decimals, before the cap, gamble left out."""
    max_win_multiple: Positive
    """Cap of a round, x bet. A win above the cap is the cap."""
    strips: dict[SetName, tuple[Strip, ...]] = {}
    """Reels by name: one circular strip per reel. `base` is the paid screen, `free` the free spins."""
    weights: dict[SetName, tuple[dict[str, Positive], ...]] = {}
    """The other way to give reels: every cell of a reel is drawn by these weights of its symbols."""
    evaluation: Literal["lines", "ways", "clusters", "anywhere"] = "lines"
    """What wins. lines: runs on paylines, the highest per line. ways: runs on neighbouring reels, all rows.
    clusters: symbols side by side. anywhere: enough of a symbol on the grid."""
    paylines: tuple[tuple[int, ...], ...] = ()
    """Row by reel, 0 is the top row. All lines are always played."""
    direction: Literal["left", "right", "both"] = "left"
    """Where runs of lines and ways start. both: a run over all reels pays once."""
    coins: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Coins per bet; 0: the number of paylines."""
    scatter_pays: ByCount = {}
    """Number of scatters on the last grid of a screen -> multiple of the bet."""
    free_spins: FreeSpins | None = None
    cascade: Cascade | None = None
    hold_and_win: HoldAndWin | None = None
    pick: Pick | None = None
    gamble: Gamble | None = None
    modes: tuple[Mode, ...] = ()
    deviation: Decimal | None = None
    """Standard deviation of what a round of mode base pays, x stake, to 2 decimals, before the cap."""
    profile: Profile | None = None

    @property
    def offers_choice(self) -> bool:
        """True when a round of this game may wait for a decision of the player."""
        return self.gamble is not None

    @functools.cached_property
    def coins_per_bet(self) -> int:
        """Coins that one bet is played as."""
        return self.coins or len(self.paylines)

    @functools.cached_property
    def modes_by_name(self) -> dict[str, Mode]:
        """Every mode that may be played, `base` first."""
        base = Mode(name=BASE, cost=Decimal(1), rtp_target=self.rtp_target, deviation=self.deviation)
        return {mode.name: mode for mode in (base, *self.modes)}

    def bet_minor(self, *, mode: str, currency_code: str, stake_minor: int) -> int | None:
        """The bet behind a total stake of a mode; None when that stake, or the mode, is not on offer."""
        return self._bets_minor.get((mode, currency_code, stake_minor))

    @functools.cached_property
    def _bets_minor(self) -> dict[tuple[str, str, int], int]:
        return bets_by_stake(self.modes_by_name.values(), self.stakes_minor)

    @functools.cached_property
    def canonical_json(self) -> bytes:
        """The content in one fixed spelling. Comments, layout and key order of the file do not change it, nor
        do fields added to the format later, as long as the file leaves them at their default."""
        content = msgspec.to_builtins(self, str_keys=True)  # counts become text: only such keys are sortable
        return msgspec.json.encode(content, order="sorted")

    @functools.cached_property
    def canonical_hash(self) -> str:
        """SHA-256 (hex) of `canonical_json`: rounds pin it."""
        return hashlib.sha256(self.canonical_json).hexdigest()

    @functools.cached_property
    def tables(self) -> tables.Tables:
        """What a spin looks up, built once. Only of a definition without faults (`checks.faults`)."""
        return tables.build(self)
