"""Wallet, rounds and events compared as a command: python -m services.reconciliation

It reads from REELMESH_GAME_DATABASE_URL, REELMESH_WALLET_DATABASE_URL and REELMESH_EVENTS_DATABASE_URL, which
may name replicas. REELMESH_GAME_TARGET leads to game, which opens the reviews; REELMESH_IDENTITY_KEY, or with
mutual TLS REELMESH_TLS_PATH and a certificate of the gateway's there, says who asks. Exit code 0 when no
difference is open, 1 when one is, 2 when it could not be told.
"""

import asyncio
import os
import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from sqlalchemy.exc import DBAPIError

from services.common import db
from services.common.errors import described
from services.reconciliation import command

KEY = "REELMESH_IDENTITY_KEY"
SETTINGS = (
    "REELMESH_GAME_DATABASE_URL",
    "REELMESH_WALLET_DATABASE_URL",
    "REELMESH_EVENTS_DATABASE_URL",
    "REELMESH_GAME_TARGET",
    KEY,
)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def reconcile(
    start: Annotated[str, typer.Option(help="Rounds drawn from then on, UTC; a day before the end.")] = "",
    end: Annotated[str, typer.Option(help="Up to then; now.")] = "",
    grace_s: Annotated[int, typer.Option(min=0, help="What is younger may be on its way.")] = 60,
    json_path: Annotated[str, typer.Option("--json", help="Also write the report there.")] = "",
) -> None:
    """Hold wallet, rounds and events against each other; each difference becomes a review."""
    for name in SETTINGS:
        if not os.environ.get(name) and (name != KEY or not os.environ.get("REELMESH_TLS_PATH")):
            _cannot_tell(f"{name} is not set")
    try:
        report = asyncio.run(
            command.reconcile(
                start_time=_time(start),
                end_time=_time(end),
                grace=timedelta(seconds=grace_s),
                progress=Console(stderr=True),
            )
        )
        command.show(report, Console())
        if json_path:
            command.write(report, json_path=json_path)
    except DBAPIError as error:
        _cannot_tell(db.first_line(error))
    except OSError as error:
        _cannot_tell(f"{error.strerror or error}: {error.filename or ''}".removesuffix(": "))
    except ValueError as error:
        _cannot_tell(str(error))
    except KeyboardInterrupt:
        _cannot_tell("interrupted; the reviews that it opened stay")
    except Exception as error:  # exit code 1 says that rounds differ, and nothing else
        _cannot_tell(f"{described(error)}; the reviews that it opened stay. A bug: report this line")
    sys.exit(0 if report.agree else 1)


def _cannot_tell(why: str) -> NoReturn:
    print(f"reconcile: {why}", file=sys.stderr)
    sys.exit(2)


def _time(text: str) -> datetime | None:
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        _cannot_tell(f"{text!r} is no time: write 2026-11-30 or 2026-11-30T12:00:00")
    return time if time.tzinfo else time.replace(tzinfo=UTC)


if __name__ == "__main__":
    app()
