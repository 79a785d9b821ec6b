"""Reading a game file: YAML to a checked, frozen definition. What is wrong is named with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec

from services.game.engine import checks, locating
from services.game.engine.definition import BASE, SHIPPED_GAMES, GameDefinition

T = TypeVar("T")


class DefinitionError(ValueError):
    """A game file that cannot be played. The text is one line: file:line, field, what is wrong."""

    def __init__(self, *, file: str, problem: str, line: int | None = None, field: str = "") -> None:
        self.file = file
        self.line = line
        """From 1; None when the file is not readable as YAML at all, or absent."""
        self.field = field
        """Path of the field, as `strips.base[2]`; empty for the whole file."""
        self.problem = problem
        place = file if line is None else f"{file}:{line}"
        super().__init__(": ".join(part for part in (place, field, problem) if part))


class GameFile:
    """A game file, read but not yet known to be a game."""

    def __init__(self, path: Path) -> None:
        """Errors: DefinitionError, when it is no YAML."""
        self.name = path.name
        try:
            self._document = locating.read(path)
        except locating.NotYaml as error:
            raise DefinitionError(file=path.name, line=error.line, problem=error.problem) from error

    @property
    def content(self) -> Any:
        """What the YAML says."""
        return self._document.content

    def wrong(self, field: str, problem: str, item: str = "") -> DefinitionError:
        """What is wrong with a field, or with an item of it: with its line."""
        line = self._document.line(locating.joined(field, item))
        return DefinitionError(file=self.name, line=line, field=field, problem=problem)

    def convert(self, kind: type[T]) -> T:
        """The content as `kind`. Errors: DefinitionError, with the first field that does not fit."""
        try:
            return msgspec.convert(self.content, kind)
        except msgspec.ValidationError as error:
            raise self.wrong(*locating.explained(error, self.content, kind)) from error


def load(path: Path) -> GameDefinition:
    """Read and check one game file. Errors: DefinitionError."""
    file = GameFile(path)
    game = file.convert(GameDefinition)
    if game.game_id != path.stem:
        raise file.wrong("game_id", f"must be {path.stem}, like the file")
    for fault in checks.faults(game):
        raise file.wrong(*fault)
    _build_tables(game)
    return game


def find(name: str) -> GameDefinition:
    """A shipped game by its id, or a file by its path (`*.yaml`). Errors: DefinitionError."""
    if name.endswith(".yaml"):
        return load(Path(name))
    path = SHIPPED_GAMES / f"{name}.yaml"
    if not path.is_file():
        shipped = ", ".join(sorted(path.stem for path in SHIPPED_GAMES.glob("*.yaml")))
        problem = f"no game of this name: give GAME= the path of a .yaml, or one of {shipped}"
        raise DefinitionError(file=name or "GAME", problem=problem)
    return load(path)


def load_all(folder: Path) -> dict[str, GameDefinition]:
    """Every `*.yaml` of the folder by game id, in the order of the ids. Errors: DefinitionError."""
    games = [load(path) for path in sorted(folder.glob("*.yaml"), key=lambda path: path.stem)]
    if not games:
        raise DefinitionError(file=str(folder), problem="holds no game file (*.yaml)")
    return {game.game_id: game for game in games}


def _build_tables(game: GameDefinition) -> None:
    """Fill the cached properties now: the first player must not wait, and nothing may fail after a draw."""
    _ = game.canonical_hash, game.modes_by_name, game.tables
    _ = game.bet_minor(mode=BASE, currency_code="", stake_minor=0)
