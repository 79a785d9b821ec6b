"""What a published folder does not say about its game: a small YAML file of our own beside the others."""

from __future__ import annotations

from typing import Annotated

import msgspec

from services.game.engine.definition import CurrencyCode, GameId, Positive, SetName, Version


class Display(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the catalogue shows of the game; 0: not told."""

    reels: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    rows: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    lines: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0


class BooksDefinition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A game whose rounds are published as books. `books` tells its file from that of a declared game."""

    game_id: GameId
    version: Version
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    books: Annotated[str, msgspec.Meta(min_length=1)]
    """Folder with `index.json`, from where this file is."""
    stakes_minor: dict[CurrencyCode, tuple[Positive, ...]]
    """Currency -> bets on offer, which are the stakes of mode base: minor units, ascending. Each must pay
    whole minor units whatever is drawn."""
    mode_names: dict[str, SetName] = {}
    """Published name of a mode -> its name here, where the published one in lower case will not do."""
    display: Display = Display()
