"""`make par-sheet`: write the sheets of all shipped games, or of one game."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from services.game.engine import loading
from services.game.engine.definition import SHIPPED_GAMES
from services.game.maths.sheet.page import page

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    game: Annotated[str, typer.Option(help="Id of a shipped game, or a path to a .yaml; default: all.")] = "",
    output: Annotated[Path, typer.Option(help="Folder of the sheets.")] = Path("docs/par"),
) -> None:
    """Write one page per game."""
    try:
        games = [loading.find(game)] if game else list(loading.load_all(SHIPPED_GAMES).values())
    except ValueError as error:
        sys.exit(f"par-sheet: {error}")
    output.mkdir(parents=True, exist_ok=True)
    for found in games:
        path = output / f"{found.game_id}.md"
        try:
            text = page(found)
        except ValueError as error:  # what has no exact method is simulated, unless its amounts are too large
            sys.exit(f"par-sheet: {error}")
        path.write_text(text, encoding="utf-8")
        print(f"written: {path}", flush=True)


if __name__ == "__main__":
    app()
