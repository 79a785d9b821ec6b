"""Writes a declared game as published books: python -m services.game.books.export --help"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import typer
import zstandard

from services.game.books import cycle, published
from services.game.books.events import events_of, hundredths
from services.game.books.totals import Totals
from services.game.engine import loading, play
from services.game.engine.definition import GameDefinition, Mode
from services.game.engine.loading import DefinitionError
from services.game.engine.rng import Draws, DrawSource

BOOKS = 100_000
"""Books of a mode when nobody says how many."""


class Weighted(NamedTuple):
    """A book and its weight. `told` is the JSON of payout and events."""

    told: bytes
    weight: int


class _Told(msgspec.Struct):
    payout_x100: int
    events: msgspec.Raw


def export(
    game: GameDefinition,
    output: Path,
    *,
    modes: list[str] | None = None,
    books_max: int = BOOKS,
    seed: int = 1,
    report: Callable[[str], None] = print,
) -> None:
    """Writes the modes (none named: all) of a game into a folder that is new or empty.

    A mode that has at most `books_max` sequences of draws is written whole: a book for every distinct round,
    weighted by its exact likelihood. Any other is played `books_max` times, each round a book of weight 1,
    from draws that follow from `seed`. Without the gamble, which is a choice and no outcome.

    Errors: ValueError, before anything is written, when a mode does not exist, the folder holds something, or
    a pay of the game is no whole number of hundredths of the bet.
    """
    chosen = [game.modes_by_name.get(name) for name in modes or game.modes_by_name]
    if None in chosen:
        raise ValueError(f"{game.game_id} has the modes {', '.join(game.modes_by_name)}, not {modes}")
    _check_pays(game)
    output.mkdir(parents=True, exist_ok=True)
    if any(output.iterdir()):
        raise ValueError(f"{output} is not empty")
    if game.gamble is not None:
        report("the gamble is left out")
    index = []
    for mode in chosen:
        assert mode is not None
        index.append(
            {
                "name": mode.name,
                "cost": float(mode.cost),
                "events": f"books_{mode.name}.jsonl.zst",
                "weights": f"lookUpTable_{mode.name}_0.csv",
            }
        )
        books, how = _books(game, mode, books_max=books_max, seed=seed)
        totals = _write(output, index[-1], books, cost=mode.cost)
        returns = f"RTP of the table {float(totals.rtp):.6f} = {totals.rtp}, of the game {mode.rtp_target}"
        report(f"{mode.name}: {totals.books} books, {how}; {returns}")
    # Last: a folder without it is not finished.
    (output / published.INDEX).write_bytes(msgspec.json.encode({"modes": index}))


def _check_pays(game: GameDefinition) -> None:
    for name, pays in game.pays.items():
        for count, coins in pays.items():
            try:
                hundredths(coins, coins_per_bet=game.coins_per_bet)
            except ValueError as error:
                raise ValueError(f"{game.game_id}: pays.{name}.{count}: {error}") from error


def _books(game: GameDefinition, mode: Mode, *, books_max: int, seed: int) -> tuple[Iterator[Weighted], str]:
    def draw(draws: DrawSource) -> bytes:
        spin = play.spin(game, bet_minor=game.coins_per_bet, mode=mode.name, draws=draws)
        payout_x100 = hundredths(spin.win_minor, coins_per_bet=game.coins_per_bet)
        return msgspec.json.encode({"payout_x100": payout_x100, "events": events_of(game, spin.outcome)})

    weights = cycle.weigh(draw, rounds_max=books_max)
    if weights is not None:
        return (Weighted(*item) for item in weights.items()), "every round of the game, exactly weighted"
    source = random.Random(f"{seed} {mode.name}")
    sampled = (Weighted(draw(Draws(source.randbytes)), 1) for _ in range(books_max))
    return sampled, f"played, of equal weight, seed {seed}"


def _write(output: Path, names: dict[str, object], books: Iterator[Weighted], *, cost: Decimal) -> Totals:
    totals = Totals(cost=cost)
    compressor = zstandard.ZstdCompressor(level=9)
    with (
        (output / str(names["weights"])).open("w", encoding="ascii", newline="\n") as table,
        (output / str(names["events"])).open("wb") as file,
        compressor.stream_writer(file) as lines,
    ):
        for book_id, book in enumerate(books):
            told = msgspec.json.decode(book.told, type=_Told)
            row = published.Row(book_id, book.weight, told.payout_x100)
            totals.add(row)
            table.write(f"{row.book_id},{row.weight},{row.payout_x100}\n")
            line = {"id": book_id, "payoutMultiplier": told.payout_x100, "events": told.events}
            lines.write(msgspec.json.encode(line) + b"\n")
    return totals


def main(
    game: Annotated[str, typer.Option(help="Id of a game that comes with the platform, or a game file.")],
    output: Annotated[Path, typer.Option(help="Folder to write, new or empty.")],
    mode: Annotated[str, typer.Option(help="One mode; none: every mode.")] = "",
    books: Annotated[int, typer.Option(min=1, help="Most books of a mode.")] = BOOKS,
    seed: Annotated[int, typer.Option(help="Of the draws, where not every round is written.")] = 1,
) -> None:
    """Writes a game as published outcome tables (docs/outcome_tables.md)."""
    try:
        export(loading.find(game), output, modes=[mode] if mode else None, books_max=books, seed=seed)
    except (ValueError, DefinitionError, OSError) as error:
        sys.exit(f"export-books: {error}")


if __name__ == "__main__":
    typer.run(main)
