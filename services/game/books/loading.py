"""Reading a game of published books: our file, and the folder that it names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import msgspec

from services.game.books import compiling, published
from services.game.books.definition import BooksDefinition
from services.game.books.game import BooksGame
from services.game.books.table import Table
from services.game.engine.checks import AMOUNT_MINOR_MAX
from services.game.engine.definition import BASE, SetName
from services.game.engine.loading import GameFile


def load(path: Path, *, cache: Path) -> BooksGame:
    """Reads a file of ours and checks and compiles the folder that it names. Errors: DefinitionError.

    The first time takes as long as reading every book; while the published files stay the same, only as long
    as hashing them.
    """
    file = GameFile(path)
    definition = file.convert(BooksDefinition)
    if definition.game_id != path.stem:
        raise file.wrong("game_id", f"must be {path.stem}, like the file")
    folder = path.parent / definition.books
    if not folder.is_dir():
        raise file.wrong("books", f"{folder} is no folder")
    names = _names(definition, [mode.name for mode in published.read_index(folder)], file)
    compiled = compiling.compile_folder(folder, cache=cache)
    tables = {
        names[name]: Table(compiled.folder, number, totals)
        for number, (name, totals) in enumerate(compiled.totals.items())
    }
    tables = {BASE: tables.pop(BASE), **tables}
    for field, problem in _faults(definition, tables):
        raise file.wrong(field, problem)
    game = BooksGame(definition, compiled.sources, tables)
    _ = game.canonical_hash, game.bet_minor(mode=BASE, currency_code="", stake_minor=0)  # now, not in a spin
    return game


def _names(definition: BooksDefinition, given: Sequence[str], file: GameFile) -> dict[str, str]:
    """Our name of each published mode."""
    for name in definition.mode_names:
        if name not in given:
            raise file.wrong(f"mode_names.{name}", f"{name} is not a mode of index.json")
    names = {name: definition.mode_names.get(name, name.lower()) for name in given}
    for name, ours in names.items():
        try:
            msgspec.convert(ours, SetName)
        except msgspec.ValidationError as error:
            problem = f"{ours!r} cannot be the name of a mode: {error}"
            raise file.wrong(f"mode_names.{name}", problem) from error
        if list(names.values()).count(ours) > 1:
            raise file.wrong("mode_names", f"more than one mode is named {ours}")
    if BASE not in names.values():
        problem = f"no mode of index.json is named {BASE}: say which of {', '.join(given)} it is"
        raise file.wrong("mode_names", problem)
    return names


def _faults(definition: BooksDefinition, tables: dict[str, Table]) -> Iterator[tuple[str, str]]:
    """(field, problem) of everything that keeps the bets from being played in every mode."""
    if tables[BASE].totals.cost != 1:
        yield "books", f"mode {BASE} costs {tables[BASE].totals.cost}, not 1"
    if not definition.stakes_minor:
        yield "stakes_minor", "must not be empty"
    for currency_code, ladder in definition.stakes_minor.items():
        field = f"stakes_minor.{currency_code}"
        if not ladder:
            yield field, "must not be empty"
        if list(ladder) != sorted(set(ladder)):
            yield field, "must ascend"
        for bet_minor in ladder:
            for mode, table in tables.items():
                problem = _bet_problem(bet_minor, mode, table)
                if problem:
                    yield field, problem


def _bet_problem(bet_minor: int, mode: str, table: Table) -> str:
    totals = table.totals
    if bet_minor % totals.bet_step_minor:
        payout = next(payout for payout in table.payouts_x100() if bet_minor * payout % 100)
        return (
            f"a bet of {bet_minor} x {Fraction(payout, 100)} of mode {mode} is no whole amount:"
            f" bets must be multiples of {totals.bet_step_minor}"
        )
    if bet_minor * Fraction(totals.cost) % 1:
        return f"a bet of {bet_minor} x {totals.cost}, the cost of mode {mode}, is no whole number"
    if max(bet_minor * Fraction(totals.cost), bet_minor * totals.win_max) > AMOUNT_MINOR_MAX:
        return f"a bet of {bet_minor} in mode {mode} stakes or pays more than 2**53"
    return ""
