"""`make bench-wallet`: what a settlement costs, alone and through the wallet.

A table, and build/bench-wallet.json.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import msgspec

from bench import report
from bench.errors import BenchError
from bench.helpers import start_collector
from bench.ledger_cells import BATCHES, PAST, SINGLE, STATEMENT, Cell, LedgerBench
from deploy.local.errors import LocalError
from deploy.local.mesh import REPOSITORY

BUILD = REPOSITORY / "build"
OUTPUT = BUILD / "bench-wallet.json"
ROUNDS = 1_000_000
PASSES, WINDOW_S = 3, 4.0
QUICK_PASSES, QUICK_WINDOW_S = 1, 2.0


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What a gate reads; each the median of its passes' own."""

    statement_to_single: float
    """Rate of the statement over that of one transaction per bet."""
    statement_cpu_us: float
    """PostgreSQL and Python, per settlement."""
    batches_to_single: float
    """Rate of BatchSettle over that of one transaction per bet."""
    past_to_empty: float
    """CPU per settlement beside the stored rounds over that beside none."""


def figures(cells: Sequence[Cell]) -> Figures:
    """Every pass holds its own cells against each other: what slows the machine slows them all."""
    passes = [
        {cell.name: cell for cell in cells if cell.pass_no == pass_no}
        for pass_no in sorted({cell.pass_no for cell in cells})
    ]
    return Figures(
        statement_to_single=median(cell[STATEMENT].per_s / cell[SINGLE].per_s for cell in passes),
        statement_cpu_us=median(cell[STATEMENT].cpu_us for cell in passes),
        batches_to_single=median(cell[BATCHES].per_s / cell[SINGLE].per_s for cell in passes),
        past_to_empty=median(cell[PAST].cpu_us / cell[STATEMENT].cpu_us for cell in passes),
    )


def table(cells: Sequence[Cell]) -> str:
    """Medians, as Markdown."""
    lines = [
        "| way | settlements/s | Python us | PostgreSQL us | CPU us | p50 ms | p99 ms |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(cell.name for cell in cells):
        of = [cell for cell in cells if cell.name == name]
        per_s = median(cell.per_s for cell in of)
        costs = (median(cell.python_us for cell in of), median(cell.postgres_us for cell in of))
        times = [f"{median(getattr(cell, key) for cell in of):.1f}" for key in ("p50_ms", "p99_ms")]
        shown = times if of[0].p99_ms else ["-", "-"]
        figures_ = [f"{per_s:.0f}", *(f"{cost:.0f}" for cost in costs), f"{sum(costs):.0f}", *shown]
        lines.append(f"| {' | '.join([name, *figures_])} |")
    return "\n".join(lines)


def _finish(bench: LedgerBench, directory: Path, rounds: int) -> int:
    void, found = bench.void(), figures(bench.cells)
    facts = report.facts(directory) | {"flush": f"{bench.flush_us():.0f} us", "stored rounds": f"{rounds:,}"}
    document = {**msgspec.to_builtins(found), "cells": bench.cells, "void": void, "facts": facts}
    OUTPUT.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")
    print(f"\n{table(bench.cells)}\n")
    print(
        f"statement: {found.statement_to_single:.1f} times the rate of one transaction per bet, "
        f"{found.statement_cpu_us:.0f} CPU-us a settlement\n"
        f"BatchSettle: {found.batches_to_single:.1f} times that rate\n"
        f"beside {rounds:,} stored rounds: {found.past_to_empty:.2f} times the CPU beside none"
    )
    print(
        "\n".join([*(f"{name}: {text}" for name, text in facts.items()), *(f"VOID: {one}" for one in void)])
    )
    return 1 if void else 0


def main() -> int:
    """Exit code 0: the table stands. 1: it is void, or the bench could not run."""
    parser = argparse.ArgumentParser(prog="bench-wallet", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short pass, for a first impression")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="stored rounds of the past (%(default)s)")
    arguments = parser.parse_args()
    passes, window_s = (QUICK_PASSES, QUICK_WINDOW_S) if arguments.quick else (PASSES, WINDOW_S)
    (BUILD / "bench").mkdir(parents=True, exist_ok=True)
    # Figures of an earlier run must not be taken for those of one that failed.
    OUTPUT.unlink(missing_ok=True)
    directory = Path(tempfile.mkdtemp(dir=BUILD / "bench"))
    # mkdtemp closes it to others, but as root PostgreSQL runs as another user.
    directory.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        try:
            bench = LedgerBench(
                directory,
                collector_url=start_collector(stack),
                window_s=window_s,
                rounds=max(1, arguments.rounds),
            )
            stack.callback(bench.stop)
            bench.start()
            for pass_no in range(1, passes + 1):
                bench.run_pass(pass_no)
            return _finish(bench, directory, max(1, arguments.rounds))
        except (BenchError, LocalError) as problem:
            print(f"bench-wallet: {problem}", file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main())
