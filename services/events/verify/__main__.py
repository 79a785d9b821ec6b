"""The whole log verified as a command: python -m services.events.verify [--json]

The database is REELMESH_EVENTS_DATABASE_URL; the service may run or not. It reads one snapshot and holds
nobody up. Exit code 1 when a record was altered, is missing or out of order, with the first one named; 2 when
it could not be told: the database does not answer, or nothing of what was asked for is there.
"""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any

import psycopg
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from sqlalchemy.exc import DBAPIError

from services.common import db
from services.common.config import database_url
from services.events.chain import Fault
from services.events.days.options import give_up, parse_day
from services.events.records import GENESIS
from services.events.verify import verifier
from services.events.verify.verifier import Chain

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def verify(
    source: Annotated[list[str] | None, typer.Option(help="Only this one; may be repeated.")] = None,
    start: Annotated[
        str, typer.Option(help="The first UTC day, 2026-11-30; what is before is believed.")
    ] = "",
    end: Annotated[str, typer.Option(help="The last UTC day.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Walk every source's chain from its first record to its head."""
    day_start, day_end = parse_day(start), parse_day(end)
    if day_start and day_end and day_end < day_start:
        give_up(f"verify: no day lies between {start} and {end}")
    started_s = time.monotonic()
    chains = asyncio.run(_verify(source or [], day_start, day_end))
    for one in chains:
        if source and one.fault is None and one.head == GENESIS:
            give_up(f"verify: nothing is known of a source {one.source!r}")
    seconds = time.monotonic() - started_s
    if as_json:
        print(json.dumps(_json(chains, start, end, seconds), indent=2))
    else:
        _print(chains, seconds)
    sys.exit(1 if verifier.first_fault(chains) else 0)


async def _verify(sources: Sequence[str], day_start: date | None, day_end: date | None) -> list[Chain]:
    engine = db.create_engine(
        database_url("events"), pool_size=1, application_name="verify-events", statement_timeout_ms=0
    )
    columns = TextColumn("verifying"), BarColumn(), TextColumn("{task.fields[events]:,} events")
    try:
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("", total=1.0, events=0)
            return await verifier.verify(
                engine,
                sources=sources,
                day_start=day_start,
                day_end=day_end,
                tell=lambda done, events: progress.update(task, completed=done, events=events),
            )
    finally:
        await engine.dispose()


def _json(chains: Sequence[Chain], start: str, end: str, seconds: float) -> dict[str, Any]:
    first = verifier.first_fault(chains)
    return {
        "start": start,
        "end": end,
        "events": sum(one.events for one in chains),
        "seconds": round(seconds, 3),
        "first_fault": _fault(first),
        "sources": [
            {
                "source": one.source,
                "events": one.events,
                # Of the last record that follows: kept elsewhere, it proves later that nothing was rewritten.
                "batch_no": one.head.batch_no,
                "position": one.head.position,
                "hash": one.head.hash.hex(),
                "fault": _fault(one.fault),
            }
            for one in chains
        ],
    }


def _fault(fault: Fault | None) -> dict[str, Any] | None:
    return None if fault is None else fault._asdict()


def _print(chains: Sequence[Chain], seconds: float) -> None:
    table = Table("source", "state")
    for column in ("events", "last batch", "last position"):
        table.add_column(column, justify="right")
    table.add_column("hash of the last record")
    for one in chains:
        figures = f"{one.events:,}", f"{one.head.batch_no:,}", str(one.head.position)
        state, style = ("broken", "red") if one.fault else ("whole", None)
        table.add_row(one.source, state, *figures, one.head.hash.hex()[:16], style=style)
    console = Console(highlight=False)
    console.print(table)
    for fault in sorted((one.fault for one in chains if one.fault), key=lambda one: one.position):
        console.print(line(fault), markup=False, soft_wrap=True)
    total = sum(one.events for one in chains)
    console.print(f"{total:,} events in {seconds:.1f} s", markup=False)


def line(fault: Fault) -> str:
    """Which record, and what is wrong with it."""
    where = f"batch {fault.batch_no}, record {fault.batch_index}"
    at = f", position {fault.position}" if fault.position else ""
    of = f", event {fault.event_id}" if fault.event_id else ""
    return f"{fault.source}: {where}{at}{of}: {fault.problem}"


if __name__ == "__main__":
    try:
        app()
    except DBAPIError as error:
        give_up(f"verify: {db.first_line(error)}")
    except psycopg.Error as error:
        # From the stream of records, which the driver reads by itself.
        give_up(f"verify: {(str(error).splitlines() or [type(error).__name__])[0]}")
