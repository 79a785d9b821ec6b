"""Archiving: closed months of the ledger become files, and sums that account for them.

A month at a time, oldest first, in steps that may each be the last before a crash and are then done again:
close it (nothing is added, its ids are expired), write its files, read them back, and only then, in one
transaction, add its sums to the openings and drop its partitions.
"""

import csv
import gzip
import zlib
from collections import Counter
from datetime import date
from operator import add
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.archiving import archive_files
from services.archiving.dropping import ArchiveError, Tell, alone, drop
from services.common import db, failpoints
from services.wallet import store
from services.wallet.months import store as months_store
from services.wallet.months.store import TABLES, Month, Sum
from services.wallet.records import Kind

ACCOUNTS_PER_QUERY = 10_000


async def archive(engine: AsyncEngine, *, directory: Path, before: date, tell: Tell) -> list[date]:
    """Archives the months before `before` that are not yet, each into a directory of its own; returns them.

    Errors: ArchiveError. The months before the one it names stay archived.
    """
    async with alone(engine, months_store.lock_archive) as conn:
        months = [m for m in await months_store.list_months(conn) if m.month < before and not m.archived]
        for month in months:
            if not month.past:
                raise ArchiveError(f"{month.name} is not over")
            await _archive_month(engine, month, directory / month.name, tell)
    return [month.month for month in months]


async def _archive_month(engine: AsyncEngine, month: Month, directory: Path, tell: Tell) -> None:
    if not month.closed:
        await close_month(engine, month)
        tell(f"{month.name}: closed, its ids are expired")
    archive_files.make_directory(directory)
    manifest: dict[str, Any] = {"month": month.name, "id_end": month.id_end, "files": {}}
    async with engine.connect() as conn:
        # What is closed does not change, and reading files may take longer than a transaction may idle.
        await conn.execution_options(isolation_level="AUTOCOMMIT")
        for table in TABLES:
            manifest["files"][table] = entry = await _export(conn, month, table, directory)
            tell(f"{month.name}: {entry['rows']} rows of {table} written and read back")
        sums = await months_store.list_sums(conn, month)
        if sums != await _sums_of(conn, directory / _file_name("posting")):
            raise ArchiveError(f"{directory}: the postings do not add up to what the table's do")
    manifest["sums"] = [one._asdict() | {"kind": one.kind.name} for one in sums]
    archive_files.write_json(directory / "manifest.json", manifest)
    await failpoints.reach("mid_archive", "manifest")
    await _remove(engine, month, manifest)
    tell(f"{month.name}: archived in {directory}")


async def close_month(engine: AsyncEngine, month: Month) -> None:
    """Expires a month's ids and keeps rows out of it; nothing of that while one of its rounds is not over."""
    async with db.transaction(engine, "wallet.close_month", links=()) as conn:
        await months_store.fence_month(conn, month)
        await months_store.lock_unfinished(conn)
        # Behind the fence and the lock, so that nothing is begun after we looked.
        unfinished = await months_store.list_unfinished(conn, month)
        if unfinished:
            rounds = "".join(f"\n  {round_id}: {why}" for round_id, why in unfinished)
            raise ArchiveError(f"{month.name} has rounds that are not over:{rounds}")
        await months_store.update_closed(conn, month)


async def _export(conn: AsyncConnection, month: Month, table: str, directory: Path) -> dict[str, Any]:
    """Writes a partition to its file and reads it back; its entry in the manifest. Errors: ArchiveError."""
    path = directory / _file_name(table)
    rows = await months_store.count_rows(conn, month, table)
    sha256 = await archive_files.write_csv(path, months_store.copy_partition(conn, month, table))
    await failpoints.reach("mid_archive", table)
    try:
        whole = archive_files.text_sha256(path) == sha256
        whole = whole and sum(1 for _ in archive_files.read_rows(path)) == rows
    except (gzip.BadGzipFile, EOFError, zlib.error, ValueError, csv.Error):
        whole = False
    if not whole:
        raise ArchiveError(f"{path}: it does not read as it was written")
    return {
        "file": path.name,
        "rows": rows,
        "size_bytes": path.stat().st_size,
        "sha256": archive_files.file_sha256(path),
    }


async def _sums_of(conn: AsyncConnection, path: Path) -> list[Sum]:
    """What the postings in a file add up to, per currency and kind."""
    postings, credits_minor, debits_minor = Counter[int](), Counter[int](), Counter[int]()
    for row in archive_files.read_rows(path):
        account_id, amount_minor = int(row["account_id"]), int(row["amount_minor"])
        postings[account_id] += 1
        credits_minor[account_id] += max(amount_minor, 0)
        debits_minor[account_id] += max(-amount_minor, 0)
    sums: dict[tuple[str, Kind], Sum] = {}
    account_ids = sorted(postings)
    for start in range(0, len(account_ids), ACCOUNTS_PER_QUERY):
        some = account_ids[start : start + ACCOUNTS_PER_QUERY]
        for account_id, names in (await store.list_account_names(conn, account_ids=some)).items():
            key = names.currency_code, names.kind
            _, _, *before = sums.get(key) or Sum(*key, 0, 0, 0)
            added = postings[account_id], credits_minor[account_id], debits_minor[account_id]
            sums[key] = Sum(*key, *map(add, before, added))
    return sorted(sums.values())


async def _remove(engine: AsyncEngine, month: Month, manifest: dict[str, Any]) -> None:
    """Adds a month's sums to the openings and drops its partitions. Errors: ArchiveError"""
    async with db.transaction(engine, "wallet.archive_month", links=()) as conn:
        await months_store.add_openings(conn, month)
        await months_store.update_archived(conn, month, manifest=manifest)
        # While the partitions are locked nobody settles.
        if not await drop(
            conn, lambda wait_ms: months_store.drop_partitions(conn, month, lock_timeout_ms=wait_ms)
        ):
            raise ArchiveError(f"{month.name}: somebody reads the ledger all the time; nothing was dropped")


def _file_name(table: str) -> str:
    return f"{table}.csv.gz"
