"""Checks a published folder, and compiles it ahead of the first start: python -m services.game.books.check"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from services.game.books import compiling
from services.game.engine.loading import DefinitionError


def main(
    folder: Annotated[Path, typer.Argument(help="The folder with index.json.")],
    cache: Annotated[Path | None, typer.Option(envvar="REELMESH_GAME_BOOKS_CACHE_FOLDER")] = None,
) -> None:
    """Tells what a folder of published outcome tables comes to; one line when it is at fault."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        compiled = compiling.compile_folder(folder, cache=cache or compiling.default_cache())
    except DefinitionError as error:
        sys.exit(f"check-books: {error}")
    for name, mode in compiled.totals.items():
        rtp, hits = f"RTP {float(mode.rtp):.6f} = {mode.rtp}", f"hits {100 * float(mode.hit_frequency):.2f} %"
        wins = f"deviation {mode.deviation:.2f}, most {float(mode.win_max):g} x"
        print(f"{name}: {mode.books} books, cost {mode.cost}, {rtp}, {hits}, {wins},", end=" ")
        print(f"bets in steps of {mode.bet_step_minor}")


if __name__ == "__main__":
    typer.run(main)
