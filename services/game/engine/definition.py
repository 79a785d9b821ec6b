"""One game as data: the versioned YAML file, checked once when it is loaded and frozen from then on."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Hashable
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml

from services.game.engine import checks, tables

SHIPPED_GAMES = Path(__file__).parent.parent / "games"
"""Folder of the games that come with the platform."""

Positive = Annotated[int, msgspec.Meta(ge=1)]
Size = Annotated[int, msgspec.Meta(ge=2, le=10)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Z][A-Z0-9_]{0,31}$")]
CurrencyCode = Annotated[str, msgspec.Meta(pattern=r"^[A-Z][A-Z0-9]{2,9}$")]
Strip = Annotated[tuple[str, ...], msgspec.Meta(max_length=1024)]
ByCount = dict[Positive, Positive]
"""Number of symbols -> what it gives; no gaps between the counts."""


class DefinitionError(ValueError):
    """A game file that cannot be played. The text is one line: file, field, what is wrong."""

    def __init__(self, *, file: str, field: str, problem: str) -> None:
        self.file = file
        self.field = field
        self.problem = problem
        super().__init__(": ".join(part for part in (file, field, problem) if part))


class Grid(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The visible window."""

    reels: Size
    rows: Size


class Symbol(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A symbol. A wild stands in for every regular symbol; a scatter pays anywhere, never on a line."""

    name: Name
    kind: Literal["wild", "scatter", "regular"]


class Strips(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Circular strips, one per reel, for the paid spin and for free spins."""

    base: tuple[Strip, ...]
    free: tuple[Strip, ...] = ()


class FreeSpins(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Free spins, played at the stake of the spin that won them, as part of its one outcome."""

    award: ByCount
    """Scatters on the paid screen -> spins."""
    multiplier: Positive
    """Applied to every win of a free spin, lines and scatters."""
    spins_max: Positive
    """Most free spins in one round, retriggers included: it bounds the size of an outcome."""
    retrigger: ByCount = {}
    """Scatters on a free screen -> further spins."""


class Gamble(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Double-up after a win: name the colour of a card, double or lose what is at risk. Fair: RTP 1."""

    choices: tuple[str, ...]
    steps_max: Positive
    """Most steps in one round."""
    win_multiple_max: Positive
    """A step is offered only while it cannot raise the win above this, x total stake."""


class GameDefinition(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, eq=False, dict=True
):
    """Everything that decides what a game pays. Make it with `load`, which also checks it."""

    game_id: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=64)]
    version: Positive
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    grid: Grid
    symbols: tuple[Symbol, ...]
    strips: Strips
    paylines: tuple[tuple[int, ...], ...]
    """Row by reel, 0 is the top row. All lines are always played: the line bet is stake / lines."""
    pays: dict[str, ByCount]
    """Symbol -> run length from the left -> multiple of the line bet."""
    stakes_minor: dict[CurrencyCode, tuple[Positive, ...]]
    """Currency -> total stakes on offer, minor units, ascending."""
    rtp_target: Decimal
    """Exact long-run return of this version rounded to 6 decimals, before the cap, gamble left out."""
    max_win_multiple: Positive
    """Cap of a round, x total stake. A win above the cap is the cap."""
    scatter_pays: ByCount = {}
    """Number of scatters -> multiple of the total stake; more than listed pay like the highest listed."""
    free_spins: FreeSpins | None = None
    gamble: Gamble | None = None

    @property
    def offers_choice(self) -> bool:
        """True when a round of this game may wait for a decision of the player."""
        return self.gamble is not None

    def accepts_stake(self, *, currency_code: str, stake_minor: int) -> bool:
        """True when this total stake is on the game's ladder for the currency."""
        return stake_minor in self.stakes_minor.get(currency_code, ())

    @functools.cached_property
    def canonical_hash(self) -> str:
        """SHA-256 (hex) of the content. Comments, layout and key order of the file do not change it, nor do
        fields added to the format later, as long as the file leaves them at their default."""
        content = msgspec.to_builtins(self, str_keys=True)  # counts become text: only such keys are sortable
        return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()

    @functools.cached_property
    def pay_table(self) -> tables.PayTable:
        """Integer look-up tables of the pays."""
        return tables.pay_table(
            names=[symbol.name for symbol in self.symbols],
            wild=self._id_of("wild"),
            scatter=self._id_of("scatter"),
            rows=self.grid.rows,
            pays=self.pays,
            scatter_pays=self.scatter_pays,
            paylines=self.paylines,
        )

    @functools.cached_property
    def base_reels(self) -> tables.ReelSet:
        """Strips of the paid spin, unrolled."""
        return self._reel_set(self.strips.base)

    @functools.cached_property
    def free_reels(self) -> tables.ReelSet:
        """Strips of the free spins, unrolled."""
        return self._reel_set(self.strips.free)

    @functools.cached_property
    def free_spins_award(self) -> tuple[int, ...]:
        """Free spins by number of scatters on the paid screen."""
        return tables.by_count(self.free_spins.award) if self.free_spins else (0,)

    @functools.cached_property
    def free_spins_retrigger(self) -> tuple[int, ...]:
        """Further free spins by number of scatters on a free screen."""
        return tables.by_count(self.free_spins.retrigger) if self.free_spins else (0,)

    def _reel_set(self, strips: tuple[Strip, ...]) -> tables.ReelSet:
        ids = {symbol.name: index for index, symbol in enumerate(self.symbols)}
        return tables.reel_set(strips, rows=self.grid.rows, ids=ids, scatter=self._id_of("scatter"))

    def _id_of(self, kind: str) -> int:
        kinds = [symbol.kind for symbol in self.symbols]
        return kinds.index(kind) if kind in kinds else tables.NO_SYMBOL


class _UniqueKeyLoader(yaml.SafeLoader):
    """The safe loader, but a key given twice is an error: YAML would silently keep the last pay."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                problem = f"key {key} is given twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def load(path: Path) -> GameDefinition:
    """Read and check one game file. Errors: DefinitionError."""
    content = _read_yaml(path)
    try:
        game = msgspec.convert(content, GameDefinition)
    except msgspec.ValidationError as error:
        problem, _, field = str(error).partition(" - at `")
        field = field.replace("`", "").replace("$.", "")
        raise DefinitionError(file=path.name, field=field, problem=problem) from error
    if game.game_id != path.stem:
        raise DefinitionError(file=path.name, field="game_id", problem=f"must be {path.stem}, like the file")
    for fault in checks.faults(game):
        raise DefinitionError(file=path.name, field=fault.field, problem=fault.problem)
    _build_tables(game)
    return game


def load_all(folder: Path) -> dict[str, GameDefinition]:
    """Every `*.yaml` of the folder by game id, in the order of the ids. Errors: DefinitionError."""
    games = [load(path) for path in sorted(folder.glob("*.yaml"))]
    if not games:
        raise DefinitionError(file=str(folder), field="", problem="holds no game file (*.yaml)")
    return {game.game_id: game for game in games}


def _read_yaml(path: Path) -> object:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)  # a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        raise DefinitionError(file=path.name, field="", problem=f"cannot be read: {error}") from error
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise DefinitionError(file=path.name, field=line, problem=error.problem or "not YAML") from error
    except yaml.YAMLError as error:
        raise DefinitionError(file=path.name, field="", problem="not YAML") from error


def _build_tables(game: GameDefinition) -> None:
    """Fill the cached properties now: the first player must not wait, and nothing may fail after a draw."""
    _ = game.canonical_hash, game.pay_table, game.base_reels
    _ = game.free_reels, game.free_spins_award, game.free_spins_retrigger
