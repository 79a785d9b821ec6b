"""Statements and days as CSV: python -m services.wallet.reads.export statement | day

RFC 4180 with a header; times in UTC, amounts in minor units and as decimals. The database is
REELMESH_WALLET_DATABASE_URL: not an argument, since the process list shows arguments.
"""

import asyncio
import csv
import os
import re
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, fields
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, TextIO

import typer
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from services.common import db
from services.common.config import database_url
from services.common.currencies import CURRENCIES
from services.common.errors import DomainError
from services.wallet import store
from services.wallet.errors import AccountNotFound
from services.wallet.reads import messages, statements
from services.wallet.reads import store as reads_store
from services.wallet.records import DailyTotals, DayPosting, Kind, Movement, MovementType

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)

# What a spreadsheet takes for a formula; the apostrophe too, so that what was added can be taken off again.
_FORMULA_STARTS = ("=", "+", "-", "@", "'", "\t", "\r", "\n")

Operator = Annotated[str, typer.Option(help="whose")]
Day = Annotated[str, typer.Option(help="the UTC day, 2026-11-30")]
OneCurrency = Annotated[str, typer.Option(help="only this one")]
Output = Annotated[Path | None, typer.Option(help="a file, complete or not there; by default stdout")]


@app.command("statement")
def statement_command(
    operator: Operator,
    account: Annotated[str, typer.Option(help="its id, as in the column account_id of a day")] = "",
    player: Annotated[str, typer.Option(help="instead of the id; with --currency")] = "",
    currency: Annotated[str, typer.Option(help="of the player's account for real money")] = "",
    start: Annotated[str, typer.Option(help="from here on, ISO 8601, UTC where it names no zone")] = "",
    end: Annotated[str, typer.Option(help="up to before here")] = "",
    output: Output = None,
) -> None:
    """The movements of a player's account, oldest first."""
    if bool(account) == bool(player) or bool(player) != bool(currency):
        sys.exit("export: give either --account, or --player and --currency")
    if account and not re.fullmatch("[1-9][0-9]{0,17}", account):
        sys.exit(f"export: {account!r} is no account's id: the column account_id of a day's CSV has them")
    start_time = _time(start) if start else statements.BEGINNING
    end_time = _time(end) if end else statements.END

    async def write(conn: AsyncConnection, file: TextIO) -> None:
        account_id = int(account) if account else await _find_account(conn, operator, player, currency)
        await write_statement(
            conn,
            file,
            operator_id=operator,
            account_id=account_id,
            start_time=start_time,
            end_time=end_time,
        )

    _run(write, output)


@app.command("day")
def day_command(
    operator: Operator,
    day: Day,
    currency: OneCurrency = "",
    output: Output = None,
) -> None:
    """Both sides of a day's postings of real money; on stderr their checksums, as GetDailyTotals has them."""

    async def write(conn: AsyncConnection, file: TextIO) -> None:
        checksums = await write_day(
            conn, file, operator_id=operator, day=messages.parse_day(day), currency_code=currency
        )
        for currency_code, (count, checksum) in sorted(checksums.items()):
            print(f"{currency_code}: checksum {checksum} of {count} postings", file=sys.stderr)
        if not checksums:
            print(f"operator {operator} has no postings of real money on {day}", file=sys.stderr)

    _run(write, output)


@app.command("totals")
def totals_command(
    operator: Operator,
    day: Day,
    currency: OneCurrency = "",
    output: Output = None,
) -> None:
    """A day's sums of real money, a line per currency, in minor units: what GetDailyTotals answers."""

    async def write(conn: AsyncConnection, file: TextIO) -> None:
        totals = await statements.get_daily_totals(
            conn, operator_id=operator, day=messages.parse_day(day), currency_code=currency
        )
        writer = csv.writer(file)
        *names, _ = [field.name for field in fields(DailyTotals)]
        writer.writerow([*names, "checksum"])
        for row in totals:
            *figures, hash_sum = astuple(row)
            writer.writerow([*figures, statements.checksum(hash_sum)])

    _run(write, output)


async def _find_account(conn: AsyncConnection, operator_id: str, player_id: str, currency_code: str) -> int:
    """Errors: ACCOUNT_NOT_FOUND"""
    await _begin(conn)
    account = await store.find_player_account(
        conn, operator_id=operator_id, player_id=player_id, currency_code=currency_code, kind=Kind.REAL
    )
    if account is None:
        raise AccountNotFound()
    return account.account_id


async def write_statement(
    conn: AsyncConnection,
    file: TextIO,
    *,
    operator_id: str,
    account_id: int,
    start_time: datetime,
    end_time: datetime,
) -> None:
    """An account's movements from start to before end, oldest first. Errors: ACCOUNT_NOT_FOUND"""
    await _begin(conn)
    account = await statements.get_player_account(conn, operator_id=operator_id, account_id=account_id)
    writer = csv.writer(file)
    writer.writerow([*columns(Movement), "currency_code"])
    movements = reads_store.stream_movements(
        conn, account_id=account_id, start_time=start_time, end_time=end_time
    )
    async for movement in movements:
        writer.writerow([*cells(movement, account.currency_code), account.currency_code])


async def write_day(
    conn: AsyncConnection, file: TextIO, *, operator_id: str, day: date, currency_code: str
) -> dict[str, tuple[int, str]]:
    """Both sides of a day's postings, oldest first; their number and checksum by currency.

    Errors: FIELD_INVALID of a day in the future.
    """
    await _begin(conn)
    start_time, end_time = await statements.get_times_of(conn, day=day)
    writer = csv.writer(file)
    writer.writerow(columns(DayPosting))
    counts, hash_sums = Counter[str](), Counter[str]()
    postings = reads_store.stream_day(
        conn, operator_id=operator_id, start_time=start_time, end_time=end_time, currency_code=currency_code
    )
    async for posting in postings:
        writer.writerow(cells(posting, posting.currency_code))
        counts[posting.currency_code] += 1
        hash_sums[posting.currency_code] += statements.hash_of(
            transaction_id=posting.transaction_id,
            leg=posting.leg,
            account_id=posting.account_id,
            amount_minor=posting.amount_minor,
        )
    return {code: (count, statements.checksum(hash_sums[code])) for code, count in counts.items()}


async def _begin(conn: AsyncConnection) -> None:
    # However long it takes, and however slowly it is read: a snapshot that only reads keeps nobody waiting.
    await reads_store.begin_snapshot(conn)
    await reads_store.allow_time(conn, statement_ms=0, idle_ms=0)


def columns(row_type: type[Movement | DayPosting]) -> list[str]:
    """The header: every amount twice, in minor units and as a decimal."""
    names = [field.name for field in fields(row_type)]
    return [column for name in names for column in dict.fromkeys((name, name.removesuffix("_minor")))]


def cells(row: Movement | DayPosting, currency_code: str) -> list[object]:
    """A row under that header."""
    found: list[object] = []
    for field in fields(row):
        value = getattr(row, field.name)
        if field.name.endswith("_minor"):
            found += [value, decimal(value, currency_code)]
        elif field.name == "type":
            found.append(MovementType(value).name)
        elif isinstance(value, datetime):
            found.append(value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"))
        else:
            found.append(harmless(value) if isinstance(value, str) else value)
    return found


def decimal(amount_minor: int, currency_code: str) -> str:
    """An amount in the currency's unit, with all digits of its scale: -5 in EUR is -0.05."""
    return f"{Decimal(amount_minor).scaleb(-CURRENCIES[currency_code]):f}"


def harmless(text: str) -> str:
    """The text, with an apostrophe before what a spreadsheet would take for a formula."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        sys.exit(f"export: {text!r} is no time like 2026-11-30T12:00:00Z")
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _run(write: Callable[[AsyncConnection, TextIO], Awaitable[None]], output: Path | None) -> None:
    async def run() -> None:
        engine = db.create_engine(database_url("wallet"), pool_size=1, application_name="wallet-export")
        try:
            async with db.transaction(engine, "wallet.export") as conn:
                with _opened(output) as file:
                    await write(conn, file)
        finally:
            await engine.dispose()

    try:
        asyncio.run(run())
    except DomainError as error:
        details = ", ".join(f"{key} {value}" for key, value in error.metadata.items())
        sys.exit(f"export: {error.reason}: {error.message} {details}".rstrip())
    except OperationalError as error:
        sys.exit(f"export: {db.first_line(error)}")
    except BrokenPipeError:
        # Whoever read along has seen enough. What Python flushes at its end goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that takes its name when it is complete."""
    if output is None:
        with open(sys.stdout.fileno(), "w", encoding="utf-8", newline="", closefd=False) as file:
            yield file
        return
    part = output.with_name(f"{output.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            yield file
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)


if __name__ == "__main__":
    app()
