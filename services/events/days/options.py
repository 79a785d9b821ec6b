"""A day as the commands take it, and how they end when it is none."""

import sys
from datetime import date
from typing import NoReturn


def parse_day(text: str) -> date | None:
    """A day written 2026-11-30; None of an empty text. Exits with one line when it is none."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        give_up(f"{text!r} is no day: write 2026-11-30")


def give_up(problem: str) -> NoReturn:
    """Ends with one line. Not with 1, which says that the log is not as it was."""
    print(problem, file=sys.stderr)
    sys.exit(2)
