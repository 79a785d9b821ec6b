"""A stored round derived again, as a command: python -m services.game.replay ROUND [--json FILE]

The database is REELMESH_GAME_DATABASE_URL; game may run or not, nobody is asked. Exit code 0 when everything
stored is what the draw log and the definition give, 1 when something differs, 2 when there is no such round,
when its stake is not known to be taken or not (its outcome is nobody's yet), or without a database.
With the seal key (--keys-file, or REELMESH_SEAL_KEY) it tells the draw's hash as spans carry it; --draw-hash
compares one of those.
"""

import asyncio
import json
import os
import sys
import uuid
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy.exc import OperationalError

from services.common import db
from services.common.config import database_url
from services.game import games_folder, store
from services.game.engine import rng
from services.game.engine.loading import DefinitionError
from services.game.replay import replays
from services.game.replay import store as replay_store
from services.game.replay.replays import Check, Stored

NOT_TOLD = 2
LINE_LENGTH = 150

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def replay(
    round_id: Annotated[str, typer.Argument(help="The round's id.")],
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write the report there.")] = None,
    keys_file: Annotated[Path | None, typer.Option(help="The keys of `make run`.")] = None,
    draw_hash: Annotated[str, typer.Option(help="A draw hash of a span, to compare.")] = "",
) -> None:
    """Derive one round again and compare."""
    try:
        stored = asyncio.run(_read(database_url("game"), str(uuid.UUID(round_id))))
    except ValueError:
        _refuse(f"{round_id!r} is no round id")
    if stored is None:
        _refuse(f"no round {round_id}")
    if replays.is_hidden(stored.round):
        _refuse(f"round {round_id} is {stored.round.state}: its stake is not known to be taken or not")
    folders = [
        os.environ.get(f"REELMESH_GAME_{name}") or os.environ.get(f"REELMESH_{name}", "")
        for name in ("GAMES_FOLDER", "BOOKS_CACHE_FOLDER")
    ]
    try:
        checks = replays.replay(stored, lambda: games_folder.load(folders[0], books_cache_folder=folders[1]))
    except DefinitionError as error:
        _refuse(str(error))
    hashed = _draw_hash(stored, keys_file)
    if draw_hash:
        checks.append(Check("draw hash", draw_hash == hashed, draw_hash, hashed or "no seal key"))
    report = _report(stored, checks, hashed)
    _print(report)
    if json_path is not None:
        json_path.write_text(json.dumps(report, indent=2) + "\n")
    sys.exit(0 if report["same"] else 1)


async def _read(url: str, round_id: str) -> Stored | None:
    engine = db.create_engine(url, pool_size=1, application_name="game-replay")
    try:
        async with engine.connect() as conn:
            await conn.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            round_ = await store.find_round(conn, round_id)
            if round_ is None:
                return None
            return Stored(
                round_,
                await replay_store.find_draws(conn, round_id),
                await replay_store.list_steps(conn, round_id),
                await replay_store.find_definition(conn, round_.game_id, round_.game_version),
            )
    finally:
        await engine.dispose()


def _draw_hash(stored: Stored, keys_file: Path | None) -> str:
    """As the span of the draw carries it; empty without the key, or when nothing was drawn."""
    key = os.environ.get("REELMESH_GAME_SEAL_KEY") or os.environ.get("REELMESH_SEAL_KEY", "")
    if keys_file is not None:
        key = json.loads(keys_file.read_text())["seal_key"]
    if not key or stored.draws is None:
        return ""
    round_id_bytes = uuid.UUID(stored.round.round_id).bytes
    return rng.draw_hash(key=key.encode(), round_id_bytes=round_id_bytes, draws_bytes=stored.draws)


def _report(stored: Stored, checks: list[Check], draw_hash: str) -> dict[str, Any]:
    """What is printed and written. Draws and outcome are in it only when the stake was taken (R2)."""
    round_ = stored.round
    report: dict[str, Any] = {
        "round_id": round_.round_id,
        "state": str(round_.state),
        "game_id": round_.game_id,
        "game_version": round_.game_version,
        "definition_hash": round_.definition_hash,
        "mode": round_.mode,
        "currency_code": round_.currency_code,
        "stake_minor": round_.stake_minor,
        "draw_hash": draw_hash,
        "same": all(check.same for check in checks),
        "checks": [check._asdict() for check in checks],
    }
    if round_.stake_applied:
        report |= {"win_minor": round_.win_minor, "paid_minor": round_.paid_minor}
        report |= {"draws": _draws(stored.draws), "outcome": _decoded(round_.outcome)}
        report["steps"] = [step._asdict() | {"draws": _draws(step.draws)} for step in stored.steps]
    return report


def _draws(draws: bytes | None) -> object:
    try:
        return rng.decode_draws(draws) if draws else []
    except msgspec.DecodeError:
        return "not readable"


def _decoded(outcome: bytes | None) -> object:
    try:
        return json.loads(outcome or b"null")
    except ValueError:
        return "not readable"


def _print(report: dict[str, Any]) -> None:
    console = Console(highlight=False, width=max(LINE_LENGTH, Console().width))
    for name in ("round_id", "state", "game_id", "game_version", "mode", "stake_minor", "draw_hash"):
        console.print(f"{name:12} {report[name]}", markup=False, soft_wrap=True)
    if "draws" in report:
        console.print(f"{'draws':12} {report['draws']}", markup=False, soft_wrap=True)
        console.print(f"{'outcome':12} {json.dumps(report['outcome'])}", markup=False, soft_wrap=True)
    table = Table("", "compared", "stored", "derived", box=None)
    for check in report["checks"]:
        marks = ("ok", None) if check["same"] else ("DIFFERS", "red")
        table.add_row(marks[0], check["name"], check["stored"], check["derived"], style=marks[1])
    console.print(table)
    verdict = "everything stored is what was drawn" if report["same"] else "what is stored was not drawn so"
    console.print(f"replay: {verdict}")


def _refuse(problem: str) -> NoReturn:
    print(f"replay: {problem}", file=sys.stderr)
    sys.exit(NOT_TOLD)


if __name__ == "__main__":
    try:
        app()
    except OperationalError as error:
        _refuse(db.first_line(error))
