"""The games that are served. What one is made of, a definition or published tables, only its class knows."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from services.game.engine import outcome, play
from services.game.engine.definition import GameDefinition, Mode, Profile
from services.game.engine.rng import DrawSource


class Drawn(NamedTuple):
    """What a spin came to: its win (minor units, never above the cap), and the outcome as JSON."""

    win_minor: int
    outcome_json: bytes


class Game(Protocol):
    """A game as rounds see it."""

    @property
    def game_id(self) -> str:
        """Lower case with dashes."""

    @property
    def version(self) -> int:
        """From 1; another content has another version."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def file(self) -> str:
        """Where it was read, for who has to mend it."""

    @property
    def canonical_json(self) -> bytes:
        """Everything that decides what the game pays, in one fixed spelling."""

    @property
    def canonical_hash(self) -> str:
        """SHA-256 (hex) of `canonical_json`: rounds pin it."""

    @property
    def modes_by_name(self) -> Mapping[str, Mode]:
        """Every mode that may be played, `base` first."""

    @property
    def stakes_minor(self) -> Mapping[str, Sequence[int]]:
        """Currency -> bets on offer, minor units, ascending."""

    @property
    def profile(self) -> Profile | None:
        """Which of several returns of one game this is; None when it has only one."""

    @property
    def size(self) -> tuple[int, int, int]:
        """Reels, rows, lines; 0 where the game does not tell."""

    @property
    def declaration(self) -> GameDefinition | None:
        """What the engine plays it by; None where there is none to tell what it looks like."""

    @property
    def offers_choice(self) -> bool:
        """True when a round may wait for the player: then the canonical JSON is a definition."""

    def bet_minor(self, *, mode: str, currency_code: str, stake_minor: int) -> int | None:
        """The bet behind a total stake of a mode that is on offer; None when it is not on the ladder."""

    def draw(self, *, bet_minor: int, mode: str, draws: DrawSource) -> Drawn:
        """One spin, at a bet of the ladder, in a mode on offer. Cannot fail after its first draw (R1)."""

    def whole_outcome(self, outcome_json: bytes) -> bytes:
        """An outcome that `draw` made, with what was too long to be stored with the round."""


class Declared:
    """A game that a definition declares: the engine draws it."""

    def __init__(self, definition: GameDefinition) -> None:
        self.declaration: GameDefinition | None = definition
        self._draw = partial(play.spin, definition)
        self.game_id, self.version, self.name = definition.game_id, definition.version, definition.name
        self.file = f"{definition.game_id}.yaml"
        self.canonical_json, self.canonical_hash = definition.canonical_json, definition.canonical_hash
        self.modes_by_name, self.stakes_minor = definition.modes_by_name, definition.stakes_minor
        self.profile, self.offers_choice = definition.profile, definition.offers_choice
        self.size = definition.grid.reels, definition.grid.rows, len(definition.paylines)
        self.bet_minor = definition.bet_minor

    def draw(self, *, bet_minor: int, mode: str, draws: DrawSource) -> Drawn:
        """One spin. Errors: ValueError, before anything is drawn, for a bet the engine cannot play."""
        spin = self._draw(bet_minor=bet_minor, mode=mode, draws=draws)
        return Drawn(spin.win_minor, outcome.encode_outcome(spin.outcome))

    def whole_outcome(self, outcome_json: bytes) -> bytes:
        """The same: it was stored whole."""
        return outcome_json


def ids_of(text: str) -> frozenset[str]:
    """Ids of games that are separated by commas; blanks beside them are no part of them."""
    return frozenset(filter(None, map(str.strip, text.split(","))))


class Catalogue:
    """The games by id. Withdrawn ones finish their rounds and take no new ones."""

    def __init__(self, games: Iterable[Game], withdrawn: frozenset[str] = frozenset()) -> None:
        self.games: Mapping[str, Game] = {game.game_id: game for game in games}
        self.withdrawn = withdrawn
        self.recorded = False
        """Whether their versions are known to be theirs (definitions.record); nothing is drawn before."""
        # By hash, of rounds that wait for a choice: those of older versions, too (definitions.learn).
        self.definitions: dict[str, GameDefinition] = {}
