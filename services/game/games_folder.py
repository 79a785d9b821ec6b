"""The games of a folder, each file of either kind: a declared game, or one of published books."""

from pathlib import Path

from services.game.books import loading as books
from services.game.books.compiling import default_cache
from services.game.catalogue import Declared, Game
from services.game.engine import loading
from services.game.engine.definition import SHIPPED_GAMES
from services.game.engine.loading import DefinitionError


def load(folder: str, *, books_cache_folder: str) -> list[Game]:
    """Every `*.yaml` of the folder in the order of the ids; both folders as the settings name them.

    A file that names `books` is a game of books: these are compiled. Errors: DefinitionError.
    """
    path = Path(folder) if folder else SHIPPED_GAMES
    cache = Path(books_cache_folder) if books_cache_folder else default_cache()
    games: list[Game] = []
    for file in sorted(path.glob("*.yaml"), key=lambda file: file.stem):
        content = loading.GameFile(file).content
        if isinstance(content, dict) and "books" in content:
            games.append(books.load(file, cache=cache))
        else:
            games.append(Declared(loading.load(file)))
    if not games:
        raise DefinitionError(file=str(path), problem="holds no game file (*.yaml)")
    return games
