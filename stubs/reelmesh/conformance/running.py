"""Runs every case of the catalogue, one after the other, and says what was seen."""

import time
from collections.abc import Callable
from typing import Literal, NamedTuple

from reelmesh.client import CallError
from reelmesh.conformance import (  # noqa: F401 - they register themselves
    cases_idempotency,
    cases_play,
    cases_rollback,
    cases_transport,
)
from reelmesh.conformance.catalogue import ROWS, Row
from reelmesh.conformance.channels import text_of
from reelmesh.conformance.registry import find
from reelmesh.conformance.trial import Mismatch, Skip, Trial

Status = Literal["ok", "fail", "skip"]


class Result(NamedTuple):
    """What became of one case; `seen` is one line."""

    row: Row
    status: Status
    seen: str
    duration_s: float = 0.0


async def run(
    trial: Trial,
    *,
    progress: Callable[[Result], None] = lambda result: None,
    numbers: frozenset[str] = frozenset(),
) -> list[Result]:
    """Every row of the catalogue, or those of these numbers, in its order."""
    results = []
    for row in ROWS:
        if not numbers or row.number in numbers:
            results.append(await _run(trial, row))
            progress(results[-1])
    return results


async def _run(trial: Trial, row: Row) -> Result:
    reason = row.skipped.get(trial.wallet.dialect)
    if reason is not None:
        return Result(row, "skip", reason)
    function = find(row.number, trial.wallet.dialect)
    assert function is not None, f"case {row.number} has neither a function nor a reason"
    started_s = time.monotonic()
    status: Status = "fail"
    try:
        seen = await function(trial)
        status = "ok"
    except Skip as skip:
        status, seen = "skip", str(skip)
    except Mismatch as mismatch:
        seen = str(mismatch)
    except CallError as error:
        seen = f"expected an answer, seen {text_of(error)}"
    except Exception as error:
        # A wallet may answer anything; what a case cannot read ends that case only.
        seen = f"expected an answer that makes sense, seen {error!r}"
    return Result(row, status, " ".join(seen.split()), time.monotonic() - started_s)
