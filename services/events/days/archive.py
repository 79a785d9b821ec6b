"""Archiving: days of the log that are over become files, and heads from which their chains go on.

A day at a time, oldest first, in steps that may each be the last before a crash and are then done again:
close it (no position of it is given out any more), write its file, read that back and follow every chain
through it, and only then, in one transaction, keep the heads and drop the partition.
"""

import csv
import gzip
import zlib
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from services.archiving import archive_files
from services.archiving.dropping import ArchiveError, Tell, alone, drop
from services.common import db, failpoints
from services.events import chain
from services.events.chain import Fault
from services.events.days import store as days_store
from services.events.days.store import Day
from services.events.records import GENESIS, Event, Head, StoredEvent
from services.events.webhooks import store as webhook_store

FILE_NAME = "event.csv.gz"
_NUMBERS = frozenset(
    ("batch_no", "batch_index", "batch_size", "account_id", "account_version", "event_time_us")
)
# A payload may be as long as a message.
csv.field_size_limit(1 << 24)


async def archive(engine: AsyncEngine, *, directory: Path, before: date, tell: Tell) -> list[date]:
    """Archives the days before `before` that are not yet, each into a directory of its own; returns them.

    Errors: ArchiveError. The days before the one it names stay archived.
    """
    async with alone(engine, days_store.lock_archive) as conn:
        days = [day for day in await days_store.list_days(conn) if day.day < before and not day.archived]
        for day in days:
            if not day.past:
                raise ArchiveError(f"{day.day} is not over")
            await _archive_day(engine, day, directory / f"{day.day}", tell)
    return [day.day for day in days]


async def _archive_day(engine: AsyncEngine, day: Day, directory: Path, tell: Tell) -> None:
    async with db.transaction(engine, "events.close_day", links=()) as conn:
        await days_store.close_day(conn, day)
        last = await days_store.find_position_last(conn, day)
        behind = await webhook_store.list_behind(conn, position=last)
    if behind:
        webhooks = "".join(f"\n  {webhook_id} of {operator_id}" for webhook_id, operator_id in behind)
        raise ArchiveError(f"{day.day} is not delivered to all webhooks; pause who is to miss it:{webhooks}")
    archive_files.make_directory(directory)
    path = directory / FILE_NAME
    async with engine.connect() as conn:
        # What is closed does not change, and reading files may take longer than a transaction may idle.
        await conn.execution_options(isolation_level="AUTOCOMMIT")
        rows = await days_store.count_rows(conn, day)
        sha256 = await archive_files.write_csv(path, days_store.copy_day(conn, day))
        before = await days_store.find_heads(conn, day=day.day)
    await failpoints.reach("mid_archive", "event")
    heads, read = _read_back(path, before, sha256)
    if read != rows:
        raise ArchiveError(f"{path}: {read} events, the table has {rows}")
    manifest = {
        "day": f"{day.day}",
        "file": path.name,
        "rows": rows,
        "size_bytes": path.stat().st_size,
        "sha256": archive_files.file_sha256(path),
        "heads": {
            source: head._asdict() | {"hash": head.hash.hex()} for source, head in sorted(heads.items())
        },
    }
    archive_files.write_json(directory / "manifest.json", manifest)
    tell(f"{day.day}: {rows} events written, read back and followed")
    await failpoints.reach("mid_archive", "manifest")
    await _remove(engine, day, heads, manifest)
    tell(f"{day.day}: archived in {directory}")


def _read_back(path: Path, before: Mapping[str, Head], sha256: str) -> tuple[dict[str, Head], int]:
    """Where the chains stand behind a file's events, and how many there are. Errors: ArchiveError."""
    heads, rows = dict(before), 0
    try:
        if archive_files.text_sha256(path) != sha256:
            raise ArchiveError(f"{path}: it does not read as it was written")
        for stored in read_events(path):
            found = chain.follow(heads.get(stored.source, GENESIS), stored)
            if isinstance(found, Fault):
                raise ArchiveError(f"the chain of {found.source} is broken: make verify-events names where")
            heads[stored.source] = found
            rows += 1
    except (gzip.BadGzipFile, EOFError, zlib.error, ValueError, KeyError, csv.Error):
        raise ArchiveError(f"{path}: it does not read as it was written") from None
    return heads, rows


def read_events(path: Path) -> Iterator[StoredEvent]:
    """The events of an archived day's file. Errors: as gzip, csv, ValueError and KeyError of another file."""
    for row in archive_files.read_rows(path):
        fields: dict[str, Any] = {name: row[name] for name in Event._fields}
        fields |= {name: int(row[name]) for name in _NUMBERS}
        fields |= {name: row[name] or None for name in ("session_id", "round_id")}
        yield StoredEvent(int(row["position"]), row["source"], bytes.fromhex(row["hash"]), Event(**fields))


async def _remove(
    engine: AsyncEngine, day: Day, heads: Mapping[str, Head], manifest: Mapping[str, Any]
) -> None:
    """Keeps where the chains stand and drops a day's partition. Errors: ArchiveError"""
    async with db.transaction(engine, "events.archive_day", links=()) as conn:
        await days_store.add_heads(conn, day, heads)
        await days_store.update_archived(conn, day, manifest=manifest)
        # While the partition is locked nobody appends.
        if not await drop(
            conn, lambda wait_ms: days_store.drop_partition(conn, day, lock_timeout_ms=wait_ms)
        ):
            raise ArchiveError(f"{day.day}: somebody reads the log all the time; nothing was dropped")
