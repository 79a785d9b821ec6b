"""The daily report of the live RTP, as a command: python -m services.game.rtp.report --day DAY [--json FILE]

The database is REELMESH_GAME_DATABASE_URL; game may run or not. The totals are real rounds by game and mode,
of the day and of the 30 days that end with it; below them both kinds by operator and currency. Exit code 1
when a total is out of its band of 99.9 %, 2 without a database or with no such day.
"""

import asyncio
import datetime as dt
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy.exc import OperationalError

from services.common import db
from services.common.config import database_url
from services.game.records import Kind
from services.game.rtp import bands, monitor, store
from services.game.rtp.bands import Reading, Status
from services.game.rtp.store import Sums

LINE_LENGTH = 120
_STYLES = {Status.ALARM: "red", Status.ATTENTION: "yellow"}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def report(
    day: Annotated[str, typer.Option(help="The last day, UTC; empty: today.")] = "",
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write the report there.")] = None,
) -> None:
    """Hold what rounds returned against what they should."""
    try:
        last = dt.date.fromisoformat(day) if day else None
    except ValueError:
        print(f"rtp-report: {day} is no day such as 2026-11-30", file=sys.stderr)
        sys.exit(2)
    lines = asyncio.run(_read(database_url("game"), last))
    _print(lines)
    if json_path is not None:
        json_path.write_text(json.dumps(lines, indent=2) + "\n")
    alarms = [line for line in lines if line["of"] == "total" and line["status"] == Status.ALARM]
    sys.exit(1 if alarms else 0)


async def _read(url: str, day: dt.date | None) -> list[dict[str, Any]]:
    engine = db.create_engine(url, pool_size=1, application_name="game-rtp-report")
    try:
        async with engine.connect() as conn:
            day = day or await store.find_today(conn)
            windows = {days: await store.list_sums(conn, day=day, days=days) for days in (1, monitor.DAYS)}
    finally:
        await engine.dispose()
    return [line for days, sums in windows.items() for line in lines_of(sums, day=day, days=days)]


def lines_of(sums: Sequence[Sums], *, day: dt.date, days: int) -> list[dict[str, Any]]:
    """The totals first, then a line per operator, currency and kind."""
    lines = [
        {"of": "total", "operator_id": "", "currency_code": "", "kind": Kind.REAL.name}
        | played._asdict()
        | _figures(reading, day, days)
        for played, reading in monitor.totals(sums).items()
    ]
    parts: dict[tuple[monitor.Played, str, str, int], list[Sums]] = {}
    for one in sums:
        played = monitor.Played(one.game_id, one.profile, one.mode)
        parts.setdefault((played, one.operator_id, one.currency_code, one.kind), []).append(one)
    for (played, operator_id, currency_code, kind), of in parts.items():
        whose = {"of": "part", "operator_id": operator_id, "currency_code": currency_code}
        amounts = {
            "stake_minor": sum(one.stake_minor for one in of),
            "win_minor": sum(one.win_minor for one in of),
        }
        kind_name = {"kind": Kind(kind).name}
        lines.append(whose | kind_name | played._asdict() | _figures(bands.read(of), day, days) | amounts)
    return lines


def _figures(reading: Reading, day: dt.date, days: int) -> dict[str, Any]:
    lower, upper = reading.band(bands.Z_ALARM)
    return {
        "day": day.isoformat(),
        "days": days,
        "rounds": reading.rounds,
        "rtp_actual": round(reading.actual, 6),
        "rtp_theory": round(reading.theory, 6),
        "lower": round(lower, 6),
        "upper": round(upper, 6),
        "z_score": round(reading.z_score, 3),
        "deviation": round(reading.deviation, 3),
        "deviation_observed": reading.deviation_observed,
        "status": str(reading.status),
    }


def _print(lines: Sequence[dict[str, Any]]) -> None:
    table = Table("game", "mode", "whose", box=None)
    for column in ("days", "rounds", "actual", "theory", "99.9 % band", "z", "sigma"):
        table.add_column(column, justify="right")
    table.add_column("status")
    for line in lines:
        whose = f"{line['operator_id'] or 'all'} {line['currency_code']} {line['kind'].lower()}"
        sigma = f"{line['deviation']:.2f}{' seen' if line['deviation_observed'] else ''}"
        table.add_row(
            *(line["game_id"], line["mode"], " ".join(whose.split())),
            str(line["days"]),
            f"{line['rounds']:,}",
            f"{line['rtp_actual']:.4f}",
            f"{line['rtp_theory']:.4f}",
            f"{line['lower']:.4f} .. {line['upper']:.4f}",
            f"{line['z_score']:+.2f}",
            sigma,
            line["status"],
            style=_STYLES.get(Status(line["status"])),
        )
    console = Console(highlight=False, width=max(LINE_LENGTH, Console().width))
    console.print(table if lines else "rtp-report: no round is counted in these days")


if __name__ == "__main__":
    try:
        app()
    except OperationalError as error:
        print(f"rtp-report: {db.first_line(error)}", file=sys.stderr)
        sys.exit(2)
