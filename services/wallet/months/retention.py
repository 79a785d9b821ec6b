"""Commands for old months of the ledger: python -m services.wallet.months.retention list | archive

The database is REELMESH_WALLET_DATABASE_URL, a direct connection.
"""

import asyncio
import re
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from services.archiving.dropping import ArchiveError
from services.common import db
from services.common.config import database_url
from services.wallet.months import archive, store

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
# Two ids of 36 characters, and five columns beside them.
WIDTH_MIN = 150
console = Console(highlight=False, soft_wrap=True)


@app.command("list")
def list_command() -> None:
    """Every month of the ledger, with the rows and size of its partitions."""
    asyncio.run(_list(_engine()))


@app.command("archive")
def archive_command(directory: Path, before: str = "", keep_months: int = 0) -> None:
    """Write months into DIRECTORY and take them out of the database.

    Either all before a month (--before 2026-01) or all but the newest ones (--keep-months 13, with this one).
    """
    if bool(before) == (keep_months > 0):
        raise ArchiveError("give either --before or --keep-months, of 1 or more")
    month = _month(before) if before else _months_ago(datetime.now(UTC).date(), keep_months - 1)
    asyncio.run(_archive(_engine(), directory, month))


def _engine() -> AsyncEngine:
    url = database_url("wallet")
    # A month's export takes as long as it takes.
    return db.create_engine(url, pool_size=2, application_name="retention", statement_timeout_ms=0)


async def _list(engine: AsyncEngine) -> None:
    table = Table("month", "state", "ids from", "to", "table", "rows", "bytes")
    try:
        async with engine.connect() as conn:
            for month in await store.list_months(conn):
                state = "archived" if month.archived else "closed" if month.closed else "open"
                facts = (month.name, state, month.id_min, month.id_end)
                if month.archived:
                    table.add_row(*facts)
                    continue
                for name in store.TABLES:
                    rows = await store.count_rows(conn, month, name)
                    size_bytes = await store.find_size_bytes(conn, month, name)
                    table.add_row(*facts, name, str(rows), str(size_bytes))
    finally:
        await engine.dispose()
    # As wide as it is: an id that is cut to the width of a terminal cannot be copied.
    Console(highlight=False, width=max(console.width, WIDTH_MIN)).print(table, crop=False)


async def _archive(engine: AsyncEngine, directory: Path, before: date) -> None:
    try:
        with console.status(f"archiving the months before {before:%Y-%m}"):
            months = await archive.archive(engine, directory=directory, before=before, tell=console.print)
    finally:
        await engine.dispose()
    if not months:
        console.print(f"nothing to archive before {before:%Y-%m}")


def _month(text: str) -> date:
    """The first day of a month written 2026-01."""
    found = re.fullmatch(r"(\d{4})-(0[1-9]|1[0-2])", text)
    if found is None:
        raise ArchiveError(f"{text!r} is no month: write 2026-01")
    return date(int(found[1]), int(found[2]), 1)


def _months_ago(day: date, months: int) -> date:
    """The first day of the month that lies so many months back."""
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    if year < 1:
        raise ArchiveError("there is no month so long ago")
    return date(year, month + 1, 1)


if __name__ == "__main__":
    try:
        app()
    except ArchiveError as problem:
        sys.exit(f"retention: {problem}")
    except OperationalError as error:
        sys.exit(f"retention: {db.first_line(error)}")
