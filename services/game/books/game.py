"""A game that is served from published outcome tables: a spin draws one book."""

from __future__ import annotations

import functools
import hashlib
from decimal import Decimal

import msgspec

from services.game.books.definition import BooksDefinition
from services.game.books.table import Pick, Table
from services.game.catalogue import Drawn
from services.game.engine.checks import AMOUNT_MINOR_MAX
from services.game.engine.definition import GameDefinition, Mode, Profile, bets_by_stake
from services.game.engine.rng import DrawSource

OUTCOME_BYTES_MAX = 16 * 1024
"""Largest outcome that is stored with its events: 200 of them, a whole batch, fit one message of 4 MiB."""


class BookOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a round showed and paid, as stored with it and sent to players."""

    mode: str
    book_id: int
    """With the hash that the round pins it names the outcome for ever."""
    payout_x100: int
    """What the book pays, in hundredths of the bet."""
    win_minor: int
    events: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """As published. Not there when the outcome would be larger than OUTCOME_BYTES_MAX: `whole_outcome`."""


class BooksGame:
    """A game of published books, as the catalogue serves it. `loading.load` makes and checks it."""

    profile: Profile | None = None
    offers_choice = False
    declaration: GameDefinition | None = None

    def __init__(
        self, definition: BooksDefinition, sources: dict[str, str], tables: dict[str, Table]
    ) -> None:
        """`sources`: SHA-256 of each published file. `tables`: by our name of the mode, `base` first."""
        self.definition = definition
        self.game_id, self.version, self.name = definition.game_id, definition.version, definition.name
        self.file = f"{definition.game_id}.yaml"
        self.stakes_minor = definition.stakes_minor
        self.size = definition.display.reels, definition.display.rows, definition.display.lines
        self.modes_by_name = {name: _mode(name, table) for name, table in tables.items()}
        self._sources, self._tables = sources, tables

    @functools.cached_property
    def canonical_json(self) -> bytes:
        """Our file, but for where the folder is, and the SHA-256 of each published file."""
        content = msgspec.to_builtins(self.definition)
        del content["books"]
        return msgspec.json.encode({**content, "sources": self._sources}, order="sorted")

    @functools.cached_property
    def canonical_hash(self) -> str:
        """SHA-256 (hex) of `canonical_json`: rounds pin it."""
        return hashlib.sha256(self.canonical_json).hexdigest()

    def bet_minor(self, *, mode: str, currency_code: str, stake_minor: int) -> int | None:
        """The bet behind a total stake of a mode; None when that stake, or the mode, is not on offer."""
        return self._bets_minor.get((mode, currency_code, stake_minor))

    @functools.cached_property
    def _bets_minor(self) -> dict[tuple[str, str, int], int]:
        return bets_by_stake(self.modes_by_name.values(), self.stakes_minor)

    def draw(self, *, bet_minor: int, mode: str, draws: DrawSource) -> Drawn:
        """One book of a mode, at a bet of the ladder. Nothing can fail after its one draw (R1).

        Errors: ValueError, before anything is drawn, for a bet that may not pay whole minor units, or more
        than 2**53.
        """
        totals = self._tables[mode].totals
        if bet_minor < 1 or bet_minor % totals.bet_step_minor:
            raise ValueError(f"bet {bet_minor} is not a positive multiple of {totals.bet_step_minor}")
        if bet_minor * totals.payout_max > 100 * AMOUNT_MINOR_MAX:
            raise ValueError(f"bet {bet_minor} x {totals.win_max} is above 2**53")
        return _drawn(mode, self._tables[mode].pick(draws), bet_minor=bet_minor)

    def find(self, *, mode: str, book_id: int) -> Pick | None:
        """A book by its id: for replays, and to read again what a round of this hash showed."""
        return self._tables[mode].find(book_id) if mode in self._tables else None

    def whole_outcome(self, outcome_json: bytes) -> bytes:
        """A stored outcome of this game, of the same hash, with its events also where they were too long to
        be stored. Errors: msgspec.DecodeError when it is none."""
        stored = msgspec.json.decode(outcome_json, type=BookOutcome)
        if stored.events is not msgspec.UNSET:
            return outcome_json
        book = self.find(mode=stored.mode, book_id=stored.book_id)
        if book is None or book.events is None:
            return outcome_json
        return msgspec.json.encode(msgspec.structs.replace(stored, events=msgspec.Raw(book.events)))


def _drawn(mode: str, book: Pick, *, bet_minor: int) -> Drawn:
    win_minor = bet_minor * book.payout_x100 // 100  # exact: the bets were checked against every payout
    outcome = BookOutcome(mode, book.book_id, book.payout_x100, win_minor)
    if book.events is not None:
        outcome_json = msgspec.json.encode(msgspec.structs.replace(outcome, events=msgspec.Raw(book.events)))
        if len(outcome_json) <= OUTCOME_BYTES_MAX:
            return Drawn(win_minor, outcome_json)
    return Drawn(win_minor, msgspec.json.encode(outcome))


def _mode(name: str, table: Table) -> Mode:
    totals = table.totals
    rtp = round(totals.rtp, 6)
    return Mode(
        name=name,
        cost=totals.cost,
        rtp_target=Decimal(rtp.numerator) / Decimal(rtp.denominator),
        deviation=round(Decimal(totals.deviation), 2),
    )
