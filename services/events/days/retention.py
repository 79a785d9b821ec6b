"""Commands for old days of the log: python -m services.events.days.retention list | archive

The database is REELMESH_EVENTS_DATABASE_URL, a direct connection.
"""

import asyncio
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from services.archiving.dropping import ArchiveError
from services.common import db
from services.common.config import database_url
from services.events.days import archive, store
from services.events.days.options import parse_day

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
console = Console(highlight=False, soft_wrap=True)


@app.command("list")
def list_command() -> None:
    """Every day of the log, with the rows and size of its partition."""
    asyncio.run(_list(_engine()))


@app.command("archive")
def archive_command(directory: Path, before: str = "", keep_days: int = 0) -> None:
    """Write days into DIRECTORY and take them out of the database.

    Either all before a day (--before 2026-11-30) or all but the newest ones (--keep-days 90, with today).
    """
    if bool(before) == (keep_days > 0):
        raise ArchiveError("give either --before or --keep-days, of 1 or more")
    today = datetime.now(UTC).date()
    day = parse_day(before) or today - timedelta(days=min(keep_days - 1, today.toordinal() - 1))
    asyncio.run(_archive(_engine(), directory, day))


def _engine() -> AsyncEngine:
    # A day's export takes as long as it takes.
    return db.create_engine(
        database_url("events"), pool_size=2, application_name="retention", statement_timeout_ms=0
    )


async def _list(engine: AsyncEngine) -> None:
    table = Table("day", "state", "events", "bytes", "positions from")
    try:
        async with engine.connect() as conn:
            for day in await store.list_days(conn):
                rows = (day.manifest or {}).get("rows")
                figures = ("" if rows is None else str(rows), "")
                if not day.archived:
                    size_bytes = await store.find_size_bytes(conn, day)
                    figures = str(await store.count_rows(conn, day)), str(size_bytes)
                state = "archived" if day.archived else "past" if day.past else "open"
                table.add_row(f"{day.day}", state, *figures, str(day.position_start))
    finally:
        await engine.dispose()
    console.print(table)


async def _archive(engine: AsyncEngine, directory: Path, before: date) -> None:
    try:
        with console.status(f"archiving the days before {before}"):
            days = await archive.archive(engine, directory=directory, before=before, tell=console.print)
    finally:
        await engine.dispose()
    if not days:
        console.print(f"nothing to archive before {before}")


if __name__ == "__main__":
    try:
        app()
    except ArchiveError as problem:
        sys.exit(f"retention: {problem}")
    except OperationalError as error:
        sys.exit(f"retention: {db.first_line(error)}")
