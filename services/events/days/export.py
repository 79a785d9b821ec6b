"""A day of the log as Parquet: python -m services.events.days.export --day 2026-11-30 --output day.parquet

The database is REELMESH_EVENTS_DATABASE_URL. A day that is archived is read from its file instead. Needs
DuckDB, which no service does: it is among the tools of lock/dev.txt.
"""

import asyncio
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.exc import OperationalError

from services.archiving import archive_files
from services.archiving.dropping import ArchiveError
from services.common import db
from services.common.config import database_url
from services.events.days import archive, store
from services.events.days.options import parse_day

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_TYPES = {
    "position": "BIGINT",
    "source": "VARCHAR",
    "hash": "VARCHAR",
    "event_id": "UUID",
    "batch_no": "BIGINT",
    "batch_index": "INTEGER",
    "batch_size": "INTEGER",
    "event_type": "VARCHAR",
    "operator_id": "VARCHAR",
    "account_id": "BIGINT",
    "account_version": "BIGINT",
    "player_id": "VARCHAR",
    "session_id": "UUID",
    "round_id": "UUID",
    "event_time_us": "BIGINT",
    "payload_json": "VARCHAR",
    "traceparent": "VARCHAR",
}
# Times beside the numbers that hashes are made of. Only ids may be null: a text that is empty is empty.
_COPY = """
copy (select * replace (coalesce(player_id, '') as player_id, coalesce(traceparent, '') as traceparent),
    make_timestamptz(position) as append_time, make_timestamptz(event_time_us) as event_time
  from read_csv($file, header = true, delim = ',', quote = '"', escape = '"', max_line_size = 16777216,
    columns = $types))
to '{output}' (format parquet, compression zstd)"""


@app.command()
def export(
    day: Annotated[str, typer.Option(help="the UTC day on which events were stored, 2026-11-30")],
    output: Annotated[Path, typer.Option(help="a file, complete or not there")],
    directory: Annotated[Path | None, typer.Option(help="where the day is archived, if it is")] = None,
) -> None:
    """Write a day's events, in the order of their positions, as Parquet."""
    wanted = parse_day(day)
    if wanted is None:
        sys.exit("export: give a day: 2026-11-30")
    if directory is not None:
        rows = write_parquet(directory / f"{wanted}" / archive.FILE_NAME, output)
    else:
        with tempfile.TemporaryDirectory(prefix="reelmesh-export-") as scratch:
            path = Path(scratch) / archive.FILE_NAME
            asyncio.run(_write_csv(wanted, path))
            rows = write_parquet(path, output)
    print(f"{output}: {rows} events", file=sys.stderr)


def write_parquet(path: Path, output: Path) -> int:
    """A day's file as Parquet; how many events it has. Errors: ArchiveError"""
    try:
        import duckdb
    except ImportError:
        raise ArchiveError("DuckDB is not installed: see lock/dev.txt") from None
    part = output.with_name(f"{output.name}.part")
    try:
        with duckdb.connect(config={"autoinstall_known_extensions": False}) as connection:
            # In the order of the file, whatever the number of threads; the name must be a literal there.
            statement = _COPY.format(output=str(part).replace("'", "''"))
            connection.execute(statement, {"file": str(path), "types": _TYPES})
            [(rows,)] = connection.execute("select count(*) from read_parquet($1)", [str(part)]).fetchall()
        read = sum(1 for _ in archive.read_events(path))
        if rows != read:
            raise ArchiveError(f"{path}: {read} events, {rows} were written")
        part.replace(output)
    except (duckdb.Error, OSError) as problem:
        raise ArchiveError(str(problem).splitlines()[0]) from None
    finally:
        part.unlink(missing_ok=True)
    return int(rows)


async def _write_csv(wanted: date, path: Path) -> None:
    engine = db.create_engine(
        database_url("events"), pool_size=1, application_name="export", statement_timeout_ms=0
    )
    try:
        async with engine.connect() as conn:
            await conn.execution_options(isolation_level="AUTOCOMMIT")
            for day in await store.list_days(conn):
                if day.day == wanted and not day.archived:
                    await archive_files.write_csv(path, store.copy_day(conn, day))
                    return
                if day.day == wanted:
                    raise ArchiveError(f"{day.day} is archived: say in which --directory")
        raise ArchiveError(f"the log has no {wanted}")
    finally:
        await engine.dispose()


if __name__ == "__main__":
    try:
        app()
    except ArchiveError as problem:
        sys.exit(f"export: {problem}")
    except OperationalError as error:
        sys.exit(f"export: {db.first_line(error)}")
